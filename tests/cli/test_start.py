"""How a command starts: only what it needs is imported, and `roco --help` says of each what it says of itself."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys

import pytest

from roco_search.__main__ import _code
from roco_search.cli.commands import COMMANDS, named
from tests.cli.conftest import Roco

HEAVY = {"numpy", "torch", "transformers", "onnxruntime", "PIL", "pydicom", "sqlite3", "sqlite_utils", "hnswlib"}


def modules_after(*arguments: str, **environment: str) -> set[str]:
    program = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = ['roco', *{list(arguments)!r}]\n"
        "from roco_search.__main__ import main; main()"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["query", "--help"], ["no-such-command"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    modules = modules_after(*arguments)
    assert not HEAVY & modules
    ours = {
        name.removeprefix("roco_search.cli.commands.")
        for name in modules
        if name.startswith("roco_search.cli.commands.")
    }
    other = {command.module for command in COMMANDS.values()} - set(arguments)
    assert not ours & other, "no other command is imported"


def test_the_collector_does_not_walk_through_what_a_query_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    before = gc.get_threshold()
    monkeypatch.setattr(sys, "argv", ["roco", "query", "--help"])
    try:
        assert _code() == 0
        assert gc.get_threshold()[0] >= 50_000
    finally:
        gc.set_threshold(*before)


def test_completion_imports_nothing_heavy() -> None:
    words = {"_ROCO_COMPLETE": "complete_bash", "COMP_WORDS": "roco query --mod", "COMP_CWORD": "2"}
    assert not HEAVY & modules_after(**words)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_help_is_the_commands_own(name: str) -> None:
    command = COMMANDS[name]
    loaded = command.load()
    own = loaded.info.help if command.is_group else (loaded.__doc__ or "").split("\n\n")[0]
    assert command.summary == " ".join(own.split())


def test_help_names_every_command(roco: Roco) -> None:
    shown = roco("--help").out
    assert all(f" {name} " in shown for name in COMMANDS)
    assert "Did you mean" in roco("qurey").err


def test_a_command_is_known_by_its_first_word() -> None:
    assert named(["query", "index"]) == "query"
    assert named(["--help"]) is None and named(["--version", "status"]) == "status" and named(["nothing"]) is None
