"""Move or copy a library to another folder, or note in it that its images have moved."""

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from roco_search.errors import InputError, LibraryEmpty, LibraryError
from roco_search.imaging.walk import is_below
from roco_search.library.directory import (
    BASE,
    DATABASE,
    FOLDERS,
    LOCK,
    OWN_NAMES,
    is_shared,
    prepare,
    real_path,
    writer_lock,
)
from roco_search.library.faults import not_found, storage_faults
from roco_search.library.shared import publishing, pull, refuse_taken, shared_status
from roco_search.library.truth.connection import copy_database
from roco_search.library.truth.embeddings import EmbeddingSet, recorded
from roco_search.library.truth.store import Store
from roco_search.library.upkeep import verify
from roco_search.models.encoder import EncoderIdentity
from roco_search.system.files import (
    check_space,
    copy_file,
    create_file,
    is_temporary,
    replace_folder,
    set_mode,
    sweep,
    sync,
    temporary_folder,
    temporary_name,
)
from roco_search.system.folders import ORIGIN


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a library was and is now, and whether its files had to be copied to another disk."""

    source: str
    target: str
    copied: bool


def move_library(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    rename: Callable[[Path, Path], object] = os.rename,
) -> Moved:
    """Move a library, also to another disk: there it is copied, verified, and only then removed here.

    A move that was broken off between the two is completed by the same move.

    Parameters
    ----------
    source
        The library. Nobody may be writing to it.
    target
        A folder that does not exist or is empty. Its parent is made if need be.
    rename
        Moves a folder within a file system; raises OSError where it cannot.

    Raises
    ------
    InputError
        If the target is taken, one folder is inside the other, or the library's folder holds other files.
    LibraryNotFound, Busy, LibraryCorrupt, StorageFull, LibraryError
        Nothing has changed at the source then.
    """
    old, new = Path(real_path(source)), Path(real_path(target))
    if is_shared(old) or is_shared(new):
        raise InputError("A shared library is not moved but copied: use `roco library copy SRC DST`.")
    sweep(old.parent, old.name)  # of a move that was broken off when the copy was complete
    Store.open(old).close()
    if not (copied := _is_copied(old, new)):
        _refuse_target(old, new)
    with writer_lock(old):
        if not (old / DATABASE).is_file():  # another process moved it while this one waited for the lock
            raise not_found(old)
        sweep(old)
        _refuse_foreign(old)
        with storage_faults(new):
            if not copied:
                new.parent.mkdir(parents=True, exist_ok=True)
                try:
                    rename(old, new)
                except OSError:
                    # Another file system, mostly; whatever else it is, copying meets it again and reports it.
                    _copy(old, new)
                    copied = True
            set_mode(new, 0o700)
        if copied:
            _remove(old)
    return Moved(str(old), str(new), copied)


def copy_library(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Moved:
    """Copy a library: the copy is verified, and appears whole or not at all.

    A copy that was broken off is made by the same call again; one that is there already is verified and left as it is.
    Either can be the address of a shared library. What is sent to one appears step by step; the same call goes on.

    Raises
    ------
    InputError
        If the target is taken, or one folder is inside the other.
    LibraryNotFound, Busy, LibraryCorrupt, StorageFull, LibraryError
        Nothing is at the target then.
    """
    old, new = Path(real_path(source)), Path(real_path(target))
    pull(old)
    Store.open(old).close()
    if is_shared(new):
        return _share(old, new)
    if _is_copied(old, new):
        return Moved(str(old), str(new), copied=False)
    if (new / DATABASE).is_file():
        raise InputError(
            f"{new} holds a library already; `roco library merge {old} --library {new}` brings it up to date; or "
            "choose a new folder."
        )
    _refuse_target(old, new)
    with storage_faults(new):
        new.parent.mkdir(parents=True, exist_ok=True)
        with writer_lock(old):
            sweep(old)
            _refuse_foreign(old)
            check_space(new, sum(path.stat().st_size for path in old.iterdir() if path.is_file()))
            _copy(old, new)
        set_mode(new, 0o700)
    return Moved(str(old), str(new), copied=True)


def _share(old: Path, new: Path) -> Moved:
    """Make the library `old` a shared one, of which the folder `new` becomes a copy."""
    with closing(Store.open(old)) as original:
        shared, active, summary = shared_status(new), original.embeddings.active(), original.summary()
    assert shared is not None
    if active is None or active.arithmetic is None:
        raise InputError(f"{old} holds nothing that can be shared; run `roco index --reembed` on it first.")
    if not (new / DATABASE).exists():
        refuse_taken(new)
        prepare(new)
        with storage_faults(new), writer_lock(new), temporary_folder(new / DATABASE) as temporary:
            create_file(temporary / DATABASE)
            copy_database(old / DATABASE, temporary / DATABASE)
            sync(temporary / DATABASE)
            (temporary / DATABASE).replace(new / DATABASE)
    with writer_lock(new), closing(Store.create_or_open(new)) as store:
        if store.summary() != summary:
            raise InputError(
                f"{shared.address} holds a library already; `roco library merge {old} --library {shared.address}` "
                "brings it up to date; or choose a new address."
            )
        complete = shared.pulled is not None and not shared.pending
        with publishing(store, recorded(active)):
            pass
        if problems := verify(store).problems:
            raise LibraryError(f"The copy is not what was sent: {problems[0]}")
    return Moved(str(old), shared.address, copied=not complete)


def relocate(store: Store, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
    """Note that everything at or below `old` is now at `new`; return the number of files.

    All or nothing, in one transaction, and only if each file is there with the size that it had.

    Raises
    ------
    InputError
        If nothing is known at `old`, a file is not at `new`, or the library knows files there already.
    StorageFull, LibraryError
    """
    before, after = real_path(old), real_path(new)
    if is_below(after, before) or is_below(before, after):
        raise InputError(f"One of {before} and {after} is inside the other; run `roco index` there instead.")
    files = [file for file in store.files.below(before) if is_below(file.path, before)]
    if not files:
        raise InputError(f"The library knows no file at {before}; `roco status` lists the folders that it knows.")
    if store.files.any_below(after):
        raise InputError(
            f"The library knows files at {after} already; forget one of the two with `roco library remove`."
        )
    moved = {file.path: after + file.path[len(before) :] for file in files}
    missing = sorted(file.path for file in files if _size(moved[file.path]) != file.size)
    if missing:
        raise InputError(
            f"{len(missing)} of {len(files)} files are not at {after} as they were at {before}, such as "
            f"{moved[missing[0]]}; check the folder, or run `roco index {after}`, which compares contents."
        )
    with store.transaction():
        store.files.rename(before, after)
        store.captions.rename(before, after)
    return len(files)


def relocate_model(store: Store, encoder: EncoderIdentity) -> EmbeddingSet:
    """Note where the model of a library is now, if its folder was moved or renamed; return its embeddings.

    Raises
    ------
    LibraryEmpty
        If there are no embeddings.
    ModelMismatch
        If it is another model.
    """
    active = store.embeddings.active()
    if active is None:
        raise LibraryEmpty("The library holds no embeddings, so no model is recorded; run `roco index PATH`.")
    active.check_model(encoder)
    return store.embeddings.find_model_at(active, encoder)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return None


def _refuse_target(old: Path, new: Path) -> None:
    if is_below(str(new), str(old)) or is_below(str(old), str(new)):
        raise InputError(f"{new} and the library {old} are one inside the other; choose a folder beside it.")
    with storage_faults(new):
        if new.exists() and (not new.is_dir() or any(new.iterdir())):
            raise InputError(f"{new} exists and is not an empty folder; choose a new one.")


def _is_copied(old: Path, new: Path) -> bool:
    """Whether a whole copy of `old` is at `new`."""
    if old == new or not (new / DATABASE).is_file():
        return False
    with closing(Store.open(new)) as copy, closing(Store.open(old)) as original:
        return copy.summary() == original.summary() and not verify(copy).problems


def _refuse_foreign(old: Path) -> None:
    foreign = sorted(path.name for path in old.iterdir() if path.name not in OWN_NAMES and not is_temporary(path.name))
    if foreign:
        raise InputError(f"{old} also holds {foreign[0]}, which is not part of the library; move that away first.")


def _copy(old: Path, new: Path) -> None:
    """Put a verified copy of `old` at `new`, whole or not at all."""
    with temporary_folder(new) as temporary:
        for path in sorted(old.iterdir()):
            if path.name.startswith(DATABASE) or path.name in {LOCK, ORIGIN, BASE}:
                continue
            if path.name in FOLDERS:
                (temporary / path.name).mkdir(mode=0o700)
                for file in sorted(path.iterdir()):
                    copy_file(file, temporary / path.name / file.name)
            else:
                copy_file(path, temporary / path.name)
        create_file(temporary / DATABASE)
        copy_database(old / DATABASE, temporary / DATABASE)
        sync(temporary / DATABASE)
        with closing(Store.open(temporary)) as copy, closing(Store.open(old)) as original:
            problems = verify(copy).problems
            if problems or copy.summary() != original.summary():
                raise LibraryError(
                    f"The copy of the library on the other disk is not what was written, so the library stays at "
                    f"{old}; check both disks, then run `roco library verify`."
                )
        replace_folder(temporary, new)


def _remove(old: Path) -> None:
    """Remove a library at once, whatever happens meanwhile: under its own name it is there, whole, or it is not."""
    hidden = temporary_name(old)
    try:
        old.rename(hidden)
    except OSError:  # where a disk is mounted, or its folder cannot be written
        hidden = old
    with storage_faults(old):
        # The lock is removed last: until then no process can create a new library here.
        for path in sorted(hidden.iterdir(), key=lambda path: path.name == LOCK):
            if path.name in FOLDERS:
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        hidden.rmdir()
