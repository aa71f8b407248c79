"""Tables of text in columns, drawn without importing what a plain table does not need."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import IO

GAP = 2  # Blanks between two columns.
LEAST = 10  # Columns of a terminal that the last column gets at least, so that it is folded and not lost.


def draw_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), width: int | None = None
) -> Iterator[str]:
    """Yield the lines of a table, the head first.

    Parameters
    ----------
    columns, rows
        The heads, and the cells of each row. Cells hold no line breaks.
    right
        Heads of the columns that are set to the right.
    width
        Columns of a terminal, into which the last column is folded; None for lines of any length.
    """
    widths = [max(map(cells, column)) for column in zip(columns, *rows, strict=True)]
    start = sum(widths[:-1]) + GAP * (len(widths) - 1)
    room = None if width is None else max(LEAST, width - start)
    for row in (columns, *rows):
        head = "".join(
            _pad(cell, wide, to_the_right=name in right) + " " * GAP
            for name, cell, wide in zip(columns[:-1], row[:-1], widths[:-1], strict=True)
        )
        first, *rest = [row[-1]] if room is None else list(fold(row[-1], room))
        last = _pad(first, widths[-1] if room is None else min(room, widths[-1]), to_the_right=columns[-1] in right)
        yield (head + last).rstrip()
        yield from (" " * start + part for part in rest)


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(char) for char in text)


def fold(text: str, width: int) -> Iterator[str]:
    """Yield a text in pieces that are at most `width` columns wide; an empty text is one empty piece."""
    piece, used = "", 0
    for char in text:
        wide = _cells_of(char)
        if piece and used + wide > width:
            yield piece
            piece, used = "", 0
        piece += char
        used += wide
    yield piece


def bold(text: str, stream: IO[str], colour: str = "") -> str:
    """Return a text in bold (and, by its SGR code, in a colour) where `stream` is a terminal that shows it."""
    plain = not stream.isatty() or os.environ.get("TERM") in {"dumb", "unknown"}
    if plain:
        return text
    coloured = colour and not os.environ.get("NO_COLOR")
    return f"\x1b[1{';' + colour if coloured else ''}m{text}\x1b[0m"


def terminal_width() -> int | None:
    """Return the columns of the terminal that standard output is, or None where it is none."""
    if not sys.stdout.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() else os.get_terminal_size(sys.stdout.fileno()).columns or 80


def _cells_of(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _pad(text: str, width: int, *, to_the_right: bool) -> str:
    blank = " " * (width - cells(text))
    return blank + text if to_the_right else text + blank
