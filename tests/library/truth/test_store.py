"""The database: what it refuses, and in which words."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlite_utils import Database, Migrations

from roco_search.errors import (
    InputError,
    LibraryCorrupt,
    LibraryEmpty,
    LibraryError,
    LibraryNotFound,
    LibraryTooNew,
    StorageFull,
)
from roco_search.library import Library, default_library_path
from roco_search.library.truth.connection import SCHEMA_VERSION
from roco_search.library.truth.schema import migrations
from roco_search.search import search
from tests.disk import files_up_to
from tests.imaging.drawing import shipped
from tests.library.toy import Opened, ToyEncoder, draw

REPOSITORY = str(Path(__file__).parents[3])


def test_schema_version_counts_the_migrations(opened: Opened) -> None:
    assert len(migrations._migrations) == SCHEMA_VERSION
    assert opened.rows("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert opened.rows("PRAGMA journal_mode") == [("wal",)]


def test_missing_library_names_the_command(tmp_path: Path) -> None:
    for directory in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(LibraryNotFound, match="roco index PATH"):
            Library.open(directory)
    (tmp_path / "library.db").touch()
    with pytest.raises(LibraryNotFound):
        Library.open(tmp_path)


def test_another_thread_is_told_to_open_it_itself(opened: Opened, scans: Path) -> None:
    draw(scans / "a.png", 1)
    opened.index(scans)
    library, encoder = opened.library, opened.encoder
    questions: list[Callable[[], object]] = [
        library.status,
        library.vectors,
        library.active,
        library.roots,
        library.verify,
        library.close,
        lambda: library.frames.get([1]),
        lambda: list(library.frames.rows(library.active())),
        lambda: library.index([scans], encoder),
        lambda: search(library, encoder, ["chest"]),
        lambda: search(library, encoder, ["chest"], cosine=True),
    ]
    with ThreadPoolExecutor(1) as other:
        for question in questions:
            with pytest.raises(LibraryError, match=r"was opened by another thread; call `Library\.open` in each"):
                other.submit(question).result()
    assert library.status().files == 1, "the thread that opened it goes on"


def test_foreign_folder_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    mode = tmp_path.stat().st_mode
    with pytest.raises(InputError, match="other files"):
        Library.create_or_open(tmp_path)
    assert tmp_path.stat().st_mode == mode
    with pytest.raises(InputError, match="is a file"):
        Library.create_or_open(tmp_path / "thesis.txt")


def test_empty_library_names_the_command(opened: Opened) -> None:
    with pytest.raises(LibraryEmpty, match="roco index PATH"):
        opened.library.vectors()
    assert opened.library.status().files == 0
    assert opened.library.verify().problems == []


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_everything_is_private_whatever_the_umask(tmp_path: Path, scans: Path, umask: int) -> None:
    draw(scans / "a.png", 1)
    before = os.umask(umask)
    try:
        with Opened(tmp_path / "library", ToyEncoder()) as opened:
            opened.index(scans)
            opened.library.vectors().graph()
            modes = {path.name: oct(path.stat().st_mode & 0o777) for path in opened.directory.iterdir()}
    finally:
        os.umask(before)
    assert set(modes.values()) == {"0o600"}, modes
    assert len(modes) == 9
    assert (tmp_path / "library").stat().st_mode & 0o777 == 0o700


def test_newer_library_is_left_alone(opened: Opened) -> None:
    opened.library.close()
    connection = sqlite3.connect(opened.directory / "library.db")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    for opening in (Library.open, Library.create_or_open):
        with pytest.raises(LibraryTooNew, match="pip install --upgrade"):
            opening(opened.directory)


@pytest.mark.parametrize("place", ["head", "middle"])
def test_damaged_database_is_told(opened: Opened, scans: Path, place: str) -> None:
    for number in range(60):
        draw(scans / f"{number}.png", number)
    opened.index(scans)
    opened.library.close()
    path = opened.directory / "library.db"
    content = bytearray(path.read_bytes())
    if place == "head":
        content[:64] = b"x" * 64
    else:
        content[16384 : 16384 * 12] = b"\xee" * 16384 * 11
    path.write_bytes(bytes(content))
    (opened.directory / "vectors.matrix").unlink()
    with pytest.raises(LibraryCorrupt, match="delete that folder"), Library.open(opened.directory) as library:
        library.index([scans], opened.encoder)


def test_verify_finds_vectors_that_do_not_fit(opened: Opened, scans: Path) -> None:
    draw(scans / "a.png", 1)
    draw(scans / "b.png", 2)
    opened.index(scans)
    assert opened.library.verify().problems == []
    opened.execute("UPDATE embedding_sets SET count = 9")
    assert "do not fit" in opened.library.verify().problems[0]


def test_status_tells_what_is_there(opened: Opened, scans: Path) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm", "reportsi.dcm"):
        shutil.copy(shipped(name), scans)
    (scans / "cut.png").write_bytes(draw(scans / "cut.png", 1).read_bytes()[:60])
    opened.index(scans)
    status = opened.library.status()
    assert (status.files, status.frames, status.modalities) == (2, 2, {"CT": 1, "MR": 1})
    assert [Path(entry.path).name for entry in status.skipped + status.not_images] == ["cut.png", "reportsi.dcm"]
    assert [(root.path, root.present, root.files) for root in status.roots] == [(str(scans), True, 2)]
    assert status.model is not None and (status.model.model, status.model.count) == ("toy", 2)
    assert (status.matrix, status.graph, status.pending) == ("current", "absent", None)
    assert status.database_bytes > 0 and status.cache_bytes > 0


def test_remove_forgets_a_folder(opened: Opened, scans: Path) -> None:
    draw(scans / "one" / "a.png", 1)
    draw(scans / "two" / "b.png", 2)
    opened.index(scans)
    assert opened.library.remove(scans / "one") == 1
    assert opened.library.verify().problems == []
    with pytest.raises(InputError, match="roco status"):
        opened.library.remove(scans / "one")
    assert (scans / "one" / "a.png").exists()


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from roco_search.errors import StorageFull
from tests.library.toy import Opened, ToyEncoder
with Opened(Path(sys.argv[2]), ToyEncoder(dim=512)) as opened:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    try:
        opened.index(Path(sys.argv[3]), batch_size=4)
    except StorageFull as error:
        print(error)
    print(len(opened.paths()))
"""


