"""Whether a file that can be made again is still what was written: found out before anything is read from it.

A manifest is a *record*: JSON with its own checksum. A large file has a *seal*, kept in the record of whoever wrote it:
a hash (XXH3) of each MiB, and a time of modification whose fraction of a second was drawn by chance. Whatever writes
to the file later changes that time. Opening then compares

- all of a file up to `WHOLE`, which takes a few milliseconds beside the reading that a query does anyway;
- of a larger one `SAMPLE` blocks drawn by chance, because a bit can also rot where no time of modification tells;
- all of a larger one whose time is another. A copy that did not keep its time is compared once, and given it again.

What is no plain file is never opened: a named pipe in a cache's place would be waited for without end.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from roco_search.system.files import write_file

Content = npt.NDArray[np.uint8]

BLOCK = 2**20
WHOLE = 64 * BLOCK
SAMPLE = 8
_CHECKSUM = "checksum"
_DIGITS = 16  # of the hash of a block


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading; raise OSError, instead of waiting, for what is no plain file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no plain file", os.fspath(path))
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path) -> bytes:
    """Return the content of a plain file. Raises OSError, see `open_plain`."""
    with open_plain(path) as file:
        return file.read()


def read_record(path: Path) -> dict[str, Any] | None:
    """Return what `write_record` wrote; None if there is none, or it was changed since."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(read_plain(path))
        if isinstance(content, dict) and content.pop(_CHECKSUM, None) == _checksum(content):
            return content
    return None


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object with a checksum of its content, whole or not at all.

    Raises
    ------
    OSError
    """
    write_file(path, json.dumps({**content, _CHECKSUM: _checksum(content)}, indent=1))


def with_checksum(content: bytes) -> bytes:
    """Return a content followed by its SHA-256, for a small file that is no record."""
    return content + hashlib.sha256(content).digest()


def checked(content: bytes) -> bytes:
    """Return what was given to `with_checksum`. Raises ValueError if it was changed since."""
    if content != with_checksum(found := content[:-32]):
        raise ValueError("the checksum is another")
    return found


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Seal:
    """What a file was when it was written.

    Attributes
    ----------
    size
        Bytes from the beginning that count; what comes after them is not looked at.
    blocks
        XXH3 of each block of `BLOCK` bytes, of which the last may be shorter, in hexadecimal.
    stamp
        Its time of modification in nanoseconds.
    """

    size: int
    blocks: str
    stamp: int

    @classmethod
    def put_on(cls, path: Path, size: int | None = None, before: Seal | None = None) -> Seal:
        """Hash a file that was written, and set its time.

        Parameters
        ----------
        path
            The file.
        size
            The bytes that count; None for all.
        before
            A seal that holds, of an earlier state to which bytes were added at the end: only these are hashed.

        Raises
        ------
        OSError
        """
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size if size is None else size
            content = _mapped(file, size)
            kept = 0 if before is None else before.size // BLOCK
            blocks = "" if before is None else before.blocks[: kept * _DIGITS]
            blocks += "".join(_hash(content, number) for number in range(kept, -(-size // BLOCK)))
        stamp = time.time_ns() // 10**9 * 10**9 + random.randrange(10**9)
        os.utime(path, ns=(stamp, stamp))
        return cls(size, blocks, path.stat().st_mtime_ns)

    def open(self, path: Path) -> Content | None:
        """Map the bytes that count, uint8 ``(size,)``, if they are what was written, as far as is looked at.

        That costs little: the pages are in memory then, where the reading that follows finds them.
        """
        with suppress(OSError, ValueError):
            with open_plain(path) as file:
                status = os.fstat(file.fileno())
                if status.st_size < self.size or len(self.blocks) != -(-self.size // BLOCK) * _DIGITS:
                    return None
                content = _mapped(file, self.size)
            if any(
                _hash(content, number) != self.blocks[number * _DIGITS : (number + 1) * _DIGITS]
                for number in self._looked_at(status.st_mtime_ns)
            ):
                return None
            if status.st_mtime_ns != self.stamp:
                with suppress(OSError):
                    os.utime(path, ns=(self.stamp, self.stamp))
            return content
        return None

    def holds(self, path: Path) -> bool:
        """Whether `open` would map the file."""
        return self.open(path) is not None

    def _looked_at(self, mtime_ns: int) -> Iterable[int]:
        count = -(-self.size // BLOCK)
        if self.size <= WHOLE or mtime_ns != self.stamp:
            return range(count)
        # The last one too: it may be added to.
        return (*random.sample(range(count), SAMPLE), count - 1)


def seal_file(path: Path, record: Path) -> None:
    """Put a seal on a file that was written, and keep it in a record of its own. Raises OSError."""
    write_record(record, asdict(Seal.put_on(path)))


def open_sealed(path: Path, record: Path) -> Content | None:
    """Map a file if it is what it was when `seal_file` was called: see `Seal.open`."""
    content = read_record(record)
    if content is None or content.keys() != Seal.__dataclass_fields__.keys():  # a record of something else
        return None
    return Seal(**content).open(path)


def _mapped(file: BinaryIO, size: int) -> Content:
    return np.memmap(file, np.uint8, "r", shape=(size,)) if size else np.empty(0, np.uint8)


def _hash(content: Content, number: int) -> str:
    import xxhash

    return xxhash.xxh3_64_hexdigest(content[number * BLOCK : (number + 1) * BLOCK].data)
