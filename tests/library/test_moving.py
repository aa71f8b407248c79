"""Forgetting, tidying up and moving: nothing lingers, nothing is lost."""

import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from roco_search.errors import Busy, InputError, LibraryError, LibraryNotFound
from roco_search.library import Library, moving
from roco_search.library.directory import GRAPH, GRAPH_MANIFEST, LOCK, MATRIX, known_libraries, writer_lock
from roco_search.library.faults import storage_faults
from roco_search.library.ingest.merging import merge
from roco_search.library.moving import copy_library, move_library
from roco_search.library.truth.connection import copy_database
from tests.library.toy import Opened, ToyEncoder, assert_same_library, draw, tables

Move = Callable[..., moving.Moved]


def fill(directory: Path, scans: Path, count: int = 20) -> None:
    """Make a library with a matrix and a graph."""
    for seed in range(count):
        draw(scans / f"{seed:02}.png", seed)
    with Opened(directory, ToyEncoder()) as opened:
        opened.index(scans)
        opened.library.vectors().graph()


def everything(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


def to_another_disk(source: Path, target: Path) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


# Forgetting.


def test_what_is_forgotten_is_nowhere(opened: Opened, scans: Path) -> None:
    for seed in range(30):
        draw(scans / f"{seed:02}.png", seed)
    draw(scans / "private" / "Doe Jane.png", 99)
    opened.index(scans)
    opened.library.vectors().graph()
    [(vector,)] = opened.rows(
        "SELECT vector FROM vectors JOIN frames ON frames.id = frame_id JOIN files ON files.id = file_id "
        "WHERE path LIKE '%Doe%'"
    )
    before = everything(opened.directory)
    assert b"Doe Jane" in before and vector in before
    assert opened.library.remove(scans / "private") == 1
    after = everything(opened.directory)
    assert b"Doe Jane" not in after and vector not in after
    assert not (opened.directory / GRAPH).exists() and not (opened.directory / GRAPH_MANIFEST).exists()
    assert opened.library.verify().problems == []
    assert len(opened.library.vectors().ids) == 30
    assert (scans / "private" / "Doe Jane.png").exists()


def test_vacuum_gives_space_back_and_keeps_what_is_right(opened: Opened, scans: Path) -> None:
    for seed in range(300):
        draw(scans / ("keep" if seed % 10 == 0 else "drop") / f"{seed:03}.png", seed)
    opened.index(scans)
    opened.library.remove(scans / "drop")
    opened.library.vectors().graph()
    (opened.directory / ".vectors.matrix.tmp-00000000-99999999").write_bytes(b"left by a killed process")
    before = tables(opened.directory)
    assert opened.rows("PRAGMA freelist_count")[0][0] > 0
    size = sum(path.stat().st_size for path in opened.directory.iterdir())
    done = opened.library.vacuum()
    assert done.complete
    assert done.before == size
    assert done.after == sum(path.stat().st_size for path in opened.directory.iterdir()) < size
    assert opened.rows("PRAGMA freelist_count") == [(0,)]
    assert tables(opened.directory) == before
    assert not list(opened.directory.glob("*.tmp-*"))
    assert (opened.directory / MATRIX).exists() and (opened.directory / GRAPH).exists(), "caches that fit stay"
    draw(scans / "keep" / "new.png", 1000)
    opened.index(scans / "keep")
    opened.library.vacuum()
    assert not (opened.directory / GRAPH).exists(), "a graph of another state goes: it may hold what was removed"
    assert opened.library.verify().problems == []


def test_vacuum_says_when_a_reader_holds_something_back(
    opened: Opened, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(scans / "0.png", 0)
    opened.index(scans)
    monkeypatch.setattr("roco_search.library.truth.connection.BUSY_SECONDS", 0.05)
    with (
        Library.open(opened.directory) as reader,
        reader.snapshot(),
        Library.open(opened.directory) as impatient,
    ):
        assert len(reader.vectors().ids) == 1
        assert not impatient.vacuum().complete
    assert opened.library.vacuum().complete


def test_recall_of_a_graph(opened: Opened, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened.library.recall() is None
    for seed in range(40):
        draw(scans / f"{seed}.png", seed)
    opened.index(scans)
    assert opened.library.recall() is None, "there is no graph"
    index = opened.library.vectors()
    graph = index.graph()
    found = opened.library.recall(lambda: opened.encoder.encode_texts(["ramp", "chest"]))
    assert found is not None and (found.images, found.texts, found.good) == (1.0, 1.0, True)

    def worst(queries: np.ndarray, k: int) -> list[np.ndarray]:
        return list(np.argsort(index.matrix @ queries.T, axis=0)[:k].T)

    monkeypatch.setattr(graph, "search", worst)
    found = opened.library.recall()
    assert found is not None and (found.images, found.texts, found.good) == (0.0, None, False)
    assert not (opened.directory / GRAPH).exists(), "a graph that finds nothing is removed"


# Moving.


@pytest.mark.parametrize("rename", [os.rename, to_another_disk])
@pytest.mark.parametrize("there", [False, True])
def test_a_library_moves_whole(tmp_path: Path, rename: Callable[..., None], there: bool) -> None:
    source, target = tmp_path / "library", tmp_path / "deep" / "down" / "moved"
    fill(source, tmp_path / "scans")
    before = tables(source)
    if there:
        target.mkdir(parents=True)
    done = move_library(source, target, rename)
    assert (done.source, done.target, done.copied) == (str(source), str(target), rename is to_another_disk)
    assert not source.exists()
    assert [path.name for path in target.parent.iterdir()] == ["moved"]
    assert tables(target) == before
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()} == {0o600}
    with Opened(target, ToyEncoder()) as opened:
        health = opened.library.verify()
        assert (health.problems, health.matrix, health.graph) == ([], "current", "current")
        assert opened.index(tmp_path / "scans").unchanged == 20


@pytest.mark.parametrize("rename", [os.rename, to_another_disk])
def test_a_library_that_is_written_to_stays(tmp_path: Path, rename: Callable[..., None]) -> None:
    source = tmp_path / "library"
    fill(source, tmp_path / "scans", 2)
    before = tables(source)
    with writer_lock(source), pytest.raises(Busy):
        move_library(source, tmp_path / "moved", rename)
    assert not (tmp_path / "moved").exists()
    assert tables(source) == before


def test_a_copy_that_is_not_what_was_written_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "library"
    fill(source, tmp_path / "scans", 5)
    before = tables(source)

    def spoiled(old: Path, new: Path) -> None:
        import sqlite3

        copy_database(old, new)
        connection = sqlite3.connect(new)
        connection.execute("DELETE FROM files WHERE id = 3")
        connection.commit()
        connection.close()

    monkeypatch.setattr(moving, "copy_database", spoiled)
    with pytest.raises(LibraryError, match="stays at"):
        move_library(source, tmp_path / "moved", to_another_disk)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library", "scans"]
    assert tables(source) == before


def test_what_lies_in_the_journal_is_copied_too(tmp_path: Path) -> None:
    """A reader keeps the journal from being emptied into the database."""
    source = tmp_path / "library"
    fill(source, tmp_path / "scans", 5)
    with Library.open(source) as reader, reader.snapshot():
        assert len(reader.vectors().ids) == 5
        draw(tmp_path / "scans" / "new.png", 77)
        with Opened(source, ToyEncoder()) as opened:
            opened.index(tmp_path / "scans")
        move_library(source, tmp_path / "moved", to_another_disk)
    with Library.open(tmp_path / "moved") as moved:
        assert len(moved.vectors().ids) == 6


def test_a_move_that_was_broken_off_is_completed_by_the_same_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    fill(old, tmp_path / "scans", 5)
    before = tables(old)

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(moving, "_remove", killed)
        move_library(old, new, to_another_disk)
    assert (old / "library.db").exists() and (new / "library.db").exists()
    assert move_library(old, new, to_another_disk).copied
    assert not old.exists() and tables(new) == before
    fill(old, tmp_path / "others", 3)
    with pytest.raises(InputError, match="not an empty folder"):
        move_library(old, new, to_another_disk)


def test_a_library_is_copied_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "deep" / "new"
    fill(old, tmp_path / "scans", 5)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(moving, "copy_database", killed)
        copy_library(old, new)
    assert list(new.parent.iterdir()) == []
    assert copy_library(old, new).copied and tables(new) == tables(old)
    assert stat.S_IMODE(new.stat().st_mode) == 0o700
    with Opened(new, ToyEncoder()) as opened:
        assert (opened.library.verify().problems, opened.library.verify().graph) == ([], "current")
    assert not copy_library(old, new).copied, "it is there already"
    draw(tmp_path / "scans" / "later.png", 99)
    with Opened(old, ToyEncoder()) as opened:
        opened.index(tmp_path / "scans")
    with pytest.raises(InputError, match="holds a library already; `roco library merge"):
        copy_library(old, new)
    assert merge(new, [old]).indexed == 1, "which is the remedy"
    assert_same_library(old, new)
    with pytest.raises(InputError, match="one inside the other"):
        copy_library(old, old / "inside")
    with writer_lock(old), pytest.raises(Busy):
        copy_library(old, tmp_path / "third")


def test_a_library_that_was_moved_meanwhile_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    fill(old, tmp_path / "scans", 5)

    @contextmanager
    def waited(folder: Path) -> Iterator[None]:
        with writer_lock(folder):
            folder.rename(tmp_path / "elsewhere")
            yield

    monkeypatch.setattr(moving, "writer_lock", waited)
    with pytest.raises(LibraryNotFound):
        move_library(old, new)
    assert not new.exists() and (tmp_path / "elsewhere" / "library.db").exists()


def test_move_refuses(tmp_path: Path) -> None:
    source, scans = tmp_path / "library", tmp_path / "scans"
    fill(source, scans, 2)
    for target, says in ((scans, "not an empty folder"), (source / "x", "inside"), (tmp_path, "inside")):
        with pytest.raises(InputError, match=says):
            move_library(source, target)
    with pytest.raises(InputError, match="not an empty folder"):
        move_library(source, scans / "00.png")
    with pytest.raises(LibraryNotFound):
        move_library(tmp_path / "none", tmp_path / "moved")
    (source / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"also holds notes\.txt"):
        move_library(source, tmp_path / "moved")
    assert (source / LOCK).exists() and not (tmp_path / "moved").exists()


# Images elsewhere.


def test_relocate_keeps_everything_and_reads_nothing(opened: Opened, scans: Path, tmp_path: Path) -> None:
    for seed in range(6):
        draw(scans / "a" / f"{seed}.png", seed)
    draw(tmp_path / "scans2" / "other.png", 50)
    opened.index(scans, scans / "a", tmp_path / "scans2")
    before = tables(opened.directory)
    scans.rename(tmp_path / "archive")
    assert opened.library.relocate(scans, tmp_path / "archive") == 6
    after = tables(opened.directory)
    expected = {
        name: [
            {k: v.replace(f"{scans}/", f"{tmp_path}/archive/") if k == "path" else v for k, v in row.items()}
            for row in rows
        ]
        for name, rows in before.items()
    }
    expected["roots"] = [
        row | {"path": str(tmp_path / "archive")} if row["path"] == str(scans) else row for row in expected["roots"]
    ]
    assert after == expected
    batches = len(opened.encoder.batches)
    report = opened.index(tmp_path / "archive")
    assert (report.unchanged, report.removed, len(opened.encoder.batches)) == (6, 0, batches)


def test_relocate_is_all_or_nothing(opened: Opened, scans: Path, tmp_path: Path) -> None:
    for seed in range(3):
        draw(scans / f"{seed}.png", seed)
        draw(tmp_path / "other" / f"{seed}.png", seed + 10)
    opened.index(scans, tmp_path / "other")
    before = tables(opened.directory)
    scans.rename(tmp_path / "archive")
    (tmp_path / "archive" / "1.png").write_bytes(b"another size")
    refusals = [
        (scans, tmp_path / "archive", r"1 of 3 files are not .*1\.png"),
        (scans, tmp_path / "other", "knows files at"),
        (scans, scans / "deeper", "inside the other"),
        (tmp_path / "none", tmp_path / "archive", "knows no file at"),
    ]
    for old, new, says in refusals:
        with pytest.raises(InputError, match=says):
            opened.library.relocate(old, new)
    assert tables(opened.directory) == before


def test_known_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "data"
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    monkeypatch.delenv("ROCO_LIBRARY", raising=False)
    assert known_libraries() == []
    for place in (home / "roco" / "library", home / "roco" / "chest", tmp_path / "mine"):
        fill(place, tmp_path / "scans", 1)
    (home / "roco" / "models").mkdir()
    assert known_libraries() == [home / "roco" / "library", home / "roco" / "chest"]
    monkeypatch.setenv("ROCO_LIBRARY", str(tmp_path / "mine"))
    assert known_libraries() == [tmp_path / "mine", home / "roco" / "library", home / "roco" / "chest"]


def test_whoever_reads_while_it_moves_makes_nothing_in_its_old_place(tmp_path: Path, scans: Path) -> None:
    """A reader that wrote the matrix meanwhile locked the folder, and made a file of its name where it was gone."""
    fill(tmp_path / "library", scans, 3)
    with Library.open(tmp_path / "library") as reader:
        assert reader.model is not None
        for cache in (MATRIX, GRAPH, GRAPH_MANIFEST):
            (tmp_path / "library" / cache).unlink()
        (tmp_path / "library").rename(tmp_path / "moved")
        ids, _ = reader.search(np.ones((1, reader.model.dim), np.float32), 3)
        assert ids.shape == (1, 3)
    assert not (tmp_path / "library").exists()
    with pytest.raises(LibraryNotFound), storage_faults(tmp_path / "library"):
        sqlite3.connect(f"file:{tmp_path}/library/library.db?mode=rw", uri=True)
