"""A data set of the Hugging Face hub, by its id. Nothing else in this room touches the network."""

from __future__ import annotations

import re
from pathlib import Path

from roco_search.datasets.layouts.arrow import as_splits
from roco_search.datasets.pair import DataSet
from roco_search.datasets.tables import datasets_module
from roco_search.errors import HubError

LAYOUT = "hub data set"
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(data: str) -> bool:
    """Whether `data` is an id such as ``eltorio/ROCO-radiology``, and is not a path that was mistyped.

    A path into a folder that is here is not sent to the hub, nor is the name of a file.
    """
    first = Path(data).parts[0] if data else ""
    return bool(_ID.fullmatch(data)) and not Path(first).exists() and Path(data).suffix.lower() not in _FILES


_FILES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".zip", ".tar", ".txt", ".json"})


def open_hub(identifier: str) -> DataSet:
    """Fetch a data set of the hub, or take it from the cache of `datasets`, where it stays.

    Raises
    ------
    HubError
        If there is no network and it is not in the cache, or the hub does not hand it out.
    InputError
        If `datasets` is not installed.
    """
    datasets = datasets_module()
    try:
        loaded = datasets.load_dataset(identifier)
    except Exception as error:  # of any kind: of the HTTP client, the hub's, pyarrow's
        raise HubError(_reason(identifier, error)) from None
    return DataSet(identifier, LAYOUT, identifier, as_splits(loaded, Path(), identifier))


def _reason(identifier: str, error: Exception) -> str:
    kind = type(error).__name__
    if kind in {"DatasetNotFoundError", "RepositoryNotFoundError", "GatedRepoError"}:
        return (
            f"There is no folder {identifier} here, and the hub has no data set of that name that it hands out; check "
            "the name, and if the data set asks for consent, give it there and log in with 'hf auth login'."
        )
    if isinstance(error, ConnectionError) or "Offline" in kind or "Connect" in kind or "Timeout" in kind:
        return (
            f"The hub cannot be reached, and the data set {identifier} is not in the cache of this machine; fetch it "
            "where there is a network, and give the folder."
        )
    return f"The data set {identifier} of the hub cannot be loaded ({kind}); fetch it yourself, and give the folder."
