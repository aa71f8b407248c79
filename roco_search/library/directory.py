"""The directory that holds a library: the names of its files, where it is by default, and who may write to it."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from roco_search.errors import InputError
from roco_search.library.faults import storage_faults
from roco_search.system.files import locked, set_mode
from roco_search.system.folders import ORIGIN, SHARED, library_folder, library_place, user_folder

DATABASE = "library.db"
LOCK = "writer.lock"
MATRIX = "vectors.matrix"
IDS = "vectors.ids"
MATRIX_MANIFEST = "vectors.json"
PREFILTER = "vectors.coarse"
PREFILTER_SEAL = "vectors.coarse.json"
FACTS = "vectors.facts"
FACTS_SEAL = "vectors.facts.json"
GRAPH = "vectors.graph"
GRAPH_MANIFEST = "vectors.graph.json"
PROBES, SPACES, COHORTS, SESSIONS = "probes", "spaces", "cohorts", "sessions"
FOLDERS = (PROBES, SPACES, COHORTS, SESSIONS)
"""Folders of files that a person made, each written whole or not at all: they go where the library goes."""

BASE = "origin.base"
"""What a copy of a shared library and that library had in common when they were last compared."""

_BEGINNINGS = frozenset({DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", LOCK, ORIGIN, BASE})
MATRICES = (MATRIX, IDS, MATRIX_MANIFEST, PREFILTER, PREFILTER_SEAL)
GRAPHS = (GRAPH, GRAPH_MANIFEST)
CACHES = (*MATRICES, FACTS, FACTS_SEAL, *GRAPHS)
OWN_NAMES = _BEGINNINGS | {*CACHES, *FOLDERS}


def default_library_path() -> Path:
    """Return the path of the library where none is named: ``ROCO_LIBRARY``, or one in the user's data folder."""
    return Path(library_folder())


def located(path: str | os.PathLike[str]) -> Path:
    """Return the folder of a library that a person named by its path, or by the address of a shared library.

    Raises
    ------
    InputError
        If it begins as an address does, and is none.
    """
    return Path(library_place(os.fspath(path))).absolute()


def is_shared(folder: Path) -> bool:
    """Whether a folder is a copy of a shared library."""
    return (folder / ORIGIN).exists()


def real_path(path: str | os.PathLike[str]) -> str:
    """Return the real path of a folder or file that a person named, whether or not it exists.

    Raises
    ------
    InputError
        If the path is empty.
    """
    text = os.fspath(path)
    if not text:
        raise InputError("The path is empty; write `.` for this folder.")
    if text.startswith(SHARED):
        text = library_place(text)
    return os.path.realpath(os.path.expanduser(text))  # noqa: PTH111


def known_libraries() -> list[Path]:
    """Return the libraries that exist where roco puts them: the default one first, then those in the data folder."""
    home = Path(user_folder("data"))
    beside = sorted(path.parent for pattern in ("*", "shared/*") for path in home.glob(f"{pattern}/{DATABASE}"))
    places = [default_library_path().absolute(), home / "library", *beside]
    return list(dict.fromkeys(path for path in places if (path / DATABASE).exists()))


def prepare(directory: Path) -> None:
    """Make `directory` a folder that only its owner can look into (mode 0700).

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
        set_mode(directory, 0o700)


@contextmanager
def writer_lock(directory: Path) -> Iterator[None]:
    """Hold the right to write to the library.

    It waits a moment, because a process that only opens a library holds the lock for a few milliseconds.

    Raises
    ------
    Busy
        If another process holds it.
    StorageFull, LibraryError
    """
    with ExitStack() as held:
        with storage_faults(directory):
            held.enter_context(locked(directory / LOCK, f"The library {directory} is being written to", wait=0.2))
        yield


def discard_caches(directory: Path, names: Iterable[str] = CACHES) -> None:
    """Remove what can be built again."""
    for name in names:
        with suppress(OSError):
            (directory / name).unlink(missing_ok=True)