def test_full_disk_is_told_and_nothing_is_lost(tmp_path: Path, scans: Path) -> None:
    """A limit on the size of files: writing beyond it fails as on a full disk."""
    for number in range(150):
        draw(scans / f"{number:03}.png", number)
    arguments = [sys.executable, "-c", LIMITED, REPOSITORY, str(tmp_path / "library"), str(scans)]
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    message, kept = run.stdout.splitlines()
    assert "is full" in message and "run the same command again" in message
    with Opened(tmp_path / "library", ToyEncoder(dim=512)) as opened:
        assert opened.library.verify().problems == []
        assert len(opened.paths()) == int(kept)
        report = opened.index(scans)
        assert (report.unchanged, report.indexed) == (int(kept), 150 - int(kept))


def test_search_works_where_no_cache_can_be_written(opened: Opened, scans: Path) -> None:
    for number in range(5):
        draw(scans / f"{number}.png", number)
    opened.index(scans)
    right = opened.library.search(opened.encoder.encode_texts(["chest"]), 5)
    matrix = opened.directory / "vectors.matrix"
    matrix.unlink()
    with files_up_to(100), Library.open(opened.directory) as library:
        for mode in ("exact", "approximate"):
            found = library.search(opened.encoder.encode_texts(["chest"]), 5, mode)
            assert (found[0] == right[0]).all()
    assert sorted(path.name for path in opened.directory.glob("vectors*")) == []


READ_ONLY = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.library.toy import Opened, ToyEncoder, draw
from roco_search.errors import LibraryError
from roco_search.library import Library
home = Path(sys.argv[2])
for number in range(3):
    draw(home / "scans" / f"{number}.png", number)
encoder = ToyEncoder()
with Opened(home / "library", encoder) as opened:
    opened.index(home / "scans")
    opened.library.search(encoder.encode_texts(["chest"]), 3)
for path in (home / "library").glob("vectors.*"):
    path.unlink()
home.chmod(0o755)
(home / "library").chmod(0o555)
for path in (home / "library").iterdir():
    path.chmod(0o444)
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
with Library.open(home / "library") as library:
    print(library.search(encoder.encode_texts(["chest"]), 3)[0].shape, library.status().files)
    try:
        library.index([home / "scans"], encoder)
    except LibraryError as error:
        print(error)
print(sorted(path.name for path in (home / "library").iterdir()))
"""


def test_read_only_library_answers() -> None:
    with tempfile.TemporaryDirectory() as home:
        arguments = [sys.executable, "-c", READ_ONLY, REPOSITORY, home]
        run = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        answer, refusal, names = run.stdout.splitlines()
        assert answer == "(1, 3) 3"
        assert "No permission" in refusal and "another `directory`" in refusal
        assert names == "['library.db', 'writer.lock']"


@pytest.mark.parametrize("last", ["m002_arithmetic", "m003_captions", None])
def test_a_library_whose_making_was_broken_off_is_none_and_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str | None
) -> None:
    def broken(self: Migrations, db: Database) -> None:
        apply(self, db, stop_before=last)
        raise OSError(errno.ENOSPC, "No space left on device")

    apply = Migrations.apply
    with monkeypatch.context() as patched:
        patched.setattr(Migrations, "apply", broken)
        with pytest.raises((LibraryError, StorageFull)):
            Library.create_or_open(tmp_path)
    assert (tmp_path / "library.db").stat().st_size
    with pytest.raises(LibraryNotFound):
        Library.open(tmp_path)
    with Library.create_or_open(tmp_path) as library:
        assert library.verify().problems == []


def test_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROCO_LIBRARY", str(tmp_path))
    assert default_library_path() == tmp_path
    monkeypatch.delenv("ROCO_LIBRARY")
    assert default_library_path().name == "library"


def test_library_needs_no_heavy_import() -> None:
    heavy = ("torch", "transformers", "hnswlib", "sqlite_utils", "PIL", "pydicom")
    code = f"import sys, roco_search.search; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert run.stdout.strip() == "[]"
