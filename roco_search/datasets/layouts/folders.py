"""Folders of images without a table, such as a folder for each class or each case: the folder is what is known."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from roco_search.datasets.pair import DataSet, PictureFile, Row
from roco_search.datasets.report import dataset_name
from roco_search.datasets.splits import known_split
from roco_search.imaging.walk import Walk, holds_image

LAYOUT = "folders of images"
COLUMN = "folder"


def find_folders(folder: Path, split: str) -> DataSet | None:
    """Find the images below a folder, or below the folders in it that are named after splits.

    A folder that is not divided is the split that is asked for. The column ``folder`` of a row is the folder of its
    image, relative to that of the split.
    """
    parts = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and known_split(path.name)}
    parts = parts or {split: folder}
    if not any(_files(path) for path in parts.values()):
        return None
    splits = {name: partial(_rows, path) for name, path in parts.items()}
    return DataSet(dataset_name(folder), LAYOUT, str(folder), splits)


def _files(folder: Path) -> list[str]:
    walk = Walk()
    walk.add(os.path.realpath(folder))
    return sorted(walk.files)


def _rows(folder: Path) -> list[Row]:
    root = os.path.realpath(folder)
    return [
        Row(name, PictureFile(Path(file)), (), {COLUMN: os.path.dirname(name) or "."})  # noqa: PTH120
        for file in _files(folder)
        if holds_image([file])
        for name in [os.path.relpath(file, root).replace(os.sep, "/")]
    ]
