"""kill -9 at any moment: the next run completes, and the library is the one that was never interrupted."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from roco_search.errors import Busy
from tests.library.toy import Opened, ToyEncoder, assert_same_library, draw, draw_pages, spoil

SERVE = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.library.toy import Opened, ToyEncoder

class Slow(ToyEncoder):
    def encode_images(self, images):
        time.sleep(0.03)
        return super().encode_images(images)

for line in sys.stdin:
    child = os.fork()
    if not child:
        directory, scans = map(Path, line.rstrip().split("|"))
        with Opened(directory, Slow()) as opened:
            print(os.getpid(), flush=True)
            opened.index(scans, batch_size=4, frames="all")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
REPOSITORY = str(Path(__file__).parents[3])


class Runs:
    """Runs in processes of their own, forked from one that has imported everything, so that each starts at once."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        assert server.stdin is not None and server.stdout is not None
        self._asked, self._told = server.stdin, server.stdout

    def start(self, directory: Path, scans: Path) -> int:
        """Return the number of a process that has opened the library, and begins to index."""
        self._asked.write(f"{directory}|{scans}\n")
        self._asked.flush()
        return int(self._told.readline())

    def kill(self, process: int) -> int:
        """Kill it, wherever it is; return what it ended with."""
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        return int(self._told.readline())


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, REPOSITORY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        yield Runs(server)


def fill(scans: Path, count: int) -> None:
    for number in range(count):
        name = f"{number:03}"
        if number % 7 == 3:
            spoil(scans / f"{name}.png", number)
        elif number % 9 == 4:
            draw_pages(scans / f"{name}.tiff", range(number, number + 5))
        else:
            draw(scans / f"{name}.png", number % 40)


def change(scans: Path) -> None:
    """Move, change, remove and add, so that a second run has all to do."""
    draw(scans / "000.png", 500)
    os.utime(scans / "000.png", ns=(1, 1))
    (scans / "001.png").rename(scans / "zzz.png")
    (scans / "002.png").unlink()
    shutil.copy(scans / "005.png", scans / "copy.png")
    for number in range(30):
        draw(scans / f"new{number:02}.png", 600 + number)


def kill_until_done(runs: Runs, directory: Path, scans: Path, kills: int, within: float, chance: random.Random) -> int:
    """Kill runs at random moments; return how many were killed before they had ended by themselves."""
    killed = 0
    for _ in range(kills):
        process = runs.start(directory, scans)
        time.sleep(chance.uniform(0, within))
        killed += runs.kill(process) == -signal.SIGKILL
    return killed


@pytest.mark.parametrize(
    ("kills", "count"), [(4, 60), pytest.param(20, 150, marks=pytest.mark.slow)], ids=["few", "twenty"]
)
def test_killed_and_resumed_equals_uninterrupted(runs: Runs, tmp_path: Path, kills: int, count: int) -> None:
    chance = random.Random(kills)
    scans = tmp_path / "scans"
    scans.mkdir()
    fill(scans, count)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for change_first, half in ((False, kills // 2), (True, kills - kills // 2)):
        if change_first:
            change(scans)
        with Opened(whole, ToyEncoder()) as opened:
            opened.index(scans, batch_size=4, frames="all")
        assert kill_until_done(runs, broken, scans, half, 0.35 if kills < 10 else 0.2, chance) > 0
        with Opened(broken, ToyEncoder()) as opened:
            opened.index(scans, batch_size=4, frames="all")
            assert opened.library.verify().problems == []
            assert not list(broken.glob("*.tmp-*"))
        assert_same_library(whole, broken)


def test_second_writer_is_refused_and_readers_are_not(runs: Runs, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    fill(scans, 40)
    process = runs.start(tmp_path / "library", scans)
    try:
        with pytest.raises(Busy, match=f"process {process}"):
            for _ in range(200):
                Opened(tmp_path / "library", ToyEncoder()).library.close()
                time.sleep(0.01)
    finally:
        runs.kill(process)
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        assert opened.index(scans, frames="all").indexed > 0
