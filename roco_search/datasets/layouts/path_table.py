"""Rows of a table whose cells name image files: imagefolder's metadata, and tables of paths and captions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from roco_search.datasets.columns import Roles
from roco_search.datasets.files import Files, leaves_folder
from roco_search.datasets.pair import DataSet, PictureFile, ReadRows, Row, fold_text
from roco_search.datasets.report import name_of, relative_name
from roco_search.datasets.splits import TRAIN, in_order, known_split
from roco_search.datasets.tables import SUFFIXES, Table, read_table
from roco_search.errors import InputError

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


IMAGEFOLDER = "imagefolder"
_METADATA = tuple(f"metadata.{suffix}" for suffix in ("jsonl", "csv", "parquet"))


def find_imagefolder(folder: Path) -> DataSet | None:
    """Find the metadata in a folder, in its folders, or in those of ``data``.

    Each folder with metadata is a split by its name; one table for all is divided by `divide`. No file name may lead
    out of the folder of its table.
    """
    for base in (folder, folder / "data"):
        if (path := _metadata(base)) is not None:
            splits = divide(read_table(path), folder, base.resolve().name, anywhere=False)
            return DataSet(name_of(folder), IMAGEFOLDER, str(folder), splits)
        inside = {path.parent.name: path.parent for name in _METADATA for path in base.glob(f"*/{name}")}
        if inside:
            parts = {name: partial(_read_folder, inside[name], folder) for name in in_order(inside)}
            return DataSet(name_of(folder), IMAGEFOLDER, str(folder), parts)
    return None


def _metadata(folder: Path) -> Path | None:
    return next((path for name in _METADATA if (path := folder / name).is_file()), None)


def _read_folder(folder: Path, root: Path) -> list[Row]:
    path = _metadata(folder)
    assert path is not None
    table = read_table(path)
    return Locator(table, root, anywhere=False).rows(table.rows)


TABLE = "table of paths"


def find_table(path: Path) -> DataSet | None:
    """Find a table, or in a folder a table for each split by its name, such as ``train.csv`` and ``test.csv``.

    Paths are relative to the table, or to the current folder where they are not there, or absolute. One table is
    divided by its column ``split``, if it has one; see `divide`.
    """
    if path.is_file():
        table = read_table(path)
        return DataSet(name_of(path), TABLE, str(path), divide(table, path.parent, path.stem, anywhere=True))
    tables = {
        file.stem: file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES and known_split(file.stem)
    }
    if not tables:
        return None
    splits = {name: partial(_read, tables[name], path) for name in in_order(tables)}
    return DataSet(name_of(path), TABLE, str(path), splits)


def _read(path: Path, root: Path) -> list[Row]:
    table = read_table(path)
    return Locator(table, root, anywhere=True).rows(table.rows)
