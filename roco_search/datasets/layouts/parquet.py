"""Parquet files with an image in each row, as the hub keeps data sets (``data/train-00000-of-00002.parquet``).

Nothing is decoded, and no image is read, when a file is opened. Parquet gives no single cell: reading an image reads
its row group, the last of which are kept. In the order of the data set each is so read once. Files in which a row
group is large are slow to train from at random; `datasets` converts them into a form with single cells.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.datasets.columns import IMAGES, Roles, pick
from roco_search.datasets.layouts.arrow import read_cell
from roco_search.datasets.pair import DataSet, Picture, Row
from roco_search.datasets.report import name_of, relative_name
from roco_search.datasets.splits import TRAIN, in_order, known_split
from roco_search.datasets.tables import arrow_errors, parquet_module
from roco_search.errors import ImageError, InputError, UnreadableImage

LAYOUT = "Parquet"
KEPT_BYTES = 256 * 2**20  # of row groups
_IMAGES = ("image", *IMAGES, "jpg", "png")
_NUMBERED = re.compile(r"(.+?)-\d+(?:-of-\d+)?")


def find_parquet(path: Path) -> DataSet | None:
    """Find a Parquet file, or those in a folder, up to two folders deep; the splits are told by their names."""
    if path.is_file():
        files, root = [path], path.parent
    else:
        files = sorted(file for depth in ("", "*/", "*/*/") for file in path.glob(f"{depth}*.parquet"))
        root = path
    if not files:
        return None
    parts: dict[str, list[Path]] = {}
    for file in files:
        parts.setdefault(_split_of(file), []).append(file)
    splits = {name: partial(read_rows, parts[name], root) for name in in_order(parts)}
    return DataSet(name_of(path), LAYOUT, str(path), splits)


def _split_of(file: Path) -> str:
    for word in re.split(r"[-_.]", file.stem):
        if known_split(word):
            return word
    if known_split(file.parent.name):
        return file.parent.name
    named = _NUMBERED.fullmatch(file.stem)
    return named[1] if named and not named[1].isdecimal() else TRAIN


def read_rows(files: Iterable[Path], root: Path) -> list[Row]:
    """Read all columns of one split but the image, which is read when a pair is.

    Raises
    ------
    InputError
        If a file is damaged, or has no column of images.
    """
    groups = RowGroups()
    return [row for file in files for row in _read_file(file, root, groups)]


def _read_file(file: Path, root: Path, groups: RowGroups) -> Iterable[Row]:
    parquet = parquet_module()
    with arrow_errors(file), parquet.ParquetFile(file) as opened:
        metadata, schema = opened.metadata, opened.schema_arrow
        roles = Roles.of(schema.names, _image_column(file, schema))
        # Pixels in other columns, masks for example, are of no use here and may be large.
        wanted = [field.name for field in schema if field.name != roles.image and not _is_binary(field.type)]
        cells = opened.read(columns=wanted).to_pylist() if wanted else [{}] * metadata.num_rows
    assert roles.image is not None
    source = groups.add(file, roles.image, metadata)
    name = relative_name(file, root)
    number = 0
    for group in range(metadata.num_row_groups):
        for place in range(metadata.row_group(group).num_rows):
            row = cells[number]
            number += 1
            picture: Picture = ParquetPicture(groups, source, group, place, number)
            yield Row(
                f"{name} row {number}",
                picture,
                roles.captions(row),
                roles.others(row),
                roles.case_of(row),
                roles.licence_of(row),
                roles.fault,
            )


def _is_binary(kind: Any) -> bool:
    import pyarrow.types as arrow_types

    if arrow_types.is_struct(kind):
        return any(_is_binary(kind.field(i).type) for i in range(kind.num_fields))
    return bool(arrow_types.is_binary(kind) or arrow_types.is_large_binary(kind))


def _image_column(file: Path, schema: Any) -> str:
    binary = [field.name for field in schema if _is_binary(field.type)]
    if found := pick(binary, _IMAGES) or next(iter(binary), None) or pick(schema.names, _IMAGES):
        return found
    raise InputError(f"{file} has no column of images; it has {', '.join(schema.names)}. Name it 'image'.")


@dataclass(frozen=True, slots=True)
class ParquetPicture:
    """An image in a Parquet file: number ``place`` of row group ``group``, and row ``number`` from 1 of the file."""

    groups: RowGroups
    source: int
    group: int
    place: int
    number: int

    @property
    def name(self) -> str:
        """The file and the row."""
        return f"{self.groups.path(self.source)} row {self.number}"

    def read(self) -> npt.NDArray[np.uint8]:
        """Return uint8 ``(height, width, 3)``, rendered as everywhere in roco."""
        try:
            cell = self.groups.cell(self.source, self.group, self.place)
        except ImageError:
            raise
        except InputError as error:
            raise UnreadableImage(str(error)) from None
        return read_cell(cell, self.groups.path(self.source).parent)


class RowGroups:
    """The images of some Parquet files, a row group at a time; the last are kept, up to `KEPT_BYTES`."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._sources: list[tuple[Path, str, Any]] = []
        self._kept: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._kept_bytes, self._bytes = kept_bytes, 0
        self._lock = threading.Lock()
        self._loading: dict[tuple[int, int], threading.Lock] = {}

    def add(self, path: Path, column: str, metadata: Any) -> int:
        """Add a file and return its number. The metadata is kept, so that opening it again is cheap."""
        self._sources.append((path, column, metadata))
        return len(self._sources) - 1

    def path(self, source: int) -> Path:
        """Return the path of a file."""
        return self._sources[source][0]

    def cell(self, source: int, group: int, place: int) -> Any:
        """Return the cell of one image. Raises `InputError` if the file is damaged or gone."""
        key = source, group
        with self._lock:
            if (column := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return column[place].as_py()
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:  # threads that want the same row group read it once
            with self._lock:
                column = self._kept.get(key)
            if column is None:
                column = self._load(source, group)
                self._keep(key, column)
        return column[place].as_py()

    def _load(self, source: int, group: int) -> Any:
        path, name, metadata = self._sources[source]
        # A reader for each read: one is not meant to be used from several threads.
        with arrow_errors(path), parquet_module().ParquetFile(path, metadata=metadata, memory_map=True) as file:
            return file.read_row_group(group, columns=[name], use_threads=False).column(0)

    def _keep(self, key: tuple[int, int], column: Any) -> None:
        with self._lock:
            self._loading.pop(key, None)
            self._kept[key] = column
            self._bytes += column.nbytes
            while self._bytes > self._kept_bytes and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.nbytes
