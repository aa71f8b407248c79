"""Arrow tables with an image in each row: what ``save_to_disk`` of `datasets` wrote, and Parquet files.

No image is decoded when a data set is opened; its cell is read when its pair is, in any order and from any thread.

Parquet gives no access to a single cell, only to thousands of rows at once. So its images and columns are first copied
into an Arrow table, as `datasets` does too. The copy is an unnamed file in roco's cache folder (``ROCO_CACHE``), about
as large as the Parquet file; only this process can read it, and it is gone when the process is, however that ends.
Nothing is written into the cache of `datasets`, and nothing is asked of the network.
"""

from __future__ import annotations

import mmap
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.datasets.columns import IMAGES, Schema, find_column
from roco_search.datasets.pair import DataSet, PictureFile, ReadRows, Row
from roco_search.datasets.report import dataset_name, relative_name
from roco_search.datasets.splits import TRAIN, known_split, sort_splits
from roco_search.datasets.tables import parquet_errors, parquet_module
from roco_search.errors import InputError, UnreadableImage
from roco_search.imaging import CtWindows, open_image, open_image_bytes
from roco_search.system.files import write_errors
from roco_search.system.folders import cache_folder

SAVED = "saved data set"
PARQUET = "Parquet"
_IMAGE_NAMES = ("image", *IMAGES, "jpg", "png")
_NUMBERED = re.compile(r"(.+?)-\d+(?:-of-\d+)?")  # train-00000-of-00002
_COPIED_ROWS = 64  # at once; an image may have megabytes
_ROWS_AT_ONCE = 1000  # of which only the lengths are looked at


def find_saved(folder: Path) -> DataSet | None:
    """Find what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote to a folder.

    Raises
    ------
    InputError
        If `datasets` is not installed, or cannot read it.
    """
    whole = (folder / "dataset_dict.json").is_file()
    if not whole and not ((folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()):
        return None
    datasets = datasets_module()
    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # of any kind: pyarrow's, the file system's, JSON's
        raise InputError(
            f"{folder} looks like a saved data set, but datasets cannot load it ({type(error).__name__}); save it "
            "again."
        ) from None
    own = folder.resolve().name
    splits = loaded if whole else {own if known_split(own) else TRAIN: loaded}
    return DataSet(dataset_name(folder), SAVED, str(folder), as_splits(splits, folder, str(folder)))


def find_parquet(path: Path) -> DataSet | None:
    """Find a Parquet file, or those in a folder, up to two folders deep; their names determine the splits."""
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
    splits = {name: partial(_read_parquet, parts[name], root) for name in sort_splits(parts)}
    return DataSet(dataset_name(path), PARQUET, str(path), splits)


def as_splits(loaded: Mapping[str, Any], folder: Path, label: str) -> dict[str, ReadRows]:
    """Return the splits of a `DatasetDict`.

    Parameters
    ----------
    loaded
        A `datasets.Dataset` for each name.
    folder
        The folder to which paths in it are relative.
    label
        How a message refers to the data set.
    """
    return {
        name: partial(_read_rows, loaded[name], folder, f"{name} row", f"{label} {name} row", label)
        for name in sort_splits(loaded)
    }


def datasets_module() -> Any:
    """Return Hugging Face's `datasets`, imported when it is needed. Raises `InputError` if it is not installed."""
    try:
        import datasets
    except ImportError:
        raise InputError(
            "Parquet, saved and hub data sets need the package datasets, which is not installed; run pip install "
            "'roco-search[train]'."
        ) from None
    return datasets


@dataclass(frozen=True, slots=True)
class ArrowPicture:
    """The image in a row, counted from 0, of a `datasets.Dataset` that leaves images undecoded."""

    dataset: Any
    row: int
    column: str
    folder: Path
    name: str
    length: int

    def read(self, ct_windows: CtWindows | None = None) -> npt.NDArray[np.uint8]:
        """Return uint8 ``(height, width, 3)``, rendered as everywhere in roco."""
        return read_cell(self.dataset[self.row][self.column], self.folder, ct_windows)

    def size(self) -> int:
        """Return the number of its bytes, which of a cell that is a path are those of the file."""
        return self.length if self.length >= 0 else len(self.stored())

    def stored(self, limit: int = -1) -> bytes:
        """Return its bytes, or the first ``limit`` of them."""
        cell = self.dataset[self.row][self.column]
        if isinstance(cell, dict):
            cell = cell.get("bytes") or cell.get("path")
        if isinstance(cell, str) and cell:
            return PictureFile(self.folder / cell).stored(limit)
        return (cell or self.name.encode())[: limit if limit >= 0 else None]  # an empty cell is like no other


def read_cell(cell: Any, folder: Path, ct_windows: CtWindows | None = None) -> npt.NDArray[np.uint8]:
    """Render the image in a cell as everywhere in roco.

    Parameters
    ----------
    cell
        Its bytes, a path, or a mapping with ``bytes`` or else ``path``, as `datasets` has it.
    folder
        The folder to which a path is relative.
    ct_windows
        What a model wants to see of CT: see `open_image`.

    Returns
    -------
    numpy.ndarray
        uint8 ``(height, width, 3)``; of several frames the middle one.

    Raises
    ------
    ImageError
        If there is none, or it cannot be read.
    """
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes) and cell:
        return next(open_image_bytes(cell, ct_windows=ct_windows)).pixels
    if isinstance(cell, str) and cell:
        return next(open_image(folder / cell, ct_windows=ct_windows)).pixels
    raise UnreadableImage("its cell of the table is empty; export the data set again")


