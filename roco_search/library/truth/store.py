"""SQLite, the only truth of a library: every row and every vector. What is here is read and written by nobody else.

Writing and migrating go through sqlite-utils. Reading goes through the same connection without it, so that a query
need not pay for the import.
"""

import hashlib
import os
import secrets
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from roco_search.errors import LibraryNotFound, LibraryTooNew
from roco_search.library.directory import DATABASE
from roco_search.library.faults import corrupt, from_sqlite, storage_faults
from roco_search.library.records import EmbeddingSet, Skipped, StoredFrame
from roco_search.system.files import create_file, set_mode

if TYPE_CHECKING:
    from sqlite_utils import Database

    from roco_search.models.encoder import Encoder

SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0
RETIRE_CHUNK = 20_000  # Vectors deleted in one transaction: enough to be fast, little enough for a small journal.

_SET_COLUMNS = "id, model, fingerprint, dim, image_size, logit_scale, state, count, last_id"
FRAME_COLUMNS = (
    "frames.id, files.path, number, count, modality, body_part, view, laterality, rows, columns, series, study, "
    "series_number, instance_number, localizer"
)


def raw(text: str) -> bytes:
    """Return the bytes of a path, to be bound as ``CAST(? AS TEXT)``.

    A file name is any bytes; Python carries the odd ones as surrogates, which SQLite would refuse. Cast from bytes,
    they are stored and sorted as they are, and stay readable for a person who opens the database.
    """
    return os.fsencode(text)


def prefix_range(folder: str) -> tuple[bytes, bytes]:
    """Return the half-open range of raw paths that lie below `folder`."""
    base = raw(folder).rstrip(b"/")
    return base + b"/", base + b"0"  # "0" follows "/" in ASCII.


