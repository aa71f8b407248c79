"""How far a long run is: indexing, a download, a training and an evaluation all report it in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Follows the progress of a run."""

    def start(self, total: int, done: int = 0) -> None:
        """Begin: there are `total` files, pairs, steps or bytes, and `done` of them are finished already."""

    def advance(self, count: int, **figures: float) -> None:
        """Count `count` more as finished (fewer if it is negative), with figures of this moment, such as ``loss``."""

    def stop(self) -> None:
        """End, finished or not."""


class Silent:
    """A `Progress` that reports nothing."""

    def start(self, total: int, done: int = 0) -> None:
        """Do nothing."""

    def advance(self, count: int, **figures: float) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


@contextmanager
def following(progress: Progress | None, total: int, done: int = 0) -> Iterator[Progress]:
    """Start `progress` with the block and stop it at the end, however that comes; None reports nothing."""
    progress = progress or Silent()
    progress.start(total, done)
    try:
        yield progress
    finally:
        progress.stop()


LONG = 2_000
"""Things; with fewer, work that nobody asked for is over before a bar could be read."""

_shows: Callable[[str], Progress] | None = None


def show_unasked(shows: Callable[[str], Progress] | None) -> None:
    """From here on, make the `Progress` of `unasked` by this, from a label; None shows nothing."""
    global _shows  # noqa: PLW0603 - of the process, as its terminal is
    _shows = shows


@contextmanager
def unasked(label: str, total: int) -> Iterator[Progress]:
    """Follow long work that a command has to do before or after its own, such as pulling a shared library."""
    with following(_shows(label) if _shows and total >= LONG else None, total) as progress:
        yield progress


class Pace:
    """How many images, or other things, were finished in a second since it was made."""

    def __init__(self) -> None:
        self._started, self._count = time.monotonic(), 0

    def add(self, count: int) -> float:
        """Count `count` more, and return the pace."""
        self._count += count
        return self._count / max(time.monotonic() - self._started, 1e-9)
