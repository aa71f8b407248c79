"""Move a library to another place, or tell it that its images have moved."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from roco_search.errors import InputError, LibraryError
from roco_search.imaging.walk import is_below
from roco_search.library.directory import DATABASE, LOCK, OWN_NAMES, writer_lock
from roco_search.library.faults import storage_faults
from roco_search.library.truth.listing import real_folder
from roco_search.library.truth.store import AT_OR_BELOW, Store, at_or_below, raw
from roco_search.library.upkeep import verify
from roco_search.system.files import (
    copy_file,
    create_file,
    is_temporary,
    replace_folder,
    set_mode,
    sweep,
    sync,
    temporary_folder,
)

PAGES_AT_ONCE = 1024  # 16 MiB of the database copied at a time.


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a library was and is now, and whether its files had to be copied: to another disk."""

    source: str
    target: str
    copied: bool


def move_library(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    rename: Callable[[Path, Path], object] = os.rename,
) -> Moved:
    """Move a library, also to another disk: there it is copied, verified, and only then removed here.

    Parameters
    ----------
    source
        The library. Nobody may be writing to it.
    target
        A place that is not there, or an empty folder. Its parent is made if need be.
    rename
        Moves a folder within a file system; raises OSError where it cannot.

    Raises
    ------
    InputError
        If the target is taken, or one place lies inside the other, or files of others lie in the library's folder.
    LibraryNotFound, Busy, LibraryCorrupt, StorageFull, LibraryError
        Nothing has changed at the source then.
    """
    old, new = Path(real_folder(source)), Path(real_folder(target))
    Store.open(old).close()
    _refuse_target(old, new)
    with writer_lock(old):
        sweep(old)
        _refuse_foreign(old)
        with storage_faults(new):
            new.parent.mkdir(parents=True, exist_ok=True)
            try:
                rename(old, new)
            except OSError:
                # Another file system, mostly; whatever else it is, copying meets it again and tells.
                _copy(old, new)
                copied = True
            else:
                copied = False
            set_mode(new, 0o700)
        if copied:
            _remove(old)
    return Moved(str(old), str(new), copied)


def relocate(store: Store, old: str, new: str) -> int:
    """Note that everything at or below the real path `old` is now at `new`; return the number of files.

    All or nothing, in one transaction, and only if each file is there with the size that it had.

    Raises
    ------
    InputError
        If nothing is known at `old`, a file is not at `new`, or the library knows files there already.
    StorageFull, LibraryError
    """
    if is_below(new, old) or is_below(old, new):
        raise InputError(f"{old} and {new} lie one inside the other; run `roco index` there instead.")
    below = "path = CAST(? AS TEXT) OR path >= CAST(? AS TEXT) AND path < CAST(? AS TEXT)"
    files = store.read(f"SELECT id, path, size FROM files WHERE {below} ORDER BY path", at_or_below(old)[:3])
    roots = store.read(f"SELECT id, path FROM roots WHERE {below}", at_or_below(old)[:3])
    if not files:
        raise InputError(f"The library knows no file at {old}; `roco status` lists the folders that it knows.")
    if store.read(f"SELECT 1 FROM files WHERE {AT_OR_BELOW} LIMIT 1", at_or_below(new)):
        raise InputError(f"The library knows files at {new} already; forget one of the two with `roco library remove`.")
    missing = [path for _, path, size in files if _size(new + path[len(old) :]) != size]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(files)} files are not at {new} as they were at {old}, such as "
            f"{new + missing[0][len(old) :]}; check the folder, or run `roco index {new}`, which compares contents."
        )
    with store.transaction():
        for file_id, path, _ in files:
            store.write("UPDATE files SET path = CAST(? AS TEXT) WHERE id = ?", [raw(new + path[len(old) :]), file_id])
        for root_id, path in roots:
            store.write("UPDATE roots SET path = CAST(? AS TEXT) WHERE id = ?", [raw(new + path[len(old) :]), root_id])
    return len(files)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return None


def _refuse_target(old: Path, new: Path) -> None:
    if is_below(str(new), str(old)) or is_below(str(old), str(new)):
        raise InputError(f"{new} and the library {old} lie one inside the other; name a place beside it.")
    with storage_faults(new):
        if new.exists() and (not new.is_dir() or any(new.iterdir())):
            raise InputError(f"{new} is there already and not an empty folder; name a new place.")


def _refuse_foreign(old: Path) -> None:
    foreign = sorted(path.name for path in old.iterdir() if path.name not in OWN_NAMES and not is_temporary(path.name))
    if foreign:
        raise InputError(f"{old} also holds {foreign[0]}, which is no part of the library; move that away first.")


def _copy(old: Path, new: Path) -> None:
    """Put a verified copy of `old` at `new`, whole or not at all."""
    with temporary_folder(new) as temporary:
        for path in sorted(old.iterdir()):
            if path.name.startswith(DATABASE) or path.name == LOCK:
                continue
            copy_file(path, temporary / path.name)
        _copy_database(old / DATABASE, temporary / DATABASE)
        with closing(Store.open(temporary)) as copy, closing(Store.open(old)) as original:
            problems = verify(copy).problems
            if problems or _contents(copy) != _contents(original):
                raise LibraryError(
                    f"The copy of the library on the other disk is not what was written, so the library stays at "
                    f"{old}; check both disks, then run `roco library verify`."
                )
        replace_folder(temporary, new)


def _copy_database(old: Path, new: Path) -> None:
    # SQLite's own backup: what lies in the journal is part of the database too.
    create_file(new)
    with closing(sqlite3.connect(f"file:{old}?mode=rw", uri=True)) as source, closing(sqlite3.connect(new)) as copy:
        source.backup(copy, pages=PAGES_AT_ONCE)
    sync(new)


def _contents(store: Store) -> list[object]:
    sums = ["SELECT key, value FROM settings ORDER BY key"]
    sums += [f"SELECT COUNT(*), MAX(id) FROM {name}" for name in ("roots", "files", "frames", "vectors")]
    return [store.read(sql) for sql in sums]


def _remove(old: Path) -> None:
    with storage_faults(old):
        # The lock last: until then nobody begins a new library here.
        for path in sorted(old.iterdir(), key=lambda path: path.name == LOCK):
            path.unlink(missing_ok=True)
        old.rmdir()
