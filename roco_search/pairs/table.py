"""A CSV, TSV or JSON Lines file of paths and captions, as open_clip takes it (``filepath TAB title``) and others."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .located import Locator, divide
from .naming import name_of
from .rows import DataSet, Row
from .splits import in_order, known_split
from .tables import SUFFIXES, read_table

LAYOUT = "table of paths"


def find_table(path: Path) -> DataSet | None:
    """Find a table, or in a folder a table for each split by its name, such as ``train.csv`` and ``test.csv``.

    Paths are relative to the table, or to the current folder where they are not there, or absolute. One table is
    divided by its column ``split``, if it has one; see `divide`.
    """
    if path.is_file():
        table = read_table(path)
        return DataSet(name_of(path), LAYOUT, str(path), divide(table, path.parent, path.stem, anywhere=True))
    tables = {
        file.stem: file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES and known_split(file.stem)
    }
    if not tables:
        return None
    splits = {name: partial(_read, tables[name], path) for name in in_order(tables)}
    return DataSet(name_of(path), LAYOUT, str(path), splits)


def _read(path: Path, root: Path) -> list[Row]:
    table = read_table(path)
    return Locator(table, root, anywhere=True).rows(table.rows)
