"""The directory that holds a library: who may see it, who may write to it, how a file in it is replaced."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

from roco_search.errors import InputError, LibraryBusy
from roco_search.library.faults import storage_faults
from roco_search.system.folders import library_folder, user_folder

DATABASE = "library.db"
LOCK = "writer.lock"
MATRIX = "vectors.matrix"
IDS = "vectors.ids"
MATRIX_MANIFEST = "vectors.json"
PREFILTER = "vectors.coarse"
GRAPH = "vectors.graph"
GRAPH_MANIFEST = "vectors.graph.json"
TEMPORARY = ".tmp-"

_BEGINNINGS = frozenset({DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", LOCK})
CACHES = (MATRIX, IDS, MATRIX_MANIFEST, PREFILTER, GRAPH, GRAPH_MANIFEST)
OWN_NAMES = _BEGINNINGS | {*CACHES}


def default_library_path() -> Path:
    """Return where the library lies unless a command names a place: ``ROCO_LIBRARY``, or the user's data folder."""
    return Path(library_folder())


def real_path(path: str | os.PathLike[str]) -> str:
    """Return the real path of a folder or file that a person named, whether or not it exists.

    Raises
    ------
    InputError
        If the path is empty.
    """
    text = os.fspath(path)
    if not text:
        raise InputError("An empty path names nothing; write `.` for this folder.")
    return os.path.realpath(os.path.expanduser(text))  # noqa: PTH111


def known_libraries() -> list[Path]:
    """Return the places where a library may be: the default one, the first, and those beside the data folder's own."""
    home = Path(user_folder("data"))
    beside = sorted(path.parent for path in home.glob(f"*/{DATABASE}"))
    places = [default_library_path().absolute(), home / "library", *beside]
    return list(dict.fromkeys(path for path in places if (path / DATABASE).exists()))


def prepare(directory: Path) -> None:
    """Make `directory` a place where only its owner can look (mode 0700).

    Raises
    ------
    InputError
        If it is a file, or a folder that holds something other than a library.
    LibraryError
        If it cannot be made.
    """
    with storage_faults(directory):
        if directory.exists() and not directory.is_dir():
            raise InputError(f"{directory} is a file; choose a new or empty folder as `directory`.")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = set(os.listdir(directory))  # noqa: PTH208 - names alone are wanted
        if DATABASE not in names and names - _BEGINNINGS:
            raise InputError(
                f"{directory} holds other files and no library; choose a new or empty folder as `directory`."
            )
        make_private(directory, 0o700)


def make_private(path: Path, mode: int = 0o600) -> None:
    """Give `path` exactly `mode`, whatever the umask was; leave it alone where it belongs to someone else."""
    if path.stat().st_mode & 0o777 != mode:
        with suppress(PermissionError):
            path.chmod(mode)


def create_private(path: Path) -> None:
    """Make sure the file `path` exists, with mode 0600."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    make_private(path)


@contextmanager
def writer_lock(directory: Path) -> Iterator[None]:
    """Hold the right to write to the library; the kernel gives it back even after ``kill -9``.

    Raises
    ------
    LibraryBusy
        If another process holds it.
    """
    with storage_faults(directory):
        create_private(directory / LOCK)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not _lock(descriptor):
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            process = f"process {owner}" if owner.isdigit() else "another process"
            raise LibraryBusy(
                f"The library {directory} is being written to by {process}; wait until that has finished, or stop it."
            )
        with suppress(OSError):  # The number only serves the message above; a full disk must not matter here.
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock, waiting a moment: who only opens a library holds it for a few milliseconds."""
    for _ in range(40):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        sleep(0.005)
    return False


def replace_file(path: Path, write: Callable[[Path], int]) -> None:
    """Put a new file in the place of `path`, whole or not at all.

    Parameters
    ----------
    path
        The file to create or to replace.
    write
        Writes the content into the path it is given, which exists, and returns the size in bytes that it means to
        have written. hnswlib reports no failed write, so the size is compared.

    Raises
    ------
    OSError
        If the content could not be written whole. `path` is as it was.
    """
    temporary = path.with_name(f"{path.name}{TEMPORARY}{os.getpid()}")
    try:
        create_private(temporary)
        expected = write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        if size != expected:
            raise OSError(f"{size} of {expected} bytes were written")
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Bring to the disk which names a folder has."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard_caches(directory: Path, names: Iterable[str] = CACHES) -> None:
    """Remove what can be built again."""
    for name in names:
        with suppress(OSError):
            (directory / name).unlink(missing_ok=True)


def sweep_temporary(directory: Path) -> None:
    """Remove what a killed process left half-written."""
    for path in directory.glob(f"*{TEMPORARY}*"):
        owner = path.name.rpartition("-")[2]
        with suppress(OSError):
            if not owner.isdigit() or not _alive(int(owner)):
                path.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def sha256(path: Path, offset: int = 0) -> str:
    """Return the SHA-256 of the file from `offset` to its end, in hexadecimal."""
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.file_digest(file, "sha256").hexdigest()
