"""What is installed with ``roco-search[train]`` only, imported when it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roco_search.errors import InputError

_INSTALL = "which is not installed; run pip install 'roco-search[train]'."


def parquet_module() -> Any:
    """Return `pyarrow.parquet`. Raises `InputError` where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError(f"Parquet needs the package pyarrow, {_INSTALL}") from None
    return pyarrow.parquet


def datasets_module() -> Any:
    """Return Hugging Face's `datasets`. Raises `InputError` where it is not installed."""
    try:
        import datasets
    except ImportError:
        raise InputError(f"Saved and hub data sets need the package datasets, {_INSTALL}") from None
    return datasets


@contextmanager
def arrow_errors(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on a file into one sentence."""
    from pyarrow.lib import ArrowException

    try:
        yield
    except PermissionError:
        raise InputError(f"{path} cannot be read; check its permissions.") from None
    except (ArrowException, OSError, ValueError):
        raise InputError(f"{path} is damaged, or is no Parquet file; copy or download it again.") from None
