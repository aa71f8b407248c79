"""Files: written whole or not at all, locked, hashed; and what the system refuses to write, in one sentence.

Whatever replaces a file or a folder is made beside it, under a name that begins with a dot and ends in the number of
the process that makes it, and is then renamed. At every moment the target is what it was or what it becomes, never a
mixture; and what a killed process left behind is known by its name and removed by the next one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from roco_search.errors import Busy, InputError, StorageFull
from roco_search.system.process import is_alive

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
PRIVATE = 0o600
_TEMPORARY = re.compile(r"\.(.+)\.tmp-[0-9a-f]{8}-(\d{1,10})", re.DOTALL)  # the target's name, the owner's number
_LONGEST_NAME = 200  # bytes of the target's name in that of its temporary; file systems allow 255 in all
_POLL_S, _OLD_S = 0.005, 3600
_REMEDY, _ELSEWHERE = "check its permissions, or name another place", "name another place"
_REMEDIES = {errno.ENOENT: f"create its folder, or {_ELSEWHERE}", errno.EEXIST: _ELSEWHERE, errno.ENOTDIR: _ELSEWHERE}
_CHANGES_ARE_TIMED = sys.platform != "win32"


@contextmanager
def replacing(path: Path, mode: int | None = PRIVATE, *, overwrite: bool = True) -> Iterator[Path]:
    """Give an empty temporary file, which takes the place of `path` when the block ends.

    An exception in the block leaves `path` as it was, and nothing beside it.

    Parameters
    ----------
    path
        The file to create or to replace, in a folder that exists.
    mode
        Its permissions; None for those that the umask of the process gives.
    overwrite
        Without it, what is at `path` when the block ends stays there.

    Raises
    ------
    OSError
        If it could not be written whole and brought to the disk; FileExistsError without `overwrite`.
    """
    sweep(path.parent, path.name)
    temporary = temporary_name(path)
    try:
        create_file(temporary, mode)
        yield temporary
        sync(temporary)
        if overwrite or not _links(temporary, path):
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _links(made: Path, path: Path) -> bool:
    """Give a file another name, if nothing has it; False on a disk that cannot do that, such as a USB stick's."""
    try:
        os.link(made, path)
    except OSError as error:
        if os.path.lexists(path) or error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}:
            raise
        return False
    made.unlink()
    return True


def write_file(path: Path, content: bytes | memoryview | str, mode: int | None = PRIVATE) -> None:
    """Write a file, whole or not at all; text as UTF-8. See `replacing`."""
    with replacing(path, mode) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def copy_file(source: Path, target: Path, mode: int | None = PRIVATE) -> None:
    """Copy a file, whole or not at all. See `replacing`."""
    import shutil

    with replacing(target, mode) as temporary:
        shutil.copyfile(source, temporary)


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Give a new folder beside `target`, for its owner alone (mode 0700), which is gone when the block ends.

    Such folders that killed processes left behind are removed first.

    Raises
    ------
    OSError
    """
    import shutil

    sweep(target.parent, target.name)
    folder = temporary_name(target)
    folder.mkdir(mode=0o700)
    try:
        set_mode(folder, 0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace_folder(made: Path, target: Path) -> None:
    """Put a finished folder into the place of `target`, on the same disk, and remove what it replaces.

    Raises
    ------
    OSError
        If it cannot be put there; `target` is then what it was.
    """
    import shutil

    old = temporary_name(target)
    if target.exists():
        target.replace(old)
    try:
        made.replace(target)
    except OSError:
        if old.exists():
            old.replace(target)
        raise
    sync_folder(target.parent)
    if old.exists():
        shutil.rmtree(old)


def temporary_name(path: Path) -> Path:
    """Return an unused name beside `path`, for something that this process makes."""
    return path.with_name(f".{_shortened(path.name)}.tmp-{os.urandom(4).hex()}-{os.getpid()}")


def is_temporary(name: str) -> bool:
    """Whether `temporary_name` gave this name, in whichever process."""
    return _TEMPORARY.fullmatch(name) is not None


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what processes that were killed left half-made in a folder.

    That is all of it, or with `name` what was to become that, and of the rest only what has not changed for an hour: a
    folder that machines share may hold what is being made on another, whose processes are not known here.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _TEMPORARY.fullmatch(entry.name)
            if found is None or is_alive(int(found[2])):
                continue
            if (
                name is None
                or found[1] == _shortened(name)
                or time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD_S
            ):
                _remove(entry)


def _remove(entry: os.DirEntry[str]) -> None:
    import shutil

    with suppress(OSError):
        # In a folder that everybody may write to, a link could lead anywhere.
        if entry.is_symlink() or entry.stat(follow_symlinks=False).st_uid != os.getuid():
            return
        if entry.is_dir():
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink()


def _shortened(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])


def create_file(path: Path, mode: int | None = PRIVATE) -> None:
    """Make sure that the file `path` exists, with this mode; None for what the umask gives."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666 if mode is None else mode))
    if mode is not None:
        set_mode(path, mode)


