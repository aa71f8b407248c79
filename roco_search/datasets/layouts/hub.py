"""A data set of the Hugging Face hub, by its id; it comes through `hub`, the one door to the network."""

from __future__ import annotations

from pathlib import Path

from roco_search.datasets.layouts.arrow import as_splits, datasets_module
from roco_search.datasets.pair import DataSet
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
