"""Two processes give the gradient of one, and end in the same weights."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from roco_search.training import checkpoint
from roco_search.training.distributed import ProcessGroup
from tests.models.checkpoints import clip
from tests.training.data import draw

SCRIPT = Path(__file__).with_name("two_processes.py")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def launch(folder: Path, size: int) -> list[dict[str, object]]:
    """Start the script as ``torchrun`` would, in so many processes, and return what each of them found."""
    port = str(free_port())
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.two_processes", str(folder), str(folder / f"{size}-{rank}")],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=SCRIPT.parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    return [json.loads((folder / f"{size}-{rank}.json").read_text()) for rank in range(size)]


@pytest.mark.slow
def test_two_processes_give_the_gradient_of_one(tmp_path: Path) -> None:
    (one,) = launch(tmp_path, 1)
    two = launch(tmp_path, 2)
    expected = torch.load(tmp_path / "1-0.pt", weights_only=True)
    whole = torch.cat([tensor.flatten() for tensor in expected.values()]).norm()
    for rank, told in enumerate(two):
        assert told["loss"] == pytest.approx(one["loss"], abs=1e-12)
        found = torch.load(tmp_path / f"2-{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            size = tensor.norm() if tensor.norm() > 1e-12 * whole else whole
            assert (found[name] - tensor).norm() / size < 1e-12, name
    assert [told["images"] for told in two] == [4, 4], "an unreadable image takes part nowhere"
    assert one["images"] == 8


@pytest.mark.slow
def test_a_run_of_two_processes_writes_once_and_ends_in_one_model(tmp_path: Path) -> None:
    two = launch(tmp_path, 2)
    assert two[0]["weights"] == two[1]["weights"], "both hold the same model"
    assert [told["notes"] for told in two] == [two[0]["notes"], 0]
    (one,) = launch(tmp_path, 1)
    for name in ("loss_first", "loss_last"):
        assert two[0][name] == pytest.approx(one[name], rel=1e-4)
    assert (tmp_path / "run-2" / "model.safetensors").is_file()
    log = [json.loads(line) for line in (tmp_path / "run-2" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "loss" in line] == [1, 2, 3]


@pytest.mark.slow
def test_torchrun_trains_on_two_processors_as_one_process_would(tmp_path: Path) -> None:
    """The command line of the manual, with two real processes and gloo."""
    base = clip(tmp_path / "clip")
    pairs = draw(tmp_path / "pairs")
    rows = [json.dumps({"file_name": pair.picture.name, "text": pair.caption, "case": pair.case}) for pair in pairs]
    (tmp_path / "pairs.jsonl").write_text("\n".join(rows).replace("file_name", "path"))
    train = ["-m", "roco_search", "train", str(tmp_path / "pairs.jsonl"), "--base", str(base), "--device", "cpu"]
    train += ["--batch-size", "6", "--micro-batch", "3", "--max-steps", "3", "--learning-rate", "1e-3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PET_MASTER_PORT": str(free_port())}

    def start(*launcher: str, output: Path) -> str:
        done = subprocess.run(
            [*launcher, *train, "--output", str(output)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    printed = start(*torchrun(), "--nproc-per-node", "2", output=tmp_path / "two")
    assert printed.count("Validation: ") + printed.count("split off train") == 1, "only one process prints"
    start(sys.executable, output=tmp_path / "one")
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert [line["step"] for line in two] == [line["step"] for line in one], "each step is written once"
    for expected, found in zip(one, two, strict=True):
        for name in expected.keys() & {"loss", "gradient_norm", "mean recall"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-4), (name, found["step"])
    (last,) = (tmp_path / "two" / "checkpoints").glob("step-00000003.pt")
    assert checkpoint.load(last)["identity"]["processes"] == 2
    assert (tmp_path / "two" / "model.safetensors").is_file()


def torchrun() -> list[str]:
    """The command of this environment; where it has none, the module that it starts."""
    command = Path(sys.executable).with_name("torchrun")
    return [str(command)] if command.exists() else [sys.executable, "-m", "torch.distributed.run"]


def test_shards_are_contiguous_even_and_whole() -> None:
    for count in range(9):
        for size in (1, 2, 3, 5):
            parts = [ProcessGroup(rank, size).shard(count) for rank in range(size)]
            rows = [row for part in parts for row in range(count)[part]]
            assert rows == list(range(count))
            lengths = [part.stop - part.start for part in parts]
            assert max(lengths) - min(lengths) <= 1
