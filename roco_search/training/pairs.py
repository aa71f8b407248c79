"""Pairs of an image and what may be said of it, read from a folder.

Layout read so far: Hugging Face ``imagefolder``, a ``metadata.jsonl`` beside the images with ``file_name`` and
``text`` (or ``caption``) in each line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roco_search.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Pair:
    """One image, one caption, and the other captions that are as true of it.

    ``captions`` maps each caption to the weight with which training draws it; the data set's own caption is
    among them. A caption that two images list is a positive for both, wherever it was drawn.
    """

    image: Path
    caption: str
    captions: Mapping[str, float]
    columns: Mapping[str, Any] = field(default_factory=dict)


def read_imagefolder(directory: Path) -> list[Pair]:
    """Read an ``imagefolder`` data set; every other column is kept in `Pair.columns`.

    Raises `TrainingError` where the folder has no ``metadata.jsonl``, a line is not an object with a file name
    and a caption, or an image is missing.
    """
    metadata = directory / "metadata.jsonl"
    if not metadata.is_file():
        raise TrainingError(f"{directory} has no metadata.jsonl; give a folder in Hugging Face's imagefolder layout.")
    pairs = []
    for number, line in enumerate(metadata.read_text("utf-8").splitlines(), 1):
        row = _row(metadata, number, line)
        caption = str(row.pop("text", None) or row.pop("caption", None) or "").strip()
        image = directory / str(row.pop("file_name", ""))
        if not caption:
            raise TrainingError(f"{metadata}, line {number}: no text; give each image a caption or remove the line.")
        if not image.is_file():
            raise TrainingError(f"{metadata}, line {number}: {image} is not there; restore it or remove the line.")
        pairs.append(Pair(image, caption, {caption: 1.0}, row))
    return pairs


def _row(metadata: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    if not isinstance(row, dict):
        raise TrainingError(f"{metadata}, line {number}: not a JSON object; each line must be one.")
    return row
