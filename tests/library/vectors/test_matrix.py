"""The matrix grows at its end: what is new is written and nothing else, and nothing half-written is ever read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from roco_search.library import Library
from roco_search.library.vectors.matrix import HEADER, Manifest
from tests.library.toy import Opened, draw

DIM = 24


@pytest.fixture
def filled(opened: Opened, scans: Path) -> Opened:
    for number in range(12):
        draw(scans / f"{number:02}.png", number)
    opened.index(scans)
    return opened


def parts(opened: Opened) -> list[int]:
    manifest = Manifest.read(opened.directory)
    assert manifest is not None
    return [rows for rows, _ in manifest.parts]


def equals_sqlite(opened: Opened) -> bool:
    with Library.open(opened.directory) as library:
        index = library.vectors()
        assert isinstance(index.matrix, np.memmap)
        stored = opened.rows("SELECT frame_id, vector FROM vectors ORDER BY frame_id")
        ids = [frame_id for frame_id, _ in stored]
        return index.ids.tolist() == ids and index.matrix.tobytes() == b"".join(vector for _, vector in stored)


def test_new_images_are_added_at_the_end_and_the_old_bytes_stay(filled: Opened, scans: Path) -> None:
    path = filled.directory / "vectors.matrix"
    before, inode = path.read_bytes(), path.stat().st_ino
    for number in range(3):
        draw(scans / f"new-{number}.png", 100 + number)
    filled.index(scans)
    after = path.read_bytes()
    assert path.stat().st_ino == inode and after[: len(before)] == before
    assert len(after) == HEADER + 15 * 4 * DIM and parts(filled) == [12, 3]
    assert equals_sqlite(filled) and filled.library.verify().problems == []


def test_a_run_without_news_writes_nothing(filled: Opened, scans: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in filled.directory.glob("vectors.*")}
    filled.index(scans)
    assert {path.name: path.stat().st_mtime_ns for path in filled.directory.glob("vectors.*")} == before


def test_after_a_deletion_it_is_built_again(filled: Opened, scans: Path) -> None:
    (scans / "05.png").unlink()
    draw(scans / "new.png", 100)
    draw(scans / "newer.png", 101)
    filled.index(scans)
    assert parts(filled) == [13] and equals_sqlite(filled)


def test_many_small_additions_are_joined(filled: Opened, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roco_search.library.vectors.matrix.PARTS", 3)
    for number in range(4):
        draw(scans / f"new-{number}.png", 100 + number)
        filled.index(scans)
    assert parts(filled) == [15, 1] and equals_sqlite(filled)


def test_what_a_killed_process_left_behind_the_rows_is_not_read(filled: Opened, scans: Path) -> None:
    for name in ("vectors.matrix", "vectors.ids"):
        with (filled.directory / name).open("ab") as file:
            file.write(b"\xff" * 1000)
    assert filled.library.verify().problems == [] and equals_sqlite(filled)
    draw(scans / "new.png", 100)
    filled.index(scans)
    assert parts(filled) == [12, 1] and equals_sqlite(filled) and filled.library.verify().problems == []


def test_a_reader_keeps_its_rows_while_a_writer_adds(filled: Opened, scans: Path) -> None:
    with Library.open(filled.directory) as reader:
        index = reader.vectors()
        seen = index.matrix.tobytes()
        draw(scans / "new.png", 100)
        filled.index(scans)
        assert index.matrix.tobytes() == seen
        assert len(reader.vectors().ids) == 13


@pytest.mark.parametrize("name", ["vectors.ids", "vectors.matrix"])
def test_files_of_different_states_are_not_taken_together(filled: Opened, scans: Path, name: str) -> None:
    old = (filled.directory / name).read_bytes()
    (scans / "05.png").unlink()
    draw(scans / "new.png", 100)
    filled.index(scans)
    (filled.directory / name).write_bytes(old)
    assert filled.library.status().matrix == "stale" and equals_sqlite(filled)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', None])
def test_a_damaged_manifest_is_as_none(filled: Opened, content: bytes | None) -> None:
    path = filled.directory / "vectors.json"
    if content is None:  # It claims more rows than its parts have.
        told = json.loads(path.read_bytes())
        told["parts"][0][0] -= 1
        content = json.dumps(told).encode()
    path.write_bytes(content)
    assert Manifest.read(filled.directory) is None and equals_sqlite(filled)
    assert Manifest.read(filled.directory) is not None
