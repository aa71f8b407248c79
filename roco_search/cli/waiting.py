"""A line on the terminal that says what a command is busy with, so that nothing is silent for long."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

from roco_search.cli.render.terminal import terminal_width, wrap

if TYPE_CHECKING:
    from threading import Event, Lock, Thread
    from types import TracebackType

QUICK = 0.4  # Seconds; what takes no longer needs no line.
TICK = 0.5  # Seconds between two counts.


class Waiting:
    """A transient line on standard error, with the seconds that it has taken; nothing where that is no terminal.

    It goes as soon as anything else is printed, and comes back after a while if the work goes on.

    Examples
    --------
    >>> with Waiting("Loading the model"):
    ...     pass
    """

    def __init__(self, text: str, *, quiet: bool = False) -> None:
        self._text, self._stream = text, sys.stderr
        self._shown = not quiet and self._stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}
        self._thread: Thread | None = None
        self._over: Event | None = None
        self._lock: Lock | None = None
        self._drawn, self._not_before = False, 0.0

    def __enter__(self) -> Waiting:
        if self._shown:
            from threading import Event, Lock, Thread

            global _current
            _current, self._over, self._lock = self, Event(), Lock()
            self._thread = Thread(target=self._tick, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def now(self, text: str) -> None:
        """Say that something else is being done."""
        self._text = text

    def end(self) -> None:
        """Take the line away for good: something else shows from here on that the work goes on."""
        global _current
        if self._over is not None and self._thread is not None and not self._over.is_set():
            self._over.set()
            self._thread.join()
            self.clear()
        if _current is self:
            _current = None

    def clear(self) -> None:
        """Take the line away for now, so that something else can be printed."""
        if self._lock is not None:
            with self._lock:
                self._not_before = time.monotonic() + QUICK
                if self._drawn:
                    self._drawn = False
                    _put(self._stream, "\r\x1b[K")

    def _tick(self) -> None:
        assert self._over is not None and self._lock is not None
        started = time.monotonic()
        self._not_before = started + QUICK
        while not self._over.wait(TICK if self._drawn else QUICK):
            with self._lock:
                if (now := time.monotonic()) >= self._not_before:
                    line = f"{self._text} … {now - started:.0f} s"
                    self._drawn = True
                    _put(self._stream, f"\r{wrap(line, (terminal_width(self._stream) or 80) - 1)[0]}\x1b[K")


_current: Waiting | None = None


def clear() -> None:
    """Take away the line that is shown, if there is one: something else is about to be printed."""
    if _current is not None:
        _current.clear()


def give_way() -> None:
    """End the line that is shown, if there is one: a bar takes its place."""
    if _current is not None:
        _current.end()


def _put(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):  # the terminal is gone, or the stream was closed
        return
