"""The truth of a library as a set of named operations: what any store has to offer, whatever it is made of."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from roco_search.library.truth.captions import Captions
from roco_search.library.truth.connection import Connection
from roco_search.library.truth.embeddings import Embeddings
from roco_search.library.truth.files import Files
from roco_search.library.truth.frames import Frames
from roco_search.library.truth.soundness import is_well_formed


def keyed_hash(salt: str, secret: str | None, kind: str) -> str | None:
    """Return what stands for a UID or a path where the key `salt` (hexadecimal) is in use: see `Store.keyed_hash`."""
    if secret is None:
        return None
    key = bytes.fromhex(salt)
    return hashlib.blake2b(os.fsencode(secret), key=key, digest_size=16, person=kind.encode()).hexdigest()


class Store:
    """Every row and every vector of a library. Every method raises only `LibraryError` and its kin.

    Attributes
    ----------
    directory
        The library's folder.
    files
        What was indexed: roots, and the files found in them with their frames; the writing side.
    frames
        The pictures, as they are asked for; only reads.
    embeddings
        The sets of vectors, one per model.
    captions
        The texts that belong to images.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.directory = connection.directory
        self.frames = Frames(connection)
        self.embeddings = Embeddings(connection)
        self.files = Files(connection, self.keyed_hash)
        self.captions = Captions(connection)

    @classmethod
    def create_or_open(cls, directory: Path) -> "Store":
        """Open the store in `directory`, making it if there is none. The caller holds the writer's lock."""
        return cls(Connection.create_or_open(directory))

    @classmethod
    def open(cls, directory: Path) -> "Store":
        """Open an existing store, also one on a disk that is full or read-only.

        Raises
        ------
        LibraryNotFound, LibraryTooNew, LibraryCorrupt, LibraryError
        """
        return cls(Connection.open(directory))

    def close(self) -> None:
        """Close the store; what was not committed is gone."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write everything inside, or nothing."""
        with self._connection.transaction():
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the store, whatever another process commits meanwhile."""
        with self._connection.snapshot():
            yield

    @cached_property
    def settings(self) -> dict[str, str]:
        """The library's id, salt, and time of creation."""
        return dict(self._connection.read("SELECT key, value FROM settings"))

    def keyed_hash(self, secret: str | None, kind: str) -> str | None:
        """Return what stands for a UID or a path here: useless without this library's salt, and elsewhere."""
        return keyed_hash(self.settings["salt"], secret, kind)

    def take_key(self, salt: str) -> None:
        """Take over the key of what is about to be merged, if nothing was ever stored that another key stands for."""
        if not self.files.count() and not self.files.roots():
            with self.transaction():
                self._connection.write("UPDATE settings SET value = ? WHERE key = 'salt'", [salt])
            self.__dict__.pop("settings", None)

    def summary(self) -> dict[str, object]:
        """Return the settings, and the number of rows and the last id of each table: equal for equal stores."""
        summary: dict[str, object] = dict(self.settings)
        for table in ("roots", "files", "frames", "vectors"):
            summary[table] = self._connection.read(f"SELECT COUNT(*), MAX(id) FROM {table}")[0]
        summary["captions"] = self.captions.count()
        return summary

    def vacuum(self) -> None:
        """Write the store anew without its gaps; for that time it needs its own size once more."""
        self._connection.vacuum()

    def empty_journal(self) -> bool:
        """Leave nothing of what was deleted in the journal; False while another process still reads it."""
        return self._connection.empty_journal()

    def is_intact(self) -> bool:
        """Whether SQLite finds the store undamaged, reading all of it."""
        return self._connection.is_intact()

    def is_well_formed(self) -> bool:
        """Whether every row is such as roco writes, reading all of them."""
        return is_well_formed(self._connection)
