"""A short form of ``scripts/torture``; the script disturbs some twenty commands hundreds of times."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "proofs"


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="it takes Linux and a C compiler")
def test_nothing_is_lost_whatever_happens_in_between() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TORTURE"}
    command = [sys.executable, str(SCRIPTS / "torture.py"), "--count", "12", "--seed", "2", "--pictures", "10"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.match(r"torture, seed 2: 12 faults.* ([\d,]+) vectors recomputed", done.stdout)
    assert counted and int(counted[1].replace(",", "")) > 100, done.stdout


def test_a_vector_of_another_picture_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    worlds = importlib.import_module("worlds")
    pictures = worlds.Pictures(tmp_path / "pictures", 12)
    work = next(work for work in worlds.library_works(pictures) if work.name == "index")
    work.run(tmp_path)
    library = tmp_path / "library"
    assert worlds.check_library(library, pictures.vectors) > 10
    with sqlite3.connect(library / "library.db") as connection:
        connection.execute("DROP TRIGGER vectors_are_immutable")
        connection.execute("UPDATE vectors SET vector = (SELECT vector FROM vectors WHERE id = 2) WHERE id = 1")
    connection.close()
    with pytest.raises(AssertionError, match="another picture"):
        worlds.check_library(library, pictures.vectors)
