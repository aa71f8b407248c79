"""What is installed with ``roco-search[train]`` only, imported when it is needed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roco_search.datasets.files import read_text
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


SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv")
_DELIMITERS = ",\t;"


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was read: its columns, and each row with its line in the file (in Parquet, its number from 1)."""

    path: Path
    columns: list[str]
    rows: list[tuple[int, dict[str, Any]]]


def read_table(path: Path) -> Table:
    """Read a table by the extension of its name.

    A CSV file may use commas, semicolons or tabs. Names of columns lose spaces at their ends. A text that begins with
    a brace is JSON Lines, whatever its name.

    Raises
    ------
    InputError
        If it cannot be read, is empty, or a line is damaged; the line is named.
    """
    match path.suffix.lower():
        case ".jsonl" | ".ndjson":
            rows = list(_read_json_lines(path, read_text(path)))
        case ".parquet":
            rows = _read_parquet(path)
        case _:
            text = read_text(path)
            rows = list(_read_json_lines(path, text) if text.lstrip().startswith("{") else _read_csv(path, text))
    if not rows:
        raise InputError(f"{path} has no row; copy or export it again.")
    return Table(path, list(dict.fromkeys(name for _, row in rows for name in row)), rows)


def _read_json_lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: not a JSON object; each line must be one.")
        yield number, row


def _read_csv(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    header = text[: text.find("\n")] if "\n" in text else text
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    names: list[str] = []
    try:
        for cells in reader:
            if not cells:
                continue
            if not names:
                names = [name.strip() for name in cells]
                continue
            if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
                raise InputError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells where the header has {len(names)}; put a "
                    "text that contains the separator into double quotes."
                )
            yield reader.line_num, dict(zip(names, cells, strict=False))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error}); export the file again.") from None


def _read_parquet(path: Path) -> list[tuple[int, dict[str, Any]]]:
    parquet = parquet_module()
    with arrow_errors(path):
        return list(enumerate(parquet.read_table(path).to_pylist(), 1))
