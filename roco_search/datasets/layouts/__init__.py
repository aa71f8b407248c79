"""Find out which layout a folder or a file of images and captions is in.

Each layout is one module, with a function that returns the `DataSet`, or None if the folder is in another layout.
"""

from __future__ import annotations

from pathlib import Path

from roco_search.datasets.layouts.arrow import find_parquet, find_saved
from roco_search.datasets.layouts.hub import is_hub_id, open_hub
from roco_search.datasets.layouts.path_table import find_imagefolder, find_table
from roco_search.datasets.layouts.roco import find_roco
from roco_search.datasets.layouts.rocov2 import find_rocov2
from roco_search.datasets.pair import DataSet
from roco_search.datasets.tables import SUFFIXES
from roco_search.errors import InputError

# The more specific a layout is, the earlier it is tried.
_FOLDERS = (find_saved, find_roco, find_rocov2, find_imagefolder, find_parquet, find_table)
_READ = (
    "the ROCO repository, ROCOv2, Hugging Face's imagefolder with its metadata, a saved data set, Parquet files, and a "
    "CSV or TSV of paths and captions"
)


def find_layout(data: str | Path) -> DataSet:
    """Open a path, or a data set of the hub by its id.

    Raises
    ------
    InputError
        If it does not exist, cannot be read, or is in none of the layouts.
    HubError
        If it is the id of a data set that cannot be downloaded.
    """
    path = Path(data)
    try:
        return _look(data, path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions and the disk.") from None


def _look(data: str | Path, path: Path) -> DataSet:
    if path.is_dir():
        for find in _FOLDERS:
            if (found := find(path)) is not None:
                return found
        raise InputError(f"{path} is a folder in none of the layouts that are read: {_READ}.")
    if path.is_file():
        if path.suffix.lower() in SUFFIXES:
            found = find_table(path)
        elif path.suffix.lower() == ".parquet":
            found = find_parquet(path)
        else:
            found = None
        if found is not None:
            return found
        raise InputError(f"{path} is a file of a kind that is not read; data can be {_READ}.")
    if isinstance(data, str) and is_hub_id(data):
        return open_hub(data)
    raise InputError(f"{path} does not exist; check the path, or give a data set of the hub as ORG/NAME.")
