"""A line on the terminal that shows what a command is doing, so that nothing is silent for long."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

from roco_search.cli.terminal import terminal_width, wrap

if TYPE_CHECKING:
    from types import TracebackType

QUICK = 0.4  # Seconds; work that takes no longer needs no line.


class Waiting:
    """A transient line on standard error, with the seconds that the work has taken; nothing if that is not a terminal.

    It disappears when anything else is printed, and returns after a while if the work continues. A progress bar ends
    it.
    """

    def __init__(self, text: str, *, quiet: bool = False) -> None:
        self._text, self._quiet = text, quiet
        self._line: _Line | None = None

    def __enter__(self) -> Waiting:
        if not self._quiet and sys.stderr.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}:
            self._line = _Line(sys.stderr, self._text)
            _shown.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def now(self, text: str) -> None:
        """Show that something else is being done."""
        if self._line is not None:
            self._line.say(text)

    def clear(self) -> None:
        """Hide the line for now."""
        if self._line is not None:
            self._line.clear()

    def end(self) -> None:
        """Remove the line for good."""
        if self._line is not None:
            self._line.end()
            self._line = None
            _shown.remove(self)


class _Line:
    """What is drawn, by a separate thread, because loading a model leaves no time for it."""

    def __init__(self, stream: TextIO, text: str) -> None:
        from threading import Event, Lock, Thread

        self._stream, self._drawn = stream, False
        self._over, self._lock = Event(), Lock()
        self.say(text)
        self._not_before = self._since + QUICK
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        self._text, self._since = text, time.monotonic()

    def clear(self) -> None:
        with self._lock:
            self._not_before = time.monotonic() + QUICK
            self._erase()

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        self._erase()

    def _run(self) -> None:
        while not self._over.wait(QUICK):
            with self._lock:
                if (now := time.monotonic()) >= self._not_before:
                    line = f"{self._text} … {now - self._since:.0f} s"
                    self._drawn = True
                    self._write(f"\r{wrap(line, (terminal_width(self._stream) or 80) - 1)[0]}\x1b[K")

    def _erase(self) -> None:
        if self._drawn:
            self._drawn = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone, or the stream was closed
            return


_shown: list[Waiting] = []


def clear() -> None:
    """Remove the line that is shown, if there is one: something else is about to be printed."""
    for waiting in _shown:
        waiting.clear()


def give_way() -> None:
    """End the line that is shown, if there is one: a progress bar takes its place."""
    for waiting in tuple(_shown):
        waiting.end()
