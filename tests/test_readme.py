"""The README can be followed to the letter: its commands run, and it names every command there is."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file

from roco_search.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
# These install from a registry or need what is not in the clone; CI runs the scripts themselves.
NOT_RUN = ("scripts/try", "scripts/test", "# needs that model on this disk", "# until Ctrl-C")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "scans").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "SC_rgb_rle_2frame.dcm"):
        shutil.copy(str(get_testdata_file(name, download=False)), folder / "scans" / name)
    write_pairs(folder / "pairs")
    return folder


def write_pairs(folder: Path) -> None:
    """Pairs as a reader would have them: Hugging Face's imagefolder, a training and a test split."""
    files = {
        "CT_small.dcm": "CT",
        "MR_small.dcm": "MR",
        "SC_rgb_rle_2frame.dcm": "OTHER",
        "J2K_pixelrep_mismatch.dcm": "CT",
    }
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        rows = []
        for name, modality in files.items():
            shutil.copy(str(get_testdata_file(name, download=False)), folder / split / f"{split} {name}")
            rows.append(
                {"file_name": f"{split} {name}", "text": f"{modality} number {len(rows)}", "modality": modality}
            )
        (folder / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def environment(place: Path) -> dict[str, str]:
    own = {"ROCO_LIBRARY": "library", "ROCO_MODELS": "models", "ROCO_CONFIG": "config.json"}
    return {**os.environ, **{name: str(place / value) for name, value in own.items()}}


def run(place: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "roco_search", *arguments]
    return subprocess.run(command, cwd=place, env=environment(place), capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_every_shell_command_runs(place: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if not any(part in line for part in NOT_RUN)]
    assert len(commands) >= 8
    assert all(command[0] == "roco" for command in commands)
    for command in commands:
        done = run(place, command[1:])
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.slow
def test_every_python_example_runs(place: Path) -> None:
    printed = []
    for example in blocks("python"):
        done = subprocess.run([sys.executable, "-c", example], cwd=place, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.splitlines())
    pictures, similarities, hits = printed
    assert pictures == ["(128, 128, 3) CT"]
    mri, chest = map(float, re.findall(r"-?[\d.]+", similarities[0]))
    assert mri > chest
    assert len(hits) == 3


def commands() -> dict[str, Callable[..., Any]]:
    """Every command, those of a group by both names: "model list"."""
    found = {str(command.name): command.callback for command in app.registered_commands}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            name = group.name or group.typer_instance.info.name
            found[f"{name} {command.name or getattr(command.callback, '__name__', '')}"] = command.callback
    return {name: callback for name, callback in found.items() if callback is not None}


def examples(name: str) -> list[str]:
    return re.findall(r"^\s*Example: `(roco .*)`$", commands()[name].__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("name", commands())
def test_every_command_is_documented_and_has_an_example(name: str) -> None:
    words = name.split()
    assert [shlex.split(example)[1 : 1 + len(words)] for example in examples(name)] == [words]
    assert re.search(rf"^roco {words[0]}\b", "\n".join(blocks("sh")), re.MULTILINE), (
        f"roco {words[0]} is not in the README"
    )


@pytest.mark.slow
def test_the_examples_of_help_run(place: Path) -> None:
    for name in (str(command.name) for command in app.registered_commands):
        (example,) = examples(name)
        done = run(place, shlex.split(example)[1:])
        assert done.returncode == 0, f"{example}: {done.stderr}"


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
