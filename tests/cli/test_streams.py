"""Whatever the standard streams are, a command says what it has to say, or why it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROCO = f"'{sys.executable}' -m roco_search"
FULL = "Error: The output could not be written (No space left on device).\n"


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") or name == "PYTHONPATH"}
    return subprocess.run(["bash", "-c", line], capture_output=True, check=False, env=kept | environment)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_the_output_is_named(unbuffered: str) -> None:
    done = shell(f"{ROCO} help faq > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr.decode()) == (1, FULL)


@pytest.mark.parametrize(("closed", "shown"), [(">&-", False), ("2>&-", True), ("<&- >&- 2>&-", False)])
def test_closed_streams_are_no_error(closed: str, shown: bool) -> None:
    done = shell(f"{ROCO} help faq {closed}")
    assert (done.returncode, done.stderr, bool(done.stdout)) == (0, b"", shown)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    done = shell(f"set -o pipefail; {ROCO} help faq | head -1")
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_without_a_character_gets_an_escape_for_it() -> None:
    done = shell(f"{ROCO} index /tmp/胸é", PYTHONIOENCODING="latin-1")
    assert b"\\u80f8\xe9" in done.stderr and done.returncode == 1
