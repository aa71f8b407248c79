"""Data sets that the tests write: small pictures of one grey each, and tables beside them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from roco_search.datasets import Pair, PictureFile
from roco_search.datasets.assembly import Split
from roco_search.datasets.pair import DataSet, Row

SHARED = Path(__file__).parents[2].parent / "shared"


def draw(path: Path, grey: int = 128) -> Path:
    """Write a picture of 6 x 4 pixels; lossless unless it is a JPEG, which keeps one grey nearly.

    Its path is in the file, so that no two files have the same content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    said = PngInfo()
    said.add_text("path", str(path))
    Image.new("L", (6, 4), grey).save(path, pnginfo=said, comment=str(path))
    return path


def encoded(grey: int = 128) -> bytes:
    file = io.BytesIO()
    Image.new("L", (6, 4), grey).save(file, "PNG")
    return file.getvalue()


def write_lines(path: Path, rows: Iterable[Mapping[str, Any] | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")
    return path


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([columns, *rows])
    return path


def row(
    name: str = "a.png", *captions: str, case: str | None = None, licence: str | None = None, **columns: Any
) -> Row:
    return Row(name, PictureFile(Path(name)), captions or (f"caption of {name}",), columns, case, licence)


def data_set(**rows: list[Row]) -> DataSet:
    return DataSet("drawn", "drawn", "./drawn", {name: partial(list, part) for name, part in rows.items()})


def split_of(cases: Sequence[str | None]) -> Split:
    """Return a split with a pair of each of these cases."""
    pairs = [Pair(PictureFile(Path(f"{i}.png")), f"caption {i}", case=case) for i, case in enumerate(cases)]
    return Split(pairs, [f"{i}.png" for i in range(len(cases))])


def grey_of(pair: Pair) -> int:
    pixels = pair.picture.read()
    assert pixels.shape == (4, 6, 3) and pixels.dtype == "uint8"
    assert (pixels == pixels[0, 0, 0]).all()
    return int(pixels[0, 0, 0])
