"""What a terminal can show: its width, emphasis and links, and text that is cut to fit without breaking a word.

Nothing is imported here that a plain table does not need: a query's start pays for every module.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import IO

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
