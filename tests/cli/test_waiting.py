"""Nothing is silent for more than two seconds on a terminal, and nothing of that reaches a pipe."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Roco

LONGEST = 2.0  # Seconds without a sign of life.


def on_a_terminal(*arguments: object, **environment: str) -> tuple[str, float]:
    """Run ``roco …`` on a pseudo-terminal; return what it wrote, and the longest time in which it wrote nothing."""
    terminal, inside = pty.openpty()
    settings = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80"} | environment
    command = [sys.executable, "-m", "roco_search", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=settings)
    os.close(inside)
    written, before, longest = b"", time.monotonic(), 0.0
    try:
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # Linux's way of saying that nobody holds the other end any more
                break
            if not part:
                break
            now = time.monotonic()
            longest, before = max(longest, now - before), now
            written += part
    finally:
        os.close(terminal)
        process.wait()
    return written.decode(), longest


@pytest.mark.parametrize("command", ["index", "doctor"])
def test_the_longest_silence(roco: Roco, scans: Path, tmp_path: Path, command: str) -> None:
    """With nothing compiled, ``index`` makes the model ready for this machine first, which takes many seconds."""
    arguments = ("index", scans) if command == "index" else ("doctor",)
    for attempt in range(3):  # a busy machine is silent by itself now and then
        written, longest = on_a_terminal(*arguments, ROCO_CACHE=str(tmp_path / f"nothing-{attempt}"))
        if longest < LONGEST:
            break
    busy = "Loading the model" if command == "index" else "Looking for a device"
    assert re.search(rf"\r{busy} … \d+ s", written)
    assert "\r\x1b[K" in written, "the line goes when something else is printed"
    assert longest < LONGEST


def test_the_line_leaves_no_trace(roco: Roco, scans: Path, tmp_path: Path) -> None:
    """What is left on the screen is what a pipe gets."""
    written, _ = on_a_terminal("doctor", ROCO_CACHE=str(tmp_path / "nothing"), NO_COLOR="1")
    lines = written.replace("\r\n", "\n").split("\n")
    shown = [re.sub(r"\x1b\[[0-9;]*m", "", line.split("\r\x1b[K")[-1]) for line in lines]
    assert not any("…" in line and line.endswith(" s") for line in shown)
    assert shown[1].startswith("python ")


def test_a_pipe_gets_nothing_of_it(roco: Roco, scans: Path) -> None:
    command = [sys.executable, "-m", "roco_search", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == "" and "\x1b" not in done.stdout
