"""An open SQLite file: making and opening it, transactions, snapshots, and what keeps it in order.

Writing and migrating go through sqlite-utils. Reading goes through the same connection without it, so that a query
does not pay for the import.
"""

import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from roco_search.errors import LibraryCorrupt, LibraryTooNew
from roco_search.library.directory import DATABASE
from roco_search.library.faults import from_sqlite, not_found, storage_faults
from roco_search.system.files import create_file, set_mode

if TYPE_CHECKING:
    from sqlite_utils import Database

SCHEMA_VERSION = 3
BUSY_SECONDS = 10.0
PAGES_AT_ONCE = 1024  # 16 MiB of the database copied at a time.


class Connection:
    """An open database. Only `truth` speaks SQL to it; every refusal is a `LibraryError`."""

    def __init__(self, directory: Path, connection: sqlite3.Connection) -> None:
        self.directory = directory
        self._connection = connection

    @classmethod
    def create_or_open(cls, directory: Path) -> "Connection":
        """Open the database in `directory`, making it if there is none. The caller holds the writer's lock."""
        with storage_faults(directory):
            create_file(directory / DATABASE)
            opened = cls(directory, _connect(f"{_uri(directory / DATABASE)}?mode=rw"))
            try:
                opened._create()
            except BaseException:
                opened.close()
                raise
        return opened

    @classmethod
    def open(cls, directory: Path) -> "Connection":
        """Open an existing database, also one on a disk that is full or read-only.

        Raises
        ------
        LibraryNotFound, LibraryTooNew, LibraryCorrupt, LibraryError
        """
        path = directory / DATABASE
        with storage_faults(directory):
            if not path.exists() or path.stat().st_size == 0:
                raise not_found(directory)
            opened = cls(directory, _open_existing(path))
            try:
                # Settings come last: without them its making was broken off, and the next `roco index` completes it.
                if opened.version() == 0 or not opened.read("SELECT 1 FROM settings UNION SELECT 1 FROM files LIMIT 1"):
                    raise not_found(directory)
            except BaseException:
                opened.close()
                raise
        return opened

    def close(self) -> None:
        """Close the database; what was not committed is gone."""
        with storage_faults(self.directory):
            self._connection.close()

    def version(self) -> int:
        """Return the version of the database's schema.

        Raises
        ------
        LibraryTooNew
        """
        version = int(self.read("PRAGMA user_version")[0][0])
        if version > SCHEMA_VERSION:
            raise LibraryTooNew(
                f"The library {self.directory} was written by a newer roco (its schema is {version}, this roco knows "
                f"{SCHEMA_VERSION}); update with `pip install --upgrade roco-search`, or choose another `directory`."
            )
        return version

    def _create(self) -> None:
        if self.version() < SCHEMA_VERSION:
            from roco_search.library.truth.schema import migrations

            # A vector of 512 dimensions takes 2 KiB: pages of 4 KiB would be half empty.
            self._connection.execute("PRAGMA page_size = 16384")
            self._utils.enable_wal()
            migrations.apply(self._utils)
        if not self._connection.execute("SELECT 1 FROM settings").fetchone():
            rows = [("created", datetime.now(UTC).isoformat(timespec="seconds"))]
            rows += [("id", uuid.uuid4().hex), ("salt", os.urandom(32).hex())]
            with self.transaction():
                self._connection.executemany("INSERT INTO settings VALUES (?, ?)", rows)
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
            if (self.directory / name).exists():
                set_mode(self.directory / name)

    @cached_property
    def _utils(self) -> "Database":
        from sqlite_utils import Database

        return Database(self._connection)

    # Statements. `read` and `stream` are for SELECT alone.

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write everything inside, or nothing."""
        with storage_faults(self.directory), self._utils.atomic():
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the database, whatever another process commits meanwhile."""
        if self._connection.in_transaction:
            yield
            return
        with storage_faults(self.directory):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query."""
        with storage_faults(self.directory):
            return self._connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield the rows of a query, holding one at a time."""
        try:
            yield from self._connection.execute(sql, parameters)
        except sqlite3.Error as error:
            raise from_sqlite(error, self.directory) from error

    def write(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement inside a `transaction`; return the id of the row that it inserted, if it did."""
        with storage_faults(self.directory):
            return int(self._connection.execute(sql, parameters).lastrowid or 0)

    def write_many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run one statement inside a `transaction` with each of several sets of parameters."""
        with storage_faults(self.directory):
            self._connection.executemany(sql, parameters)

    # Upkeep of the file itself.

    def vacuum(self) -> None:
        """Write the database anew without its gaps; SQLite needs the size of the database once more for that time."""
        with storage_faults(self.directory):
            self._connection.execute("VACUUM")

    def empty_journal(self) -> bool:
        """Bring the journal into the database and cut it to nothing; False while another process still reads it."""
        with storage_faults(self.directory):
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def is_intact(self) -> bool:
        """Whether every page, index and reference is sound, reading all of them."""
        try:
            with storage_faults(self.directory):
                found = self._connection.execute("PRAGMA integrity_check(3)").fetchall()
                orphans = self._connection.execute("PRAGMA foreign_key_check").fetchall()
        except LibraryCorrupt:
            return False
        return found == [("ok",)] and not orphans


def raw(text: str) -> bytes:
    """Return the bytes of a path, to be bound as ``CAST(? AS TEXT)``.

    A file name is any bytes; Python carries the odd ones as surrogates, which SQLite would refuse. Cast from bytes,
    they are stored and sorted as they are, and stay readable for a person who opens the database.
    """
    return os.fsencode(text)


def at_or_below(folder: str, *, links: bool = False, column: str = "path") -> tuple[str, list[bytes]]:
    """Return the SQL condition that a path is `folder` or something below it, and the parameters of that condition.

    With `links`, a file also counts that was found through the root `folder` and is elsewhere: a link led to it. That
    is for statements on the table of files.
    """
    base = raw(folder).rstrip(b"/")
    between = f"{column} >= CAST(? AS TEXT) AND {column} < CAST(? AS TEXT)"
    condition = f"{column} = CAST(? AS TEXT) OR {between} OR {between}"
    # "0" follows "/" in ASCII; members of an archive are behind "!/".
    parameters = [raw(folder), base + b"/", base + b"0", base + b"!/", base + b"!0"]
    if links:
        condition += " OR files.root_id = (SELECT id FROM roots WHERE roots.path = CAST(? AS TEXT))"
        parameters.append(raw(folder))
    return f"({condition})", parameters


def copy_database(source: Path, target: Path) -> None:
    """Copy a database by SQLite's own backup, which also copies what is still in the journal.

    Raises
    ------
    sqlite3.Error
        For the caller, who knows the libraries, to turn into a refusal: see `storage_faults`.
    """
    with closing(sqlite3.connect(f"{_uri(source)}?mode=rw", uri=True)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new, pages=PAGES_AT_ONCE)


def _uri(path: Path) -> str:
    return f"file:{quote(str(path))}"


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
    """Open for reading and writing, or, where that is impossible, as an immutable file.

    Even reading in write-ahead mode needs two small files beside the database. On a read-only or full disk they
    cannot be made; a database that was closed in order can then be read without them.
    """
    connection = None
    try:
        connection = _connect(f"{_uri(path)}?mode=rw")
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
    return _connect(f"{_uri(path)}?mode=ro&immutable=1")
