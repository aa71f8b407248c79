"""Tables whose cells name image files: imagefolder's metadata, and tables of paths and captions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from roco_search.datasets.columns import Schema
from roco_search.datasets.files import FileIndex, ImageFolders, leaves_folder, with_slashes
from roco_search.datasets.pair import DataSet, PictureFile, ReadRows, Row, fold_text
from roco_search.datasets.report import dataset_name, relative_name
from roco_search.datasets.splits import TRAIN, known_split, sort_splits
from roco_search.datasets.tables import SUFFIXES, Table, read_table
from roco_search.errors import InputError

IMAGEFOLDER = "imagefolder"
TABLE = "table of paths"
_METADATA = tuple(f"metadata.{suffix}" for suffix in ("jsonl", "csv", "parquet"))
_UNNAMED = "without a split"
_CAPTIONS = "captions"
_TABLES = (*SUFFIXES, ".txt")

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
            return DataSet(
                dataset_name(folder), IMAGEFOLDER, str(folder), _named_tables(tables, folder, anywhere=False)
            )
    return None


def find_table(path: Path) -> DataSet | None:
    """Find a table, or in a folder a table for each split by its name, such as ``train.csv`` and ``test.csv``.

    A folder without these may hold one table of images and captions, whatever it is called, such as ``captions.csv``.
    A path in a table is absolute, or relative to the table or a folder beside it, or else to the current folder. One
    table is divided by `table_splits`.
    """
    if path.is_file():
        splits = table_splits(read_table(path), path.parent, path.stem, anywhere=True)
        return DataSet(dataset_name(path), TABLE, str(path), splits)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _TABLES and file.is_file())
    tables = {file.stem: file for file in files if file.suffix.lower() in SUFFIXES and known_split(file.stem)}
    if tables:
        return DataSet(dataset_name(path), TABLE, str(path), _named_tables(tables, path, anywhere=True))
    if (table := _only_table(files)) is not None:
        splits = table_splits(table, path, table.path.stem, anywhere=True)
        return DataSet(dataset_name(path), TABLE, str(path), splits)
    return None


def table_splits(table: Table, root: Path, own: str, *, anywhere: bool) -> dict[str, ReadRows]:
    """Return the splits of one table.

    They are the values of its column ``split``, whose case does not matter; or the first folders of its paths, if each
    of these is the name of a split; or else a single one, which is called ``own`` if that is the name of a split, and
    train otherwise.
    """
    paths = PathTable(table, root, anywhere=anywhere)
    if paths.schema.split is not None:
        names = [name or _UNNAMED for name in _stated_splits(paths, table)]
    else:
        names = [_first_folder(paths.file_name(cells)) for _, cells in table.rows]
        if not all(map(known_split, names)):
            names = [own if known_split(own) else TRAIN] * len(names)
    return _divide(paths, table, names)


def _named_tables(tables: Mapping[str, Path], root: Path, *, anywhere: bool) -> dict[str, ReadRows]:
    """Return the splits of tables that are named after splits.

    Where a table has a column of splits, and each of its values is the name of one, the column decides.
    """
    parts: dict[str, list[ReadRows]] = {}
    for own, path in tables.items():
        try:
            table = read_table(path)
            paths = PathTable(table, root, anywhere=anywhere)
        except InputError:  # which is raised again when this split is asked for, and not when another is
            parts.setdefault(own, []).append(partial(_read, path, root, anywhere=anywhere))
            continue
        names = [name or own for name in _stated_splits(paths, table)]
        if not all(map(known_split, names)):
            names = [own] * len(names)
        for name, read in _divide(paths, table, names).items():
            same = next((known for known in parts if known.casefold() == name.casefold()), name)
            parts.setdefault(same, []).append(read)
    return {name: partial(_read_each, parts[name]) for name in sort_splits(parts)}


def _stated_splits(paths: PathTable, table: Table) -> list[str]:
    """Return what the column of splits says of each line; empty where it says nothing, or there is none."""
    column = paths.schema.split
    return [fold_text(cells.get(column)) if column is not None else "" for _, cells in table.rows]


def _divide(paths: PathTable, table: Table, names: Sequence[str]) -> dict[str, ReadRows]:
    """Return the lines of each split; names that differ in case alone are one, spelled as it is first."""
    spelled: dict[str, str] = {}
    parts: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for name, line in zip(names, table.rows, strict=True):
        parts.setdefault(spelled.setdefault(name.casefold(), name), []).append(line)
    return {name: partial(paths.rows, parts[name]) for name in sort_splits(parts)}


def _read_each(parts: Iterable[ReadRows]) -> list[Row]:
    return [row for read in parts for row in read()]


def _only_table(files: Sequence[Path]) -> Table | None:
    """Return the table of images and captions among files.

    Raises
    ------
    InputError
        If several files are one, none of which is called captions; or the one that may be is damaged.
    """
    found: list[Table] = []
    damaged: list[InputError] = []
    for file in files:
        try:
            table = read_table(file)
        except InputError as error:
            damaged += [error] if file.stem.casefold() == _CAPTIONS else []
            continue
        schema = Schema.of(table.columns)
        if schema.image is not None and schema.caption is not None:
            found.append(table)
    named = [table for table in found if table.path.stem.casefold() == _CAPTIONS]
    if damaged and not named:
        raise damaged[0]
    if len(found) > 1 and len(named) != 1:
        names = ", ".join(table.path.name for table in found)
        raise InputError(
            f"{found[0].path.parent} has {len(found)} tables of images and captions: {names}; name one of these files."
        )
    return next(iter(named or found), None)


class PathTable:
    """Makes rows of the lines of a table whose cells name images.

    Parameters
    ----------
    table
        The table.
    root
        The folder of the data set, to which the names in a report are relative.
    anywhere
        Whether a path may lead out of the table's folder. If so, a file that is not found there or in a folder beside
        the table is looked for in the current folder too, to which some tables are relative.

    Raises
    ------
    InputError
        If no column names the images.
    """

    def __init__(self, table: Table, root: Path, *, anywhere: bool) -> None:
        self.schema = Schema.of(table.columns)
        self._table, self._anywhere = table, anywhere
        self._folders = ImageFolders(table.path.parent, beside=anywhere)
        self._current = FileIndex(Path()) if anywhere else None
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
        path = self._find(number, name)
        return Row(
            os.path.normpath(os.path.join(self._prefix, with_slashes(name))).replace(os.sep, "/"),  # noqa: PTH118
            PictureFile(path) if path else None,
            self.schema.captions(cells),
            self.schema.others(cells),
            self.schema.case_of(cells),
            self.schema.licence_of(cells),
            self.schema.fault,
        )

    def _find(self, number: int, name: str) -> Path | None:
        found = self._folders.find(name)
        if len(found) > 1:
            raise InputError(
                f"{self._table.path}, line {number}: {name!r} is in several folders, such as {found[0]} and "
                f"{found[1]}; write the folder into the table."
            )
        if found:
            return found[0]
        return self._current.find(name) if self._current is not None else None


def _read(path: Path, root: Path, *, anywhere: bool) -> list[Row]:
    table = read_table(path)
    return PathTable(table, root, anywhere=anywhere).rows(table.rows)


def _metadata(folder: Path) -> Path | None:
    return next((path for name in _METADATA if (path := folder / name).is_file()), None)


def _first_folder(path: str) -> str:
    return with_slashes(path).removeprefix("./").partition("/")[0]
