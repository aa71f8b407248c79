"""Tables whose cells name image files: imagefolder's metadata, and tables of paths and captions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from roco_search.datasets.columns import Schema
from roco_search.datasets.files import FileIndex, leaves_folder
from roco_search.datasets.pair import DataSet, PictureFile, ReadRows, Row, fold_text
from roco_search.datasets.report import dataset_name, relative_name
from roco_search.datasets.splits import TRAIN, known_split, sort_splits
from roco_search.datasets.tables import SUFFIXES, Table, read_table
from roco_search.errors import InputError

IMAGEFOLDER = "imagefolder"
TABLE = "table of paths"
_METADATA = tuple(f"metadata.{suffix}" for suffix in ("jsonl", "csv", "parquet"))
_UNNAMED = "without a split"

Lines = Iterable[tuple[int, Mapping[str, Any]]]


def find_imagefolder(folder: Path) -> DataSet | None:
    """Find the metadata in a folder, in its folders, or in those of ``data``.

    Each folder with metadata is a split of that name; one table for all is divided by `table_splits`. No path may
    lead out of the folder of its table.
    """
    for base in (folder, folder / "data"):
        if (path := _metadata(base)) is not None:
            splits = table_splits(read_table(path), folder, base.resolve().name, anywhere=False)
            return DataSet(dataset_name(folder), IMAGEFOLDER, str(folder), splits)
        tables = {path.parent.name: path for name in reversed(_METADATA) for path in base.glob(f"*/{name}")}
        if tables:
            parts = {name: partial(_read, tables[name], folder, anywhere=False) for name in sort_splits(tables)}
            return DataSet(dataset_name(folder), IMAGEFOLDER, str(folder), parts)
    return None


def find_table(path: Path) -> DataSet | None:
    """Find a table, or in a folder a table for each split by its name, such as ``train.csv`` and ``test.csv``.

    A path in it is absolute, or relative to the table, or else to the current folder. One table is divided by
    `table_splits`.
    """
    if path.is_file():
        splits = table_splits(read_table(path), path.parent, path.stem, anywhere=True)
        return DataSet(dataset_name(path), TABLE, str(path), splits)
    tables = {
        file.stem: file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES and known_split(file.stem)
    }
    if not tables:
        return None
    parts = {name: partial(_read, tables[name], path, anywhere=True) for name in sort_splits(tables)}
    return DataSet(dataset_name(path), TABLE, str(path), parts)


def table_splits(table: Table, root: Path, own: str, *, anywhere: bool) -> dict[str, ReadRows]:
    """Return the splits of one table.

    They are the values of its column ``split``; or the first folders of its paths, if each of these is the name of a
    split; or else a single one, which is called ``own`` if that is the name of a split, and train otherwise.
    """
    paths = PathTable(table, root, anywhere=anywhere)
    column = paths.schema.split
    if column is not None:
        names = [fold_text(cells.get(column)) or _UNNAMED for _, cells in table.rows]
    else:
        names = [_first_folder(paths.file_name(cells)) for _, cells in table.rows]
        if not all(map(known_split, names)):
            names = [own if known_split(own) else TRAIN] * len(names)
    parts: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for name, line in zip(names, table.rows, strict=True):
        parts.setdefault(name, []).append(line)
    return {name: partial(paths.rows, parts[name]) for name in sort_splits(parts)}


class PathTable:
    """Makes rows of the lines of a table whose cells name images.

    Parameters
    ----------
    table
        The table.
    root
        The folder of the data set, to which the names in a report are relative.
    anywhere
        Whether a path may lead out of the table's folder. If so, a file that is not found there is looked for in the
        current folder too, to which some tables are relative.

    Raises
    ------
    InputError
        If no column names the images.
    """

    def __init__(self, table: Table, root: Path, *, anywhere: bool) -> None:
        self.schema = Schema.of(table.columns)
        self._table, self._anywhere = table, anywhere
        self._indexes = [FileIndex(table.path.parent), *([FileIndex(Path())] if anywhere else [])]
        self._prefix = Path(relative_name(table.path.parent, root)).as_posix()
        if self.schema.image is None:
            raise InputError(
                f"{table.path} has no column that names the images; it has {', '.join(table.columns)}. Name it "
                "'file_name'."
            )

    def rows(self, lines: Lines) -> list[Row]:
        """Return a row for each line, in order. Raises `InputError` for a line with a bad path, or without one."""
        return [self._row(number, cells) for number, cells in lines]

    def file_name(self, cells: Mapping[str, Any]) -> str:
        """Return the path of the image as a line has it; empty where it has none."""
        value = cells.get(self.schema.image or "")
        return value.strip() if isinstance(value, str) else ""

    def _row(self, number: int, cells: Mapping[str, Any]) -> Row:
        name = self.file_name(cells)
        if not name:
            raise InputError(
                f"{self._table.path}, line {number}: no path of an image in {self.schema.image!r}; complete the line, "
                "or remove it."
            )
        if not self._anywhere and leaves_folder(name):
            raise InputError(
                f"{self._table.path}, line {number}: {name!r} leads out of the data folder; move the image into it, or "
                "give a CSV or TSV of paths instead."
            )
        path = next((found for index in self._indexes if (found := index.find(name))), None)
        return Row(
            os.path.normpath(os.path.join(self._prefix, name)).replace(os.sep, "/"),  # noqa: PTH118
            PictureFile(path) if path else None,
            self.schema.captions(cells),
            self.schema.others(cells),
            self.schema.case_of(cells),
            self.schema.licence_of(cells),
            self.schema.fault,
        )


def _read(path: Path, root: Path, *, anywhere: bool) -> list[Row]:
    table = read_table(path)
    return PathTable(table, root, anywhere=anywhere).rows(table.rows)


def _metadata(folder: Path) -> Path | None:
    return next((path for name in _METADATA if (path := folder / name).is_file()), None)


def _first_folder(path: str) -> str:
    return path.replace("\\", "/").removeprefix("./").partition("/")[0]
