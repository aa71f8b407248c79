"""A data set of the Hugging Face hub, by its id. Nothing else in this room touches the network."""

from __future__ import annotations

import re
from pathlib import Path

from roco_search.datasets.layouts.arrow import as_splits, datasets_module
from roco_search.datasets.pair import DataSet
from roco_search.errors import HubError

LAYOUT = "hub data set"
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".zip", ".tar", ".txt", ".json"})


def is_hub_id(data: str) -> bool:
    """Return whether `data` is an id such as ``eltorio/ROCO-radiology``, and not a mistyped path.

    A path into a folder that exists is not sent to the hub, nor is the name of a file.
    """
    first = Path(data).parts[0] if data else ""
    return bool(_ID.fullmatch(data)) and not Path(first).exists() and Path(data).suffix.lower() not in _FILES


def open_hub(identifier: str) -> DataSet:
    """Download a data set of the hub into the cache of `datasets`, where it stays, or open it from there.

    Raises
    ------
    HubError
        If there is no network and it is not in the cache, or the hub refuses it.
    InputError
        If `datasets` is not installed.
    """
    datasets = datasets_module()
    try:
        loaded = datasets.load_dataset(identifier)
    except Exception as error:  # of any kind: the HTTP client's, the hub's, pyarrow's
        raise HubError(_reason(identifier, error)) from None
    return DataSet(identifier, LAYOUT, identifier, as_splits(loaded, Path(), identifier))


def _reason(identifier: str, error: Exception) -> str:
    kind = type(error).__name__
    if kind in {"DatasetNotFoundError", "RepositoryNotFoundError", "GatedRepoError"}:
        return (
            f"There is no folder {identifier} here, and the hub offers no data set of that name; check the name, and "
            "if the data set requires consent, give it there and log in with 'hf auth login'."
        )
    if isinstance(error, ConnectionError) or "Offline" in kind or "Connect" in kind or "Timeout" in kind:
        return (
            f"The hub cannot be reached, and the data set {identifier} is not in the cache of this machine; download "
            "it where there is a network, and give the folder."
        )
    return f"The data set {identifier} of the hub cannot be loaded ({kind}); download it yourself, and give the folder."
