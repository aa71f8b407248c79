"""The README can be followed to the letter: its commands run, and it names every command there is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from pydicom.data import get_testdata_file

from roco_search.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
# These install from a registry or need what is not in the clone; CI runs the scripts themselves.
NOT_RUN = ("scripts/try", "scripts/test", "# needs that model on this disk")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "scans").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "emri_small.dcm"):
        shutil.copy(str(get_testdata_file(name, download=False)), folder / "scans" / name)
    return folder


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "ROCO_LIBRARY": str(place / "library")}


@pytest.mark.slow
def test_every_shell_command_runs(place: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if not any(part in line for part in NOT_RUN)]
    assert len(commands) >= 8
    assert all(command[0] == "roco" for command in commands)
    for command in commands:
        arguments = [sys.executable, "-m", "roco_search", *command[1:]]
        done = subprocess.run(arguments, cwd=place, env=environment(place), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.slow
def test_every_python_example_runs(place: Path) -> None:
    (example,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", example], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def commands() -> dict[str, typer.models.CommandInfo]:
    return {str(command.name): command for command in app.registered_commands}


@pytest.mark.parametrize("name", commands())
def test_every_command_is_documented_and_has_an_example(name: str) -> None:
    assert re.search(rf"^roco {name}\b", "\n".join(blocks("sh")), re.MULTILINE), f"the README does not show roco {name}"
    text = commands()[name].callback.__doc__ or ""
    examples = re.findall(r"^\s*Example: `(roco .*)`$", text, re.MULTILINE)
    assert [shlex.split(example)[1] for example in examples] == [name]


@pytest.mark.slow
def test_the_examples_of_help_run(place: Path) -> None:
    for name in ("index", "query", "status", "doctor"):
        (example,) = re.findall(r"Example: `(roco .*)`", commands()[name].callback.__doc__ or "")
        arguments = [sys.executable, "-m", "roco_search", *shlex.split(example)[1:]]
        done = subprocess.run(arguments, cwd=place, env=environment(place), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{example}: {done.stderr}"


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
