"""What tables that name images, and files beside images, say about them; whose that is, `captions` decides."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from roco_search.datasets.columns import CAPTIONS, Schema, fold_name
from roco_search.datasets.files import read_text
from roco_search.datasets.layouts.path_table import PathTable
from roco_search.datasets.layouts.roco import read_rows
from roco_search.datasets.pair import PictureFile, Row, fold_text
from roco_search.datasets.tables import SUFFIXES, read_table
from roco_search.errors import InputError

TABLES = frozenset({*SUFFIXES, ".parquet"})
SIDECARS = frozenset({".txt", ".json"})
ROCO = ("radiology", "captions.txt")
METADATA = frozenset({"metadata.jsonl", "metadata.csv", "metadata.parquet"})
MAX_TABLE, MAX_SIDECAR = 2**30, 2**20  # bytes
MAX_TEXT = 20_000  # characters of one caption

# Columns that hold words about the image, besides its caption.
_ALSO = frozenset(
    {*CAPTIONS, "label", "labels", "keywords", "findings", "finding", "case_findings", "impression", "diagnosis"}
)


class Named(NamedTuple):
    """A text, the real path of the image as its source names it, and the case that the source states."""

    named: str
    text: str
    case: str | None = None


def is_caption_table(path: str) -> bool:
    """Whether a table names images and has words about them, judged by its head: it is not read."""
    if os.path.basename(path).casefold() in METADATA:  # noqa: PTH119 - a name that need not be UTF-8
        return True
    if _suffix(path) == ".parquet":
        return False
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            head = file.readline(65536).decode("utf-8-sig", "replace").strip()
    except OSError:
        return False
    columns = list(_object(head)) if head.startswith("{") else [cell.strip(' "') for cell in re.split("[,;\t]", head)]
    return _is_of_images(columns)


def read_caption_table(path: str) -> list[Named] | None:
    """Read a table whose rows name images; None if it is another table.

    The words about an image are its captions, and what is in columns such as ``labels``, ``findings`` or ``title``. A
    path in it is relative to the table, or absolute.

    Raises
    ------
    InputError
        If the table is damaged or too large; the line is named.
    """
    if os.path.getsize(path) > MAX_TABLE:  # noqa: PTH202
        raise InputError(f"{path} is larger than {MAX_TABLE >> 20} MB; divide it into several.")
    if not is_caption_table(path) and _suffix(path) != ".parquet":
        return None
    table = read_table(Path(path))
    if not _is_of_images(table.columns):
        return None
    folder = table.path.parent
    rows = PathTable(table, folder, anywhere=True).rows(table.rows)
    found = [Named(_real(folder, row), _words(row.captions, row.columns), row.case) for row in rows]
    return [entry for entry in found if entry.text or entry.case]


def read_roco_captions(path: str) -> list[Named]:
    """Read the captions of the ROCO repository, by ``radiology/captions.txt``: each with its keywords and its article.

    Raises
    ------
    InputError
        If a file is no UTF-8.
    """
    folder = Path(path).parent
    rows = [row for row in read_rows(folder, folder) if row.picture is not None]
    return [Named(_real(folder, row), _words(row.captions, row.columns), row.case) for row in rows]


def read_sidecar(path: str) -> str:
    """Return what a file says about the image beside it: a text, or the captions in a JSON object; "" for nothing.

    Raises
    ------
    InputError
        If it is no UTF-8, no JSON, or too large.
    """
    if os.path.getsize(path) > MAX_SIDECAR:  # noqa: PTH202
        raise InputError(f"{path} is larger than {MAX_SIDECAR >> 20} MB; it is no caption.")
    text = read_text(Path(path))
    if _suffix(path) != ".json":
        return _cut(fold_text(text))
    cells = _object(text)
    return _words(Schema.of(cells).captions(cells), cells)


def image_stem(path: str) -> str:
    """Return the path of an image without its ending, as a file beside it would have it."""
    stem, ending = os.path.splitext(path)  # noqa: PTH122
    return os.path.splitext(stem)[0] if ending.lower() in (".gz", ".bz2") else stem  # noqa: PTH122


def _is_of_images(columns: list[str]) -> bool:
    schema = Schema.of(columns)
    has_words = schema.caption is not None or any(fold_name(column) in _ALSO for column in columns)
    return schema.image is not None and (has_words or schema.case is not None)


def _words(captions: Iterable[str], columns: Mapping[str, object]) -> str:
    """Return the captions of an image and its other words, each once, a line each."""
    others = [fold_text(value) for name, value in columns.items() if fold_name(name) in _ALSO]
    texts = [text for text in dict.fromkeys([*captions, *others]) if any(char.isalpha() for char in text)]
    # A label that a caption has word for word adds nothing.
    kept = [text for n, text in enumerate(texts) if not any(text in other for m, other in enumerate(texts) if m != n)]
    return _cut("\n".join(kept))


def _cut(text: str) -> str:
    return text[:MAX_TEXT].replace("\0", " ")


def _real(folder: Path, row: Row) -> str:
    return os.path.realpath(row.picture.path if isinstance(row.picture, PictureFile) else folder / row.name)


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122
