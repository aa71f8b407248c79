"""What can be made again from a model's files: compiled towers and remembered fingerprints, in the user's cache folder.

Everything here may be deleted at any moment, and nothing in it is needed to get an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from roco_search.system.folders import cache_folder
from roco_search.system.seals import read_record, write_record

_FINGERPRINTS = "fingerprints.json"
_SETTLED_NS = 2 * 10**9  # A file written so lately can change again without a change of its times.
_MOST = 64  # Fingerprints that are kept, the latest last.


def cache_directory() -> Path:
    """Return where compiled models are kept: ``ROCO_CACHE``, or the user's cache folder."""
    return Path(cache_folder())


def private_folder(folder: Path) -> Path:
    """Make a folder that its owner alone can look into, and return it.

    Raises
    ------
    OSError
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def remembered(folder: Path, files: Sequence[Path], compute: Callable[[], str]) -> str:
    """Return a hash over the content of files, computed only if one of them has changed since the last time.

    A file counts as unchanged if its device, inode, size, time of change and time of status change are what they were,
    as git and make have it. Files that were written within the last two seconds are always hashed.

    Parameters
    ----------
    folder
        The model's folder, by which the hash is remembered.
    files
        All files that count, those that are missing too.
    compute
        Hashes them.
    """
    stats = [_stat(path) for path in files]
    newest = max((stat[-1] for stat in stats if stat), default=0)
    place, key = cache_directory() / _FINGERPRINTS, str(folder.resolve())
    known = read_record(place) or {}
    entry = known.get(key)
    if isinstance(entry, dict) and entry.get("stats") == stats and isinstance(entry.get("hash"), str):
        return str(entry["hash"])
    value = compute()
    if newest < time.time_ns() - _SETTLED_NS and stats == [_stat(path) for path in files]:
        kept = dict([*((name, old) for name, old in known.items() if name != key)][-_MOST + 1 :])
        with suppress(OSError):  # A full or read-only disk only costs the time of hashing again.
            private_folder(place.parent)
            write_record(place, {**kept, key: {"stats": stats, "hash": value}})
    return value


def _stat(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, max(found.st_ctime_ns, found.st_mtime_ns)]
