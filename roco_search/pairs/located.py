"""Rows of a table whose cells name image files: imagefolder's metadata, and tables of paths and captions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from roco_search.errors import InputError

from .captions import fold_text
from .files import Files, leaves_folder
from .naming import relative_name
from .pair import PictureFile
from .roles import Roles
from .rows import ReadRows, Row
from .splits import TRAIN, in_order, known_split
from .tables import Table

Lines = Iterable[tuple[int, dict[str, Any]]]
_UNNAMED = "without a split"


class Locator:
    """Makes rows of the lines of a table.

    Parameters
    ----------
    table
        The table. One of its columns has to name the images.
    root
        Where the data set is, for the names in a report.
    anywhere
        Whether a path may lead out of the table's folder. Then one that is not there is looked for in the current
        folder too, to which some tables are relative.

    Raises
    ------
    InputError
        If no column names the images.
    """

    def __init__(self, table: Table, root: Path, *, anywhere: bool) -> None:
        self._table, self._root, self._anywhere = table, root, anywhere
        self._roles = Roles.of(table.columns)
        self._places = [Files(table.path.parent), *([Files(Path())] if anywhere else [])]
        self._prefix = Path(relative_name(table.path.parent, root)).as_posix()
        if self._roles.image is None:
            raise InputError(
                f"{table.path} has no column that names the images; it has {', '.join(table.columns)}. Name it "
                "'file_name'."
            )

    def rows(self, lines: Lines) -> list[Row]:
        """Return a row for each line, in order. Raises `InputError` for a line without a path, or with a bad one."""
        return [self._row(number, cells) for number, cells in lines]

    def file_name(self, cells: dict[str, Any]) -> str:
        """Return the path of the image as a line has it."""
        value = cells.get(self._roles.image or "")
        return value.strip() if isinstance(value, str) else ""

    @property
    def split(self) -> str | None:
        """The column of the splits, if there is one."""
        return self._roles.split

    def _row(self, number: int, cells: dict[str, Any]) -> Row:
        name = self.file_name(cells)
        if not name:
            raise InputError(
                f"{self._table.path}, line {number}: no path of an image in {self._roles.image!r}; complete the line, "
                "or remove it."
            )
        if not self._anywhere and leaves_folder(name):
            raise InputError(
                f"{self._table.path}, line {number}: {name!r} leads out of the data folder; move the image into it, or "
                "give a CSV or TSV of paths instead."
            )
        path = next((found for files in self._places if (found := files.find(name))), None)
        return Row(
            os.path.normpath(os.path.join(self._prefix, name)).replace(os.sep, "/"),  # noqa: PTH118
            PictureFile(path) if path else None,
            self._roles.captions(cells),
            self._roles.others(cells),
            self._roles.case_of(cells),
            self._roles.licence_of(cells),
            self._roles.fault,
        )


def divide(table: Table, root: Path, own: str, *, anywhere: bool) -> dict[str, ReadRows]:
    """Return the splits of one table.

    They are the values of its column ``split``; or the first folders of its paths, if each of them is the name of a
    split; or else one, which has the name ``own`` if that is the name of a split, and is train otherwise.
    """
    locator = Locator(table, root, anywhere=anywhere)
    if locator.split is not None:
        names = [fold_text(cells.get(locator.split)) or _UNNAMED for _, cells in table.rows]
    else:
        names = [_first_folder(locator.file_name(cells)) for _, cells in table.rows]
        if not all(map(known_split, names)):
            names = [own if known_split(own) else TRAIN] * len(names)
    parts: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for name, line in zip(names, table.rows, strict=True):
        parts.setdefault(name, []).append(line)
    return {name: partial(locator.rows, parts[name]) for name in in_order(parts)}


def _first_folder(path: str) -> str:
    return path.replace("\\", "/").removeprefix("./").partition("/")[0]
