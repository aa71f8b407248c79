"""The one reader of tables: CSV, TSV, JSON Lines and Parquet, each row with its line in the file.

>>> from tempfile import NamedTemporaryFile
>>> with NamedTemporaryFile("w", suffix=".csv") as file:
...     _ = file.write("path,label\\n1.png,normal\\n")
...     file.flush()
...     read_table(Path(file.name)).rows
[(2, {'path': '1.png', 'label': 'normal'})]
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roco_search.datasets.files import read_text
from roco_search.errors import InputError
from roco_search.imaging.sniff import DICOM_EXTENSIONS, RASTER_EXTENSIONS

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv")
_DELIMITERS = ",\t;|"
_IMAGE_SUFFIXES = tuple((RASTER_EXTENSIONS | DICOM_EXTENSIONS) - {""})

Lines = Iterator[tuple[int, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was read: its columns, and each row with its first line in the file (in Parquet, its number)."""

    path: Path
    columns: list[str]
    rows: list[tuple[int, dict[str, Any]]]


def read_table(path: Path) -> Table:
    """Read a table; the extension of its name determines its format.

    The cells of a CSV file may be separated by commas, semicolons, tabs or vertical bars. Quotes are read strictly: one
    that is not closed would make a single text of the rows after it. Names of columns lose white space at their ends.
    A text that begins with a brace is JSON Lines, whatever its name.

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


def parquet_module() -> Any:
    """Return `pyarrow.parquet`, which is imported when it is needed. Raises `InputError` if it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            "Parquet needs the package pyarrow, which is not installed; run pip install 'roco-search[train]'."
        ) from None
    return pyarrow.parquet


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Raise `InputError` with one sentence for whatever pyarrow raises while it reads a file."""
    from pyarrow.lib import ArrowException

    try:
        yield
    except PermissionError:
        raise InputError(f"{path} cannot be read; check its permissions.") from None
    except (ArrowException, OSError, ValueError):
        raise InputError(f"{path} is damaged, or is no Parquet file; copy or download it again.") from None


def _read_json_lines(path: Path, text: str) -> Lines:
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


def _read_csv(path: Path, text: str) -> Lines:
    header = text[: text.find("\n")] if "\n" in text else text
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(_DELIMITERS, key=header.count)
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    names: list[str] = []
    end = 0  # of the row before
    try:
        for cells in reader:
            start, end = end + 1, reader.line_num
            if not cells:
                continue
            if not names:
                names = _column_names(path, start, cells)
                continue
            if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
                raise InputError(
                    f"{path}, line {start}: {len(cells)} cells where the header has {len(names)}; put a text that "
                    "contains the separator into double quotes."
                )
            for number in range(start, end):
                if _is_row(lines[number], delimiter, len(names)):
                    raise InputError(
                        f"{path}, line {start}: a double quote is not closed before line {number + 1}, which would "
                        "become part of one text; close it, or write it twice if it belongs to the text."
                    )
            yield start, dict(zip(names, cells, strict=False))
    except csv.Error as error:
        if "field larger" in str(error):
            raise InputError(f"{path}, line {end + 1}: not CSV ({error}); export the file again.") from None
        raise InputError(
            f"{path}, line {end + 1}: not CSV (a double quote here is not balanced by another); close it, or write it "
            "twice if it belongs to the text."
        ) from None


def _column_names(path: Path, line: int, cells: Sequence[str]) -> list[str]:
    names = [name.strip() for name in cells]
    twice = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if twice is not None:
        raise InputError(f"{path}, line {line}: the column {twice!r} is there twice; rename or remove one of them.")
    return names


def _is_row(line: str, delimiter: str, columns: int) -> bool:
    """Return whether a line inside a quoted text is a row of its own: as many cells, and the file of an image in one.

    A text may contain line ends and commas, hence the file; it does not contain tabs.
    """
    cells = line.rstrip("\r\n").split(delimiter)
    if columns < 2 or len(cells) < columns:
        return False
    return delimiter == "\t" or any(cell.strip(' "').lower().endswith(_IMAGE_SUFFIXES) for cell in cells)


def _read_parquet(path: Path) -> list[tuple[int, dict[str, Any]]]:
    parquet = parquet_module()
    with parquet_errors(path):
        return list(enumerate(parquet.read_table(path).to_pylist(), 1))
