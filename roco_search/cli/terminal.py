"""What a terminal can show: its width, emphasis and links, text cut to fit without breaking a word, and a status line.

The status line says what a command is busy with, so that nothing is silent for long. Nothing is imported here that a
plain table does not need: a query's start pays for every module.
"""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from types import TracebackType


ELLIPSIS = "…"
LEAST_WITH_FOLDER = 12  # Columns; in fewer, a path is shortened like a name.


def terminal_width(stream: IO[str] | None = None) -> int | None:
    """Return the columns of the terminal that `stream` (standard output) is, or None where it is none."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    stated = os.environ.get("COLUMNS", "")
    return int(stated) if stated.isdecimal() and int(stated) else os.get_terminal_size(stream.fileno()).columns or 80


def bold(text: str, stream: IO[str], colour: str = "") -> str:
    """Return a text in bold (and, by its SGR code, in a colour) where `stream` is a terminal that shows it."""
    if not text or not _obeys(stream):
        return text
    coloured = colour and not os.environ.get("NO_COLOR")
    return f"\x1b[1{';' + colour if coloured else ''}m{text}\x1b[0m"


def shows_links(stream: IO[str]) -> bool:
    """Whether `stream` is a terminal to which hyperlinks (OSC 8) can be written."""
    return _obeys(stream) and os.environ.get("TERM") != "linux" and not os.environ.get("NO_COLOR")


def link(text: str, path: str) -> str:
    """Return a text that a terminal opens `path` by: OSC 8 with a ``file://`` address that names this machine."""
    from urllib.parse import quote

    address = f"file://{quote(os.uname().nodename)}{quote(os.fsencode(os.path.abspath(path)))}"  # noqa: PTH100
    return f"\x1b]8;;{address}\x1b\\{text}\x1b]8;;\x1b\\"


def cells(text: str) -> int:
    """Return the number of terminal columns that a text takes."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(char) for char in text)


def wrap(text: str, width: int, *, whole: bool = False) -> list[str]:
    """Break a text between words into lines of at most `width` columns.

    A word wider than that is broken; or, where it has to stay `whole` to be copied from the terminal, gets a line that
    is too long.
    """
    lines: list[str] = []
    line, used = "", 0
    for word in text.split(" "):
        wide = cells(word)
        if line and used + 1 + wide <= width:
            line, used = f"{line} {word}", used + 1 + wide
            continue
        if line:
            lines.append(line)
        *parts, line = fold(word, width) if wide > width and not whole else [word]
        lines += parts
        used = cells(line)
    return [*lines, line]


def fold(text: str, width: int) -> Iterator[str]:
    """Yield a text in pieces of at most `width` columns; an empty text is one empty piece."""
    piece, used = "", 0
    for char in text:
        wide = _cells_of(char)
        if piece and used + wide > width:
            yield piece
            piece, used = "", 0
        piece += char
        used += wide
    yield piece


def shorten(path: str, width: int) -> str:
    """Shorten a path in its middle to at most `width` columns.

    Folders in the middle are left out before the others. The file's name is cut only where it alone is too wide, and
    keeps its start and its end.
    """
    if cells(path) <= width:
        return path
    *folders, name = path.split("/")
    for kept in range(len(folders) - 1, 0, -1):
        # The first folder says which disk, the last ones which series.
        start = min(kept, 1 if folders[0] else 2)
        shown = "/".join([*folders[:start], ELLIPSIS, *folders[len(folders) - (kept - start) :], name])
        if cells(shown) <= width:
            return shown
    if not folders or width < LEAST_WITH_FOLDER:
        return _middle(path, width)
    return f"{ELLIPSIS}/{_middle(name, width - 2)}"


def _middle(text: str, width: int) -> str:
    if cells(text) <= width:
        return text
    end = _beginning(text[::-1], (width - 1) * 2 // 3)[::-1]
    return f"{_beginning(text, width - 1 - cells(end))}{ELLIPSIS}{end}"


def _beginning(text: str, width: int) -> str:
    used = 0
    for number, char in enumerate(text):
        used += _cells_of(char)
        if used > width:
            return text[:number]
    return text


def _obeys(stream: IO[str]) -> bool:
    return stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def _cells_of(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


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
