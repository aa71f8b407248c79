"""What SQLite and the operating system refuse while a library is used, as an error of roco with its remedy."""

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roco_search.errors import (
    Busy,
    LibraryCorrupt,
    LibraryEmpty,
    LibraryError,
    LibraryNotFound,
    RocoError,
    StorageFull,
)
from roco_search.system.files import FULL, storage_full

# SQLite reports ENOSPC as SQLITE_FULL, but a quota or a file-size limit only as a failed write, fsync or truncate,
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
    StorageFull, LibraryCorrupt, Busy, LibraryError
    """
    try:
        yield
    except sqlite3.Error as error:
        raise from_sqlite(error, directory) from error
    except OSError as error:
        raise from_system(error, directory) from error


def from_sqlite(error: sqlite3.Error, directory: Path) -> RocoError:
    """Return the roco error for `error`."""
    if isinstance(error, sqlite3.ProgrammingError) and "thread" in str(error):
        return LibraryError(
            f"The library {directory} was opened by another thread; call `Library.open` in each thread that uses it."
        )
    code = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL or code in _FAILED_WRITES:
        return library_full(directory)
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or isinstance(error, sqlite3.IntegrityError):
        return corrupt(directory)
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Busy(f"The library {directory} is in use by another program; try again when that has finished.")
    if primary == sqlite3.SQLITE_CANTOPEN and not directory.is_dir():  # Another process has moved it meanwhile.
        return not_found(directory)
    if primary in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return no_permission(directory)
    return LibraryError(f"The library {directory} could not be used ({error}); check the disk, then run `roco doctor`.")


def from_system(error: OSError, directory: Path) -> RocoError:
    """Return the roco error for `error`."""
    if error.errno in FULL:
        return library_full(directory)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return no_permission(directory)
    if error.errno == errno.ENOENT and str(error.filename).startswith(str(directory)) and not directory.is_dir():
        return not_found(directory)  # Another process has moved it meanwhile.
    return LibraryError(
        f"The library {directory} could not be used ({error.strerror or error}); check the disk, or choose another "
        f"`directory`."
    )


FORGED = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, MemoryError)
"""What a row that roco never wrote can end in."""


def explain(error: BaseException | None, directory: Path, is_well_formed: Callable[[], bool]) -> None:
    """Raise an error of roco if rows that it never wrote are what an error comes from; every row is looked at then.

    Raises
    ------
    LibraryCorrupt
    """
    if isinstance(error, FORGED) and not is_well_formed():
        raise corrupt(directory) from None


def library_full(directory: Path) -> StorageFull:
    """Return the refusal for a disk that takes no more."""
    return storage_full(f"the library {directory}", "What was indexed so far is kept.")


def no_image_yet(directory: Path | str) -> LibraryEmpty:
    """Return the refusal for a library in which nothing was indexed yet."""
    return LibraryEmpty(f"The library {directory} holds no image yet; index some with `roco index PATH`.")


def corrupt(directory: Path) -> LibraryCorrupt:
    """Return the refusal for a damaged database."""
    return LibraryCorrupt(
        f"The library {directory} is damaged. Your images are untouched: delete that folder and run "
        f"`roco index` on them again."
    )


def not_found(directory: Path) -> LibraryNotFound:
    """Return the refusal for a place without a library."""
    return LibraryNotFound(
        f"There is no library at {directory} yet; create one with `roco index PATH`, or choose another `directory`."
    )


def no_permission(directory: Path) -> LibraryError:
    """Return the refusal for a place where this user may not write, or not even read."""
    return LibraryError(
        f"No permission to use the library {directory}; change its permissions, or choose another `directory`."
    )
