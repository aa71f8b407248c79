"""Pickles of weights: tensors come through unchanged, everything else is refused by name, and nothing of it is run.

The child takes a second to begin. It is started for one of them, and where models are pulled; its steps are called in
this process for the rest, which is as safe: none of these files does more than touch a file.
"""

from __future__ import annotations

import collections
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from roco_search.errors import UnsupportedModel
from roco_search.models import pickles, pickles_worker
from roco_search.models.pickles import to_safetensors

WEIGHTS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "half": torch.ones(3).half(),
    "brain": torch.ones(2, 2).bfloat16(),
    "positions": torch.arange(5),
    "scalar": torch.tensor(2.5),
}


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_come_through_unchanged(tmp_path: Path, zipped: bool) -> None:
    content = {"state_dict": collections.OrderedDict(WEIGHTS), "epoch": 3, "name": "ViT-B-16"}
    torch.save(content, tmp_path / "weights.pt", _use_new_zipfile_serialization=zipped)
    file = tmp_path / "weights.pt"
    pickles_worker._convert(file, tmp_path / "made.safetensors", file.stat().st_size, torch)
    found = load_file(tmp_path / "made.safetensors")
    assert found.keys() == WEIGHTS.keys()
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in WEIGHTS.items()
    )


def test_a_pickle_that_runs_a_command_is_refused_by_the_name_of_what_it_wants(tmp_path: Path) -> None:
    file, trace = tmp_path / "weights.pt", tmp_path / "trace"
    torch.save({"state_dict": WEIGHTS, "args": {"deep": [Evil(trace)]}}, file)
    with pytest.raises(UnsupportedModel, match=r"needs posix\.system to be opened") as refusal:
        to_safetensors(file, tmp_path / "made.safetensors")
    assert str(refusal.value).count(". ") == 0, "one sentence"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights.pt"], "nothing was run, nothing is left"


def _bomb(file: Path) -> None:
    torch.save(WEIGHTS, file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("archive/data/99", bytes(10**7))


def _lying(file: Path) -> None:
    """A member that says that it is far longer than the whole archive."""
    torch.save(WEIGHTS, file)
    raw = bytearray(file.read_bytes())
    at = raw.rfind(b"PK\x01\x02")
    raw[at + 20 : at + 28] = (2**31).to_bytes(4, "little") * 2
    file.write_bytes(raw)


HOSTILE: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "a command alone": (lambda f: torch.save(Evil(f.with_name("trace")), f), "global", "posix.system"),
    "a bare pickle": (lambda f: f.write_bytes(pickle.dumps(Evil(f.with_name("trace")))), "global", "posix.system"),
    "a whole model": (lambda f: torch.save(torch.nn.Linear(2, 2), f), "global", "torch.nn.modules.linear.Linear"),
    "a bomb": (_bomb, "compressed", ""),
    "a lie": (_lying, "memory", ""),
    "one number as a trillion": (lambda f: torch.save({"x": torch.zeros(1).expand(10**6, 10**6)}, f), "memory", ""),
    "a text among tensors": (lambda f: torch.save({"x": "text"}, f), "value", "str 'x' where a tensor belongs"),
    "a sparse tensor": (lambda f: torch.save({"x": torch.eye(2).to_sparse()}, f), "value", "'x' of the type float32"),
    "complex numbers": (lambda f: torch.save({"x": torch.ones(1, dtype=torch.complex64)}, f), "value", "complex64"),
    "a list": (lambda f: torch.save([1, 2], f), "empty", ""),
    "a program": (lambda f: torch.jit.script(torch.nn.Linear(2, 2)).save(str(f)), "script", ""),
    "noise": (lambda f: f.write_bytes(b"\x80\x02noise"), "damaged", ""),
    "nothing": (lambda f: f.write_bytes(b""), "damaged", ""),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_more_or_less_than_tensors_is_refused(tmp_path: Path, kind: str) -> None:
    make, because, names = HOSTILE[kind]
    file = tmp_path / "weights.bin"
    make(file)
    size = file.stat().st_size
    with pytest.raises(pickles_worker._Refused) as refusal:
        pickles_worker._convert(file, tmp_path / "made.safetensors", size, torch)
    assert refusal.value.kind == because
    assert names in refusal.value.name
    assert not (tmp_path / "trace").exists()
    assert pickles._reason({"refused": refusal.value.kind, "name": refusal.value.name})


def test_the_child_has_no_network_no_programs_no_other_file_and_little_memory(tmp_path: Path) -> None:
    """Each door is tried from inside, below Python's own guard and with it."""
    program = """
import os, socket, subprocess, sys
from pathlib import Path
from roco_search.models import pickles_worker as worker

def tried(action):
    try:
        action()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"

folder = Path(sys.argv[1])
worker._filter_calls()
print(tried(socket.socket), tried(lambda: subprocess.run(["true"])), tried(lambda: os.execv("/bin/true", ["true"])))
worker._shut_doors(folder / "made", 1000)
print(tried(lambda: bytearray(3 * 2**30)), tried(lambda: open(folder / "other", "w")), tried(lambda: os.fork()))
print(tried(lambda: open(folder / "made", "w")), tried(lambda: os.remove(folder / "made")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    expected = [
        ["PermissionError"] * 3,
        ["MemoryError", "PermissionError", "PermissionError"],
        ["done", "PermissionError"],
    ]
    if sys.platform != "linux":
        expected = expected[1:]
    assert [line.split() for line in done.stdout.splitlines()][-len(expected) :] == expected


def test_the_environment_of_the_child_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "hf_secret" not in pickles._environment().values()