def _read_rows(dataset: Any, folder: Path, row_name: str, picture_name: str, label: str) -> list[Row]:
    """Read all columns but the image; ``row_name`` and ``picture_name`` precede the number of a row."""
    image = _image_column(dataset.features, label)
    schema = Schema.of(dataset.column_names, image)
    undecoded = dataset.select_columns([image])
    if _is_image(dataset.features[image]):
        undecoded = undecoded.cast_column(image, type(dataset.features[image])(decode=False))
    columns = _other_columns(dataset.features, image)
    cells = dataset.select_columns(columns).with_format(None).to_list() if columns else [{}] * len(dataset)
    # A class is stored as a number; its name is in the feature.
    classes = {name: names for name in columns if (names := getattr(dataset.features[name], "names", None))}
    for row in cells:
        row.update({name: names[row[name]] for name, names in classes.items() if row[name] not in (None, -1)})
    lengths = _lengths(undecoded, image)
    return [
        Row(
            f"{row_name} {number}",
            ArrowPicture(undecoded, number - 1, image, folder, f"{picture_name} {number}", lengths[number - 1]),
            schema.captions(row),
            schema.others(row),
            schema.case_of(row),
            schema.licence_of(row),
            schema.fault,
        )
        for number, row in enumerate(cells, 1)
    ]


def _lengths(undecoded: Any, image: str) -> list[int]:
    """Return the number of bytes in each cell of images, without reading them; -1 where it holds none itself."""
    import pyarrow.compute

    arrow: Any = pyarrow
    lengths: list[int] = []
    for batch in undecoded.with_format("arrow").iter(_ROWS_AT_ONCE):
        cells = batch.column(image)
        if arrow.types.is_struct(cells.type) and cells.type.get_field_index("bytes") >= 0:
            cells = arrow.compute.struct_field(cells, "bytes")
        binary = arrow.types.is_binary(cells.type) or arrow.types.is_large_binary(cells.type)
        found = arrow.compute.binary_length(cells).to_pylist() if binary else [None] * len(cells)
        lengths += [-1 if length is None else length for length in found]
    return lengths


def _read_parquet(files: Sequence[Path], root: Path) -> list[Row]:
    return [
        row
        for file in files
        for row in _read_rows(
            _copy_to_arrow(file), file.parent, f"{relative_name(file, root)} row", f"{file} row", str(file)
        )
    ]


def _copy_to_arrow(file: Path) -> Any:
    """Return a `datasets.Dataset` over a copy of a Parquet file, without pixels of columns other than the image's.

    Raises
    ------
    InputError
        If the file is damaged, or has no column of images.
    StorageFull
        If the disk of the cache folder is full.
    """
    parquet, datasets = parquet_module(), datasets_module()
    import pyarrow.ipc

    arrow: Any = pyarrow
    with parquet_errors(file):
        opened = parquet.ParquetFile(file)
    with opened, _unnamed_file() as copy:
        try:
            features = datasets.Features.from_arrow_schema(opened.schema_arrow)
        except (ValueError, NotImplementedError):
            raise InputError(f"{file} has a column of a type that datasets does not read; export it again.") from None
        image = _image_column(features, str(file))
        columns = [image, *_other_columns(features, image)]
        schema = arrow.schema(map(opened.schema_arrow.field, columns), opened.schema_arrow.metadata)
        with arrow.ipc.new_stream(copy, schema) as stream:
            for batch in _batches(opened, columns, file):
                stream.write_batch(batch)
        copy.flush()
        view = mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ)  # which keeps the file when it is closed
    table = datasets.table.InMemoryTable.from_buffer(arrow.py_buffer(view))
    return datasets.Dataset(table, fingerprint=str(file))  # without one, it would pickle and hash all of the images


@contextmanager
def _unnamed_file() -> Iterator[Any]:
    """Open a file in roco's cache folder that has no name there, so that nothing of it remains."""
    folder = Path(cache_folder())
    with write_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file


def _batches(opened: Any, columns: list[str], file: Path) -> Iterator[Any]:
    with parquet_errors(file):
        batches = opened.iter_batches(_COPIED_ROWS, columns=columns, use_threads=False)
    while True:
        with parquet_errors(file):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch.select(columns)  # in this order


def _split_of(file: Path) -> str:
    for word in re.split(r"[-_.]", file.stem):
        if known_split(word):
            return word
    if known_split(file.parent.name):
        return file.parent.name
    named = _NUMBERED.fullmatch(file.stem)
    return named[1] if named and not named[1].isdecimal() else TRAIN


def _image_column(features: Mapping[str, Any], label: str) -> str:
    pictures = [name for name, feature in features.items() if _holds_pictures(feature)]
    if found := find_column(pictures, _IMAGE_NAMES) or next(iter(pictures), None):
        return found
    if found := find_column(features, _IMAGE_NAMES):
        return found
    raise InputError(f"{label} has no column of images; it has {', '.join(features)}. Name it 'image'.")


def _other_columns(features: Mapping[str, Any], image: str) -> list[str]:
    """Return the columns but the image; pixels in other columns, such as masks, are of no use and may be large."""
    return [name for name, feature in features.items() if name != image and not _holds_pictures(feature)]


def _holds_pictures(feature: Any) -> bool:
    """Return whether a column holds images, as `datasets` declares them or as bytes."""
    if isinstance(feature, dict):
        return any(map(_holds_pictures, feature.values()))
    return _is_image(feature) or getattr(feature, "dtype", None) in ("binary", "large_binary", "binary_view")


def _is_image(feature: Any) -> bool:
    return type(feature).__name__ == "Image"
