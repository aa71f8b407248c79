"""The one place where what SQLite and the operating system refuse becomes a `LibraryError` with its remedy."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.errors import LibraryBusy, LibraryCorrupt, LibraryEmpty, LibraryError, ModelMismatch, StorageFull
from roco_search.library.records import EmbeddingSet

if TYPE_CHECKING:
    from roco_search.models.encoder import Encoder


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# SQLite tells ENOSPC as SQLITE_FULL, but a quota or a file-size limit only as a failed write, fsync or truncate,
# or as a failure to enlarge the shared memory that write-ahead logging needs.
_FAILED_WRITES = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}


@contextmanager
def storage_faults(directory: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system, raised while `directory` is used, into errors of roco.

    Raises
    ------
    StorageFull, LibraryCorrupt, LibraryBusy, LibraryError
    """
    try:
        yield
    except sqlite3.Error as error:
        raise from_sqlite(error, directory) from error
    except OSError as error:
        raise from_system(error, directory) from error


def from_sqlite(error: sqlite3.Error, directory: Path) -> LibraryError:
    """Return the refusal that stands for `error`."""
    code = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL or code in _FAILED_WRITES:
        return storage_full(directory)
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or isinstance(error, sqlite3.IntegrityError):
        return corrupt(directory)
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return LibraryBusy(f"The library {directory} is in use by another program; try again when that has finished.")
    if primary in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return no_permission(directory)
    return LibraryError(f"The library {directory} could not be used ({error}); check the disk, then run `roco doctor`.")


def from_system(error: OSError, directory: Path) -> LibraryError:
    """Return the refusal that stands for `error`."""
    if error.errno in _FULL:
        return storage_full(directory)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return no_permission(directory)
    return LibraryError(
        f"The library {directory} could not be used ({error.strerror or error}); check the disk, or name another "
        f"place with --library."
    )


def storage_full(directory: Path) -> StorageFull:
    """Return the refusal for a disk that takes no more."""
    return StorageFull(
        f"The disk that holds the library {directory} is full, or a quota is reached; what was indexed so far is "
        f"kept. Free some space and run the same command again."
    )


def no_image_yet(directory: Path | str) -> LibraryEmpty:
    """Return the refusal for a library in which nothing was indexed yet."""
    return LibraryEmpty(f"The library {directory} holds no image yet; index some with `roco index PATH`.")


def corrupt(directory: Path) -> LibraryCorrupt:
    """Return the refusal for a damaged database."""
    return LibraryCorrupt(
        f"The library {directory} is damaged. Your images are untouched: delete that folder and run "
        f"`roco index` on them again."
    )


def no_permission(directory: Path) -> LibraryError:
    """Return the refusal for a place where this user may not write, or not even read."""
    return LibraryError(
        f"No permission to use the library {directory}; change its permissions, or name another place with --library."
    )


def check_model(active: EmbeddingSet, encoder: "Encoder") -> None:
    """Refuse an encoder whose embeddings cannot be compared with those of the library.

    Raises
    ------
    ModelMismatch
    """
    if active.fingerprint == encoder.fingerprint:
        return
    other = "another version of it" if active.model == encoder.name else encoder.name
    raise ModelMismatch(
        f"This library was made with the model {active.model}, and {other} was asked for; use --model "
        f"{active.model}, or embed the library again with `roco index --reembed --model {encoder.name}`."
    )
