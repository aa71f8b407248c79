"""Captions in the form of COCO (cocodataset.org): one JSON file a split, with images and the captions of each.

::

    annotations/captions_val2017.json    {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}
    val2017/000000000139.jpg
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from roco_search.datasets.files import ImageFolders, leaves_folder, read_text
from roco_search.datasets.pair import DataSet, PictureFile, Row, read_captions
from roco_search.datasets.report import dataset_name
from roco_search.datasets.splits import TRAIN, known_split, sort_splits
from roco_search.errors import InputError

LAYOUT = "COCO captions"


def find_coco(path: Path) -> DataSet | None:
    """Find a file of captions, or those in a folder or its ``annotations``; their names determine the splits."""
    if path.is_file():
        root = path.parent.parent if path.parent.name == "annotations" else path.parent
        return _data_set(path, root, [path])
    for folder in (path / "annotations", path):
        if (found := _data_set(path, path, sorted(folder.glob("*caption*.json")))) is not None:
            return found
    return None


def _data_set(path: Path, root: Path, files: Iterable[Path]) -> DataSet | None:
    splits = {_split_of(file): partial(_rows, file, root) for file in files if _is_coco(file)}
    if not splits:
        return None
    return DataSet(dataset_name(path), LAYOUT, str(path), {name: splits[name] for name in sort_splits(splits)})


def _split_of(file: Path) -> str:
    words = re.split(r"[\W_\d]+", file.stem)
    return next((word for word in words if known_split(word)), TRAIN)


def _is_coco(file: Path) -> bool:
    """Return whether the beginning of a file is that of a JSON object with images or annotations."""
    with file.open("rb") as opened:
        content = opened.read()
    return content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"annotations"' in content


def _rows(file: Path, root: Path) -> list[Row]:
    """Read one split: a row for each caption, in the order of the file, with the columns ``id`` and ``image_id``.

    Raises
    ------
    InputError
        If the file is damaged, or a caption is of no image.
    """
    try:
        content = json.loads(read_text(file))
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        said: list[Mapping[str, Any]] = [{**entry} for entry in content["annotations"]]
    except json.JSONDecodeError as error:
        raise InputError(f"{file}, line {error.lineno}: not JSON ({error.msg}); copy or download it again.") from None
    except (TypeError, KeyError, ValueError, RecursionError):
        raise InputError(
            f'{file} is not of the form of COCO, with "images" of an "id" and a "file_name", and "annotations"; export '
            "it again."
        ) from None
    folders = ImageFolders(root)
    return [_row(file, folders, names, number, entry) for number, entry in enumerate(said, 1)]


def _row(file: Path, folders: ImageFolders, names: Mapping[Any, str], number: int, entry: Mapping[str, Any]) -> Row:
    key = entry.get("image_id")
    name = names.get(key, "") if isinstance(key, int | str) else ""
    if not name or leaves_folder(name):
        raise InputError(f"{file}, annotation {number}: there is no such image in the file; export it again.")
    found = folders.find(name)
    if len(found) > 1:
        raise InputError(
            f"{file}: {name!r} is in several folders, such as {found[0]} and {found[1]}; keep one of them here."
        )
    columns = {key: value for key, value in entry.items() if key != "caption"}
    return Row(name, PictureFile(found[0]) if found else None, read_captions(entry.get("caption")), columns)
