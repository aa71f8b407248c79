"""The layouts in which data sets come: `find_layout` recognises that of a folder or a file, `open_hub` fetches by id.

A data set of the Hugging Face hub comes through `hub`, the one door to the network.
"""

from __future__ import annotations

from pathlib import Path

from roco_search.datasets.layouts.arrow import as_splits, datasets_module, find_parquet, find_saved
from roco_search.datasets.layouts.coco import find_coco
from roco_search.datasets.layouts.folders import find_folders
from roco_search.datasets.layouts.path_table import find_imagefolder, find_table
from roco_search.datasets.layouts.roco import find_roco
from roco_search.datasets.layouts.rocov2 import find_rocov2
from roco_search.datasets.pair import DataSet
from roco_search.datasets.tables import SUFFIXES
from roco_search.errors import InputError
from roco_search.hub.client import is_repository
from roco_search.hub.download import fetch_data_set

LAYOUT = "hub data set"
_FILES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".zip", ".tar", ".txt", ".json"})


def is_hub_id(data: str) -> bool:
    """Return whether `data` is an id such as ``eltorio/ROCO-radiology``, and not a mistyped path.

    A path into a folder that exists is not sent to the hub, nor is the name of a file.
    """
    first = Path(data).parts[0] if data else ""
    return is_repository(data) and not Path(first).exists() and Path(data).suffix.lower() not in _FILES


def open_hub(identifier: str) -> DataSet:
    """Download a data set of the hub into the cache of `datasets`, where it stays, or open it from there.

    Raises
    ------
    HubError, StorageFull
        If there is no network and it is not in the cache, or the hub refuses it.
    InputError
        If `datasets` is not installed.
    """
    datasets_module()  # refuses where it is not installed
    loaded = fetch_data_set(identifier)
    return DataSet(identifier, LAYOUT, identifier, as_splits(loaded, Path(), identifier))


# The more specific a layout is, the earlier it is tried.
_FOLDERS = (find_saved, find_roco, find_rocov2, find_imagefolder, find_coco, find_parquet, find_table)
_READ = (
    "the ROCO repository, ROCOv2, Hugging Face's imagefolder with its metadata, COCO's captions, a saved data set, "
    "Parquet files, and a CSV or TSV of paths and captions"
)


def find_layout(data: str | Path, images_of: str | None = None) -> DataSet:
    """Open a path, or a data set of the hub by its id.

    Parameters
    ----------
    data
        The path or the id.
    images_of
        The name of a split where images alone will do: a folder of images is then that split.

    Raises
    ------
    InputError
        If it does not exist, cannot be read, or is in none of the layouts.
    HubError
        If it is the id of a data set that cannot be downloaded.
    """
    path = Path(data)
    try:
        return _look(data, path, images_of)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions and the disk.") from None


def _look(data: str | Path, path: Path, images_of: str | None) -> DataSet:
    if path.is_dir():
        for find in _FOLDERS:
            if (found := find(path)) is not None:
                return found
        if images_of is not None and (found := find_folders(path, images_of)) is not None:
            return found
        raise InputError(f"{path} is a folder in none of the layouts that are read: {_READ}.")
    if path.is_file():
        if path.suffix.lower() in SUFFIXES:
            found = find_table(path)
        elif path.suffix.lower() == ".parquet":
            found = find_parquet(path)
        elif path.suffix.lower() == ".json":
            found = find_coco(path)
        else:
            found = None
        if found is not None:
            return found
        raise InputError(f"{path} is a file of a kind that is not read; data can be {_READ}.")
    if isinstance(data, str) and is_hub_id(data):
        return open_hub(data)
    raise InputError(f"{path} does not exist; check the path, or give a data set of the hub as ORG/NAME.")
