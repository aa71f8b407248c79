"""Hugging Face's ``imagefolder``: images, and beside them a ``metadata`` table with ``file_name`` and a caption."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .located import Locator, divide
from .naming import name_of
from .rows import DataSet, Row
from .splits import in_order
from .tables import read_table

LAYOUT = "imagefolder"
_METADATA = tuple(f"metadata.{suffix}" for suffix in ("jsonl", "csv", "parquet"))


def find_imagefolder(folder: Path) -> DataSet | None:
    """Find the metadata in a folder, in its folders, or in those of ``data``.

    Each folder with metadata is a split by its name; one table for all is divided by `divide`. No file name may lead
    out of the folder of its table.
    """
    for base in (folder, folder / "data"):
        if (path := _metadata(base)) is not None:
            splits = divide(read_table(path), folder, base.resolve().name, anywhere=False)
            return DataSet(name_of(folder), LAYOUT, str(folder), splits)
        inside = {path.parent.name: path.parent for name in _METADATA for path in base.glob(f"*/{name}")}
        if inside:
            parts = {name: partial(_read_folder, inside[name], folder) for name in in_order(inside)}
            return DataSet(name_of(folder), LAYOUT, str(folder), parts)
    return None


def _metadata(folder: Path) -> Path | None:
    return next((path for name in _METADATA if (path := folder / name).is_file()), None)


def _read_folder(folder: Path, root: Path) -> list[Row]:
    path = _metadata(folder)
    assert path is not None
    table = read_table(path)
    return Locator(table, root, anywhere=False).rows(table.rows)
