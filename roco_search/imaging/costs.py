"""What decoding a picture may cost: by its header it is refused, or waits until others have gone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from roco_search.errors import UnreadableImage
from roco_search.system.process import return_freed_memory

MAX_PIXELS = 178_956_970
"""Pixels of one frame above which a file is refused before it is decoded.

Twice Pillow's own warning limit, where Pillow itself begins to refuse. The largest radiographs and
whole-slide overviews stay far below; anything larger is a damaged header or a decompression bomb.
"""

MAX_BYTES = 860 * 10**6
"""Bytes of memory that one picture may take above which a file is refused before it is decoded.

All pictures that are being decoded at one time may take as much together. With what Python and its libraries hold, a
process stays near 1 GB. Grey values are rendered a stretch at a time, so that what counts is the decoded values and
the picture of 3 bytes a pixel.
"""

_FREE = 32 * 10**6  # What a slice takes at the most: it waits for nobody, and nobody for it.
_LARGE = 256 * 10**6  # What is worth a moment to give back to the system: each thread would keep as much for itself.


def check_size(width: int, height: int) -> None:
    """Refuse a frame that is too large to decode, by the size that its header declares.

    Raises
    ------
    UnreadableImage
        If the frame has more than `MAX_PIXELS` pixels, or none.
    """
    if width < 1 or height < 1:
        raise UnreadableImage("its header declares a picture without pixels; export it again")
    if width * height > MAX_PIXELS:
        raise UnreadableImage(
            f"too large: {width} × {height} pixels, where at most {MAX_PIXELS:,} are read; make it smaller"
        )


def check_cost(needed: int) -> None:
    """Refuse a picture by the bytes of memory that decoding and rendering it *will* take; in `decoding`, wait for them.

    Raises
    ------
    UnreadableImage
        If those are more than `MAX_BYTES`.
    """
    if needed > MAX_BYTES:
        raise UnreadableImage(
            f"too large: showing it would take {needed / 1e6:,.0f} MB of memory, where at most {MAX_BYTES / 1e6:,.0f} "
            "are used for one picture; make it smaller"
        )
    _allowance.take(needed)


@contextmanager
def decoding() -> Iterator[None]:
    """Decode one piece of a file in this block: what `check_cost` lets it use is given back at its end."""
    _allowance.begin()
    try:
        yield
    finally:
        _allowance.end()


class _Allowance:
    """How much of `MAX_BYTES` each thread of this process uses."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._used: dict[int, int] = {}  # by thread, of those that decode

    def begin(self) -> None:
        with self._condition:
            self._used.setdefault(threading.get_ident(), 0)

    def end(self) -> None:
        thread = threading.get_ident()
        if self._used.get(thread, 0) > _LARGE:
            return_freed_memory()
        with self._condition:
            self._used.pop(thread, None)
            self._condition.notify_all()

    def take(self, needed: int) -> None:
        """Let this thread use so many bytes in all, as soon as the others leave it as many."""
        thread = threading.get_ident()
        with self._condition:
            if needed <= max(_FREE, self._used.get(thread, MAX_BYTES)):
                return
            self._used[thread] = 0  # who waited and kept what it has could wait for somebody who does the same
            self._condition.notify_all()
            self._condition.wait_for(lambda: sum(self._used.values()) + needed <= MAX_BYTES)
            self._used[thread] = needed


_allowance = _Allowance()
