"""Tables of text in columns, and the one rule they follow: no word is broken while there is a way to keep it whole.

A table that is too wide for the terminal takes the one of three forms that needs the fewest lines: its cells are
wrapped; or its last column is printed below each row; or each row becomes a list of its cells, one below the other.
Paths are shortened in their middle, and columns that hold nothing are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from roco_search.cli.terminal import cells, fold, link, shorten, wrap

GAP = 2  # Blanks between two columns.
INDENT = 4  # Blanks in front of what is printed below a row.
LEAST_PATH = 24  # Columns that a path keeps: enough for a file's usual name and a hint of its folder.
NOTHING = frozenset({"", "–"})


# Plain classes: making a data class takes a millisecond of a query's start.


class PathCell:
    """A cell with a path.

    Attributes
    ----------
    shown
        The path as it is printed.
    path
        The file that a click on it opens.
    note
        What follows the path.
    """

    __slots__ = ("note", "path", "shown")

    def __init__(self, shown: str, path: str, note: str = "") -> None:
        self.shown, self.path, self.note = shown, path, note


class Unbroken(str):
    """A cell that is never wrapped, such as "605 MB"."""

    __slots__ = ()


Cell = str | PathCell


Line = tuple[str, int]
"""A piece of a cell: what is written, which may hold a hyperlink, and the columns that it takes."""


class Drawn:
    """A table's lines: of its head, and of its rows."""

    __slots__ = ("head", "rows")

    def __init__(self, head: list[str], rows: list[str]) -> None:
        self.head, self.rows = head, rows


def draw_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    right: Sequence[str] = (),
    width: int | None = None,
    links: bool = False,
) -> Drawn:
    """Return the lines of a table.

    Parameters
    ----------
    columns, rows
        The heads, and the cells of each row. Cells hold no line breaks.
    right
        Heads of the columns that are set to the right.
    width
        The columns of the terminal; None for lines of any length, one a row.
    links
        Whether paths become hyperlinks.
    """
    numbers = [n for n in range(len(columns)) if not rows or any(_text(row[n]) not in NOTHING for row in rows)]
    numbers = numbers or [len(columns) - 1]
    heads = [columns[number] for number in numbers]
    table = _Table(heads, [[row[n] for n in numbers] for row in rows], [head in right for head in heads], links)
    if width is None:
        return table.in_columns(table.natural)
    forms = [table.wrapped(width), table.spilled(width), table.listed(width)]
    return min((form for form in forms if form is not None), key=lambda form: len(form.rows))


def draw_facts(
    facts: Sequence[tuple[str, Cell]],
    *,
    width: int | None = None,
    links: bool = False,
    alike: Collection[str] = (),
) -> Iterator[tuple[str, str]]:
    """Yield the padded name and the value of each line of a list of facts; a long value is wrapped beside its name."""
    start = max((cells(name) for name, _ in facts), default=0) + GAP
    for name, value in facts:
        room = None if width is None else max(1, width - start)
        for number, (line, _) in enumerate(_lines(value, room, links=links, alike=alike)):
            yield _pad(("", 0) if number else (name, cells(name)), start), line