def set_mode(path: Path, mode: int = PRIVATE) -> None:
    """Give `path` exactly `mode`, whatever the umask was; leave it alone where it belongs to someone else."""
    if path.stat().st_mode & 0o777 != mode:
        with suppress(PermissionError):
            path.chmod(mode)


def sync(path: Path) -> None:
    """Bring the content of a file to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring the names that a folder holds to the disk, where its file system can do that and the folder can be read."""
    try:
        sync(folder)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EACCES}:
            raise


@contextmanager
def locked(path: Path, held: str = "It is used", wait: float | None = 0) -> Iterator[None]:
    """Hold the lock `path`; the kernel releases it even after ``kill -9``.

    Parameters
    ----------
    path
        A file, which is made if need be and keeps the number of the process that holds the lock.
    held
        How the error describes the process that holds it, such as "The library is being written to".
    wait
        Seconds; None for as long as it takes.

    Raises
    ------
    Busy
        If another process holds it.
    OSError
        If the file cannot be made, or its file system has no locks.
    """
    create_file(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not _lock(descriptor, wait):
            raise Busy(f"{held} by {_holder(descriptor)}; wait until that has finished, or stop it.")
        with suppress(OSError):  # The number only serves the message above; a full disk must not matter here.
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder itself, waiting for as long as it takes.

    Raises OSError if there is no such folder, such as one that another process has just moved; none is made.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, None)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, wait: float | None) -> bool:
    if wait is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def _holder(descriptor: int) -> str:
    with suppress(OSError):
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        if owner.isdigit():
            return f"process {owner}"
    return "another process"


class Readable(Protocol):
    """Something that opens as a file of bytes; a `pathlib.Path` is one."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open it at its beginning."""


def changed_ns(status: Any) -> int:
    """Return when a file was last changed, in nanoseconds, by its status: the later of its two times.

    A program may set the time of modification, and a file that takes another's place keeps its own. The time at which
    the system changed the entry shows both; Windows has none.
    """
    return int(max(status.st_mtime_ns, getattr(status, "st_ctime_ns", 0) if _CHANGES_ARE_TIMED else 0))


def sha256(path: Readable, offset: int = 0) -> str:
    """Return the SHA-256 of a file from `offset` to its end, in hexadecimal."""
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def check_space(place: Path, needed: int, remedy: str = "Free some space, or name another place.") -> None:
    """Raise `StorageFull` unless `needed` bytes are free on the disk of `place`, which need not exist yet."""
    import shutil

    existing = next(parent for parent in (place, *place.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise StorageFull(
            f"{needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free on the disk of {place}.", remedy
        )


@contextmanager
def write_errors(place: Path | str) -> Iterator[None]:
    """Turn what the system refuses while `place` is written to into an error of roco.

    Raises
    ------
    StorageFull, InputError
    """
    try:
        yield
    except OSError as error:
        raise write_error(error, place) from error


def write_error(error: OSError, place: Path | str) -> StorageFull | InputError:
    """Return the roco error for `error`, raised while `place` was written to."""
    if error.errno in FULL:
        return storage_full(place)
    reason = error.strerror or type(error).__name__
    return InputError(f"{place} cannot be written ({reason}); {_REMEDIES.get(error.errno or 0, _REMEDY)}.")


def storage_full(place: Path | str, kept: str = "", remedy: str | None = None) -> StorageFull:
    """Return the refusal of a disk that takes no more; `kept` is a sentence that says what is not lost."""
    return StorageFull(f"The disk of {place} is full, or a quota is reached. {kept}".rstrip(), remedy)
