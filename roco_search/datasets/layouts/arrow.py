"""Images in the cells of a table: Hugging Face's ``{bytes, path}``, bytes alone, or a path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.datasets.columns import IMAGES, Roles, pick
from roco_search.datasets.pair import DataSet, ReadRows, Row
from roco_search.datasets.report import name_of
from roco_search.datasets.splits import TRAIN, in_order, known_split
from roco_search.datasets.tables import datasets_module
from roco_search.errors import InputError, UnreadableImage
from roco_search.imaging import open_image, open_image_bytes


def read_cell(cell: Any, folder: Path) -> npt.NDArray[np.uint8]:
    """Render the image in a cell as everywhere in roco.

    Parameters
    ----------
    cell
        Its bytes, a path, or a mapping with ``bytes`` or else ``path``.
    folder
        To which a path is relative.

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
        return next(open_image_bytes(cell)).pixels
    if isinstance(cell, str) and cell:
        return next(open_image(folder / cell)).pixels
    raise UnreadableImage("its cell of the table is empty; export the data set again")


LAYOUT = "saved data set"


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
    except Exception as error:  # of any kind: pyarrow's, of the file system, of JSON
        raise InputError(
            f"{folder} looks like a saved data set, but datasets cannot load it ({type(error).__name__}); save it "
            "again."
        ) from None
    own = folder.resolve().name
    splits = loaded if whole else {own if known_split(own) else TRAIN: loaded}
    return DataSet(name_of(folder), LAYOUT, str(folder), as_splits(splits, folder, str(folder)))


def as_splits(loaded: Mapping[str, Any], folder: Path, place: str) -> dict[str, ReadRows]:
    """Return the splits of a `DatasetDict`.

    Parameters
    ----------
    loaded
        A `datasets.Dataset` for each name.
    folder
        To which paths in it are relative.
    place
        What a message calls the data set.
    """
    return {name: partial(_read_rows, loaded[name], name, folder, place) for name in in_order(loaded)}


def _read_rows(dataset: Any, split: str, folder: Path, place: str) -> list[Row]:
    roles = Roles.of(dataset.column_names, _image_column(dataset, place))
    image = roles.image
    assert image is not None
    undecoded = dataset.select_columns([image])
    if _is_image(dataset.features[image]):
        undecoded = undecoded.cast_column(image, type(dataset.features[image])(decode=False))
    wanted = [name for name, feature in dataset.features.items() if name != image and not _is_picture(feature)]
    cells = dataset.select_columns(wanted).with_format(None).to_list() if wanted else [{}] * len(dataset)
    # A class is kept as a number; what it is called is in the feature.
    classes = {name: names for name in wanted if (names := getattr(dataset.features[name], "names", None))}
    for row in cells:
        row.update({name: names[row[name]] for name, names in classes.items() if row[name] not in (None, -1)})
    return [
        Row(
            f"{split} row {number}",
            SavedPicture(undecoded, number - 1, image, folder, f"{place} {split} row {number}"),
            roles.captions(row),
            roles.others(row),
            roles.case_of(row),
            roles.licence_of(row),
            roles.fault,
        )
        for number, row in enumerate(cells, 1)
    ]


def _is_image(feature: Any) -> bool:
    return type(feature).__name__ == "Image"


def _is_picture(feature: Any) -> bool:
    """Whether a column holds images, decoded by `datasets` or as they are."""
    if isinstance(feature, dict):
        return any(map(_is_picture, feature.values()))
    return _is_image(feature) or getattr(feature, "dtype", None) in ("binary", "large_binary")


def _image_column(dataset: Any, place: str) -> str:
    pictures = [name for name, feature in dataset.features.items() if _is_picture(feature)]
    names = ("image", *IMAGES)
    if found := pick(pictures, names) or next(iter(pictures), None) or pick(dataset.column_names, names):
        return found
    raise InputError(f"{place} has no column of images; it has {', '.join(dataset.column_names)}. Name it 'image'.")


@dataclass(frozen=True, slots=True)
class SavedPicture:
    """An image in a row, from 0, of a `datasets.Dataset` that leaves images undecoded."""

    dataset: Any
    row: int
    column: str
    folder: Path
    name: str

    def read(self) -> npt.NDArray[np.uint8]:
        """Return uint8 ``(height, width, 3)``, rendered as everywhere in roco."""
        return read_cell(self.dataset[self.row][self.column], self.folder)
