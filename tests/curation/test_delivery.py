"""Copies of hits are whole or not there, and nothing that exists is overwritten."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import IO

import pytest

from roco_search.curation.delivery import copy_files
from roco_search.errors import InputError, StorageFull
from tests.disk import files_up_to


def hits(*paths: Path) -> list[tuple[int, str]]:
    return [(rank, str(path)) for rank, path in enumerate(paths, 1)]


def test_a_full_disk_leaves_no_half_of_a_scan(tmp_path: Path) -> None:
    small, large = tmp_path / "small.dcm", tmp_path / "large.dcm"
    small.write_bytes(b"s" * 10)
    large.write_bytes(b"l" * 100_000)
    with files_up_to(1000), pytest.raises(StorageFull, match=r"large\.dcm was not copied; those before it were"):
        copy_files(hits(small, large), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["01_small.dcm"]


def test_a_kill_leaves_nothing_that_looks_like_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = tmp_path / "a.dcm"
    scan.write_bytes(b"a" * 1000)

    def killed_half_way(source: IO[bytes], target: IO[bytes]) -> None:
        target.write(source.read(500))
        target.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr("shutil.copyfileobj", killed_half_way)
        copy_files(hits(scan), tmp_path / "out")
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert not (tmp_path / "out" / "01_a.dcm").exists()
    copy_files(hits(scan), tmp_path / "out")
    assert {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()} == {"01_a.dcm": 1000}


def test_what_exists_is_kept(tmp_path: Path) -> None:
    scan = tmp_path / "a.dcm"
    scan.write_bytes(b"a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "01_a.dcm").write_text("mine")
    with pytest.raises(InputError, match="nothing is overwritten"):
        copy_files(hits(scan), tmp_path / "out")
    assert (tmp_path / "out" / "01_a.dcm").read_text() == "mine"