class _Table:
    """A table whose columns all hold something."""

    def __init__(self, heads: list[str], rows: list[list[Cell]], right: list[bool], links: bool) -> None:
        self.heads, self.rows, self.right, self.links = heads, rows, right, links
        columns = list(zip(heads, *rows, strict=True))
        self.natural = [max(cells(_text(cell)) for cell in column) for column in columns]
        self.least = [max(map(_least, column)) for column in columns]

    def wrapped(self, width: int) -> Drawn | None:
        """Wrap cells inside their columns; None where the words do not fit."""
        room = width - GAP * (len(self.heads) - 1)
        widths = _share(self.least, self.natural, room)
        if widths is None:
            return None
        # A path that is shortened by a folder leaves some of its width to the other columns.
        rows: list[Sequence[Cell]] = [self.heads, *self.rows]
        needed = [
            max(columns for row in rows for _, columns in _lines(row[number], wide))
            for number, wide in enumerate(widths)
        ]
        paths = [any(isinstance(row[number], PathCell) for row in self.rows) for number in range(len(widths))]
        natural = [need if path else own for need, path, own in zip(needed, paths, self.natural, strict=True)]
        return self.in_columns(_share(list(map(min, self.least, natural)), natural, room) or widths)

    def spilled(self, width: int) -> Drawn | None:
        """Put the last column below each row; None where that is no text, or the words do not fit either."""
        if len(self.heads) < 3 or self.right[-1] or any(isinstance(row[-1], PathCell) for row in self.rows):
            return None
        before = _Table(self.heads[:-1], [row[:-1] for row in self.rows], self.right[:-1], self.links)
        widths = _share(before.least, before.natural, width - GAP * (len(before.heads) - 1))
        room = width - INDENT
        if widths is None or self.least[-1] > room:
            return None
        rows = []
        for row in self.rows:
            rows += before.row(row[:-1], widths)
            rows += [" " * INDENT + line for line, columns in _lines(row[-1], room) if columns]
        return Drawn([*before.row(before.heads, widths), " " * INDENT + self.heads[-1]], rows)

    def listed(self, width: int) -> Drawn:
        """Print each row as a list of facts. A column without a head that holds a mark joins the next one."""
        rows: list[str] = []
        room = width - GAP - max(map(cells, self.heads)) - GAP
        alike = set().union(*(_alike([row[n] for row in self.rows], room) for n in range(len(self.heads))))
        joined = not self.heads[0] and self.natural[0] == 1 and len(self.heads) > 1
        for row in self.rows:
            own = range(joined, len(self.heads))
            facts = [(self.heads[n], row[n]) for n in own if _text(row[n]) not in NOTHING or n == joined]
            if joined and _text(row[0]):
                facts[0] = (f"{_text(row[0])} {facts[0][0]}", facts[0][1])
            names = [facts[0][0], *(f"  {name}" for name, _ in facts[1:])]
            described = list(zip(names, (cell for _, cell in facts), strict=True))
            if not facts[0][0]:  # the row has a name of its own
                rows += [line for line, _ in _lines(facts[0][1], width, links=self.links, alike=alike)]
                described = described[1:]
            rows += [
                f"{name}{value}".rstrip()
                for name, value in draw_facts(described, width=width, links=self.links, alike=alike)
            ]
        return Drawn([], rows)

    def in_columns(self, widths: Sequence[int]) -> Drawn:
        """Print the rows in columns of these widths."""
        alike = [_alike([row[number] for row in self.rows], wide) for number, wide in enumerate(widths)]
        return Drawn(self.row(self.heads, widths), [line for row in self.rows for line in self.row(row, widths, alike)])

    def row(self, row: Sequence[Cell], widths: Sequence[int], alike: Sequence[set[str]] = ()) -> list[str]:
        """Return the lines of one row; the paths that are `alike` in a column are printed whole."""
        columns = [
            _lines(cell, wide, links=self.links, alike=alike[number] if alike else ())
            for number, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ]
        lines = []
        for number in range(max(map(len, columns))):
            parts = [
                _pad(column[number] if number < len(column) else ("", 0), wide, to_the_right=right)
                for column, wide, right in zip(columns, widths, self.right, strict=True)
            ]
            lines.append((" " * GAP).join(parts).rstrip())
        return lines


def _share(least: Sequence[int], natural: Sequence[int], room: int) -> list[int] | None:
    """Divide `room` among columns: each gets what it needs up to a level that all share; None if it is too small."""
    if sum(least) > room:
        return None
    widths = list(least)
    growing = [number for number in range(len(least)) if natural[number] > least[number]]
    for _ in range(room - sum(least)):
        growing = [number for number in growing if widths[number] < natural[number]]
        if not growing:
            break
        widths[min(growing, key=widths.__getitem__)] += 1
    return widths


def _alike(column: Sequence[Cell], width: int) -> set[str]:
    """Return the paths that would be indistinguishable once they are shortened."""
    by_look: dict[str, set[str]] = {}
    for cell in column:
        if isinstance(cell, PathCell):
            by_look.setdefault(shorten(cell.shown, width), set()).add(cell.shown)
    return {shown for same in by_look.values() if len(same) > 1 for shown in same}


def _text(cell: Cell) -> str:
    return f"{cell.shown}  {cell.note}".rstrip() if isinstance(cell, PathCell) else cell


def _least(cell: Cell) -> int:
    """Return the columns below which the cell would lose something."""
    if isinstance(cell, Unbroken):
        return cells(cell)
    words, path = (cell.note, cells(cell.shown)) if isinstance(cell, PathCell) else (cell, 0)
    return max(min(path, LEAST_PATH), *(min(cells(w), LEAST_PATH) if "/" in w else cells(w) for w in words.split(" ")))


def _lines(cell: Cell, width: int | None, *, links: bool = False, alike: Collection[str] = ()) -> list[Line]:
    """Return a cell in pieces of at most `width` columns."""
    if not isinstance(cell, PathCell):
        pieces = [cell] if width is None or isinstance(cell, Unbroken) else wrap(_with_short_paths(cell, width), width)
        return [(piece, cells(piece)) for piece in pieces]
    note = cell.note
    if width is None:
        paths = [cell.shown]
    else:
        paths = list(fold(cell.shown, width)) if cell.shown in alike else [shorten(cell.shown, width)]
    lines = [(link(path, cell.path) if links else path, cells(path)) for path in paths]
    if not note:
        return lines
    last, columns = lines[-1]
    if width is None or columns + GAP + cells(note) <= width:
        return [*lines[:-1], (f"{last}{' ' * GAP}{note}", columns + GAP + cells(note))]
    return lines + [(piece, cells(piece)) for piece in wrap(_with_short_paths(note, width), width)]


def _with_short_paths(text: str, width: int) -> str:
    """Return a text in which a path that is wider than `width` is shortened rather than broken."""
    return " ".join(shorten(word, width) if "/" in word else word for word in text.split(" "))


def _pad(line: Line, width: int, *, to_the_right: bool = False) -> str:
    text, columns = line
    blank = " " * (width - columns)
    return blank + text if to_the_right else text + blank