class Store:
    """An open database. Every method raises only `LibraryError` and its kin."""

    def __init__(self, directory: Path, connection: sqlite3.Connection) -> None:
        self.directory = directory
        self.connection = connection

    @classmethod
    def create_or_open(cls, directory: Path) -> "Store":
        """Open the database in `directory`, making it if there is none. The caller holds the writer's lock."""
        with storage_faults(directory):
            create_file(directory / DATABASE)
            store = cls(directory, _connect(f"file:{quote(str(directory / DATABASE))}?mode=rw"))
            try:
                store._create()
            except BaseException:
                store.close()
                raise
        return store

    @classmethod
    def open(cls, directory: Path) -> "Store":
        """Open an existing database, also one on a disk that is full or read-only.

        Raises
        ------
        LibraryNotFound, LibraryTooNew, LibraryCorrupt, LibraryError
        """
        path = directory / DATABASE
        with storage_faults(directory):
            if not path.exists() or path.stat().st_size == 0:
                raise not_found(directory)
            store = cls(directory, _open_existing(path))
            try:
                if store._version() == 0:
                    raise not_found(directory)
            except BaseException:
                store.close()
                raise
        return store

    def close(self) -> None:
        """Close the database; what was not committed is gone."""
        with storage_faults(self.directory):
            self.connection.close()

    def _version(self) -> int:
        version = int(self.connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise LibraryTooNew(
                f"The library {self.directory} was written by a newer roco (its schema is {version}, this roco knows "
                f"{SCHEMA_VERSION}); update with `pip install --upgrade roco-search`, or name another place with "
                f"--library."
            )
        return version

    def _create(self) -> None:
        if self._version() < SCHEMA_VERSION:
            from roco_search.library.truth.schema import migrations

            # A vector of 512 dimensions takes 2 KiB: pages of 4 KiB would be half empty.
            self.connection.execute("PRAGMA page_size = 16384")
            self.db.enable_wal()
            migrations.apply(self.db)
        if not self.connection.execute("SELECT 1 FROM settings").fetchone():
            rows = [("created", datetime.now(UTC).isoformat(timespec="seconds"))]
            rows += [("id", uuid.uuid4().hex), ("salt", secrets.token_hex(32))]
            with self.transaction():
                self.connection.executemany("INSERT INTO settings VALUES (?, ?)", rows)
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
            if (self.directory / name).exists():
                set_mode(self.directory / name)

    @cached_property
    def db(self) -> "Database":
        """The database as sqlite-utils sees it."""
        from sqlite_utils import Database

        return Database(self.connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write everything inside, or nothing."""
        with storage_faults(self.directory), self.db.atomic():
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the database, whatever another process commits meanwhile."""
        if self.connection.in_transaction:
            yield
            return
        with storage_faults(self.directory):
            self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.rollback()

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query."""
        with storage_faults(self.directory):
            return self.connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield the rows of a query, holding one at a time."""
        try:
            yield from self.connection.execute(sql, parameters)
        except sqlite3.Error as error:
            raise from_sqlite(error, self.directory) from error

    def write(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement inside a `transaction`; return the id of the row that it inserted, if it did."""
        with storage_faults(self.directory):
            return int(self.connection.execute(sql, parameters).lastrowid or 0)

    @cached_property
    def settings(self) -> dict[str, str]:
        """The library's id, salt, and time of creation."""
        return dict(self.read("SELECT key, value FROM settings"))

    def keyed_hash(self, secret: str | None, kind: str) -> str | None:
        """Return what stands for a UID or a path here: useless without this library's salt, and elsewhere."""
        if secret is None:
            return None
        key = bytes.fromhex(self.settings["salt"])
        return hashlib.blake2b(raw(secret), key=key, digest_size=16, person=kind.encode()).hexdigest()

    # Embedding sets.

    def embedding_set(self, state: str) -> EmbeddingSet | None:
        """Return the ``"active"`` or the ``"pending"`` set."""
        rows = self.read(f"SELECT {_SET_COLUMNS} FROM embedding_sets WHERE state = ?", [state])
        return EmbeddingSet(*rows[0]) if rows else None

    def add_set(self, encoder: "Encoder", state: str) -> EmbeddingSet:
        """Begin an empty set for the vectors of `encoder`."""
        sql = """
            INSERT INTO embedding_sets (model, fingerprint, dim, image_size, logit_scale, state)
            VALUES (CAST(? AS TEXT), ?, ?, ?, ?, ?)
        """
        values = [raw(encoder.name), encoder.fingerprint, encoder.dim, encoder.image_size]
        with self.transaction():
            self.write(sql, [*values, float(encoder.logit_scale), state])
        created = self.embedding_set(state)
        assert created is not None
        return created

    def delete_retired(self) -> None:
        """Delete what no longer serves, a chunk at a time; an interruption leaves the rest for the next time."""
        for (set_id,) in self.read("SELECT id FROM embedding_sets WHERE state = 'retired'"):
            chunk = "SELECT id FROM vectors WHERE set_id = ? LIMIT ?"
            while self.read(chunk, [set_id, 1]):
                with self.transaction():
                    self.write(f"DELETE FROM vectors WHERE id IN ({chunk})", [set_id, RETIRE_CHUNK])
            with self.transaction():
                self.write("DELETE FROM embedding_sets WHERE id = ?", [set_id])

    # Reading pictures and vectors.

    def vectors(self, chosen: EmbeddingSet) -> Iterator[tuple[int, bytes]]:
        """Yield (frame id, vector as float32 little-endian) of a set in ascending order of the frame id.

        Raises
        ------
        LibraryCorrupt
            If a vector has not the length of the set's dimension.
        """
        sql = "SELECT frame_id, vector FROM vectors WHERE set_id = ? ORDER BY frame_id"
        try:
            for frame_id, vector in self.connection.execute(sql, [chosen.id]):
                if len(vector) != 4 * chosen.dim:
                    raise corrupt(self.directory)
                yield frame_id, vector
        except sqlite3.Error as error:
            raise from_sqlite(error, self.directory) from error

    def added_since(self, chosen: EmbeddingSet, last_id: int) -> list[tuple[int, bytes]]:
        """Return (frame id, vector) of what came into a set after a state, ascending by frame id.

        Raises
        ------
        LibraryCorrupt
            If a vector has not the length of the set's dimension.
        """
        sql = "SELECT frame_id, vector FROM vectors WHERE set_id = ? AND id > ? ORDER BY frame_id"
        rows = self.read(sql, [chosen.id, last_id])
        if any(len(vector) != 4 * chosen.dim for _, vector in rows):
            raise corrupt(self.directory)
        return rows

    def vector(self, chosen: EmbeddingSet, frame_id: int) -> bytes | None:
        """Return the vector of one frame as float32 little-endian."""
        rows = self.read("SELECT vector FROM vectors WHERE set_id = ? AND frame_id = ?", [chosen.id, frame_id])
        return rows[0][0] if rows else None

    def frames(self, ids: Iterable[int]) -> dict[int, StoredFrame]:
        """Return the frames with these ids; an unknown id is left out."""
        sql = f"SELECT {FRAME_COLUMNS} FROM frames JOIN files ON files.id = file_id WHERE frames.id = ?"
        rows = (row for frame_id in ids for row in self.read(sql, [int(frame_id)]))
        return {row[0]: stored_frame(row) for row in rows}

    def refused(self, status: str, folders: Iterable[str] | None = None) -> list[Skipped]:
        """Return the files of a status (``"unreadable"``, ``"not_image"``), all or only those at or below `folders`."""
        if folders is None:
            rows = self.read("SELECT path, reason FROM files WHERE status = ? ORDER BY path", [status])
            return [Skipped(path, reason) for path, reason in rows]
        found: set[Skipped] = set()
        for folder in folders:
            sql = f"SELECT path, reason FROM files WHERE status = ? AND {AT_OR_BELOW}"
            found.update(Skipped(path, reason) for path, reason in self.read(sql, [status, *at_or_below(folder)]))
        return sorted(found)


AT_OR_BELOW = (
    "(path = CAST(? AS TEXT) OR path >= CAST(? AS TEXT) AND path < CAST(? AS TEXT) "
    "OR files.root_id = (SELECT id FROM roots WHERE roots.path = CAST(? AS TEXT)))"
)
"""SQL condition: a file is at or below a folder, or was found through a link in it. Its parameters: `at_or_below`."""

EMBEDDED = """
    (status = 'indexed' AND EXISTS (
        SELECT 1 FROM frames JOIN vectors ON frame_id = frames.id WHERE file_id = files.id AND set_id = ?))
"""
"""SQL condition: a file has vectors in a set. Its parameter: the id of the set."""


def at_or_below(folder: str) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the parameters of `AT_OR_BELOW`."""
    return raw(folder), *prefix_range(folder), raw(folder)


def to_blob(vector: npt.NDArray[np.float32]) -> bytes:
    """Return a vector as it is stored: float32 little-endian."""
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def stored_frame(row: Sequence[Any]) -> StoredFrame:
    """Return a row of `FRAME_COLUMNS` as a frame."""
    values = list(row)
    values[-1] = None if row[-1] is None else bool(row[-1])
    return StoredFrame(*values)


def not_found(directory: Path) -> LibraryNotFound:
    """Return the refusal for a place without a library."""
    return LibraryNotFound(
        f"There is no library at {directory} yet; make one with `roco index PATH`, or name another with --library."
    )


def _connect(uri: str) -> sqlite3.Connection:
    # Transactions are begun and ended by hand: the module's own implicit ones are switched off.
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    connection.text_factory = os.fsdecode
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    # What is forgotten (a path can name a patient) is overwritten, not only unlinked from its page.
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def _open_existing(path: Path) -> sqlite3.Connection:
    """Open for reading and writing, or, where that cannot be, as a file that nobody changes.

    Even reading in write-ahead mode needs two small files beside the database. On a read-only or full disk they
    cannot be made; a database that was closed in order can then be read without them.
    """
    uri = f"file:{quote(str(path))}"
    connection = None
    try:
        connection = _connect(f"{uri}?mode=rw")
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        return connection
    except sqlite3.OperationalError as error:
        if connection is not None:
            connection.close()
        journal = path.with_name(f"{path.name}-wal")
        if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} or (
            journal.exists() and journal.stat().st_size
        ):
            raise
    return _connect(f"{uri}?mode=ro&immutable=1")
