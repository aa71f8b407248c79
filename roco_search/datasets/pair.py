"""What training and evaluation are made of: an image, and what may be said of it."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from roco_search.errors import TrainingError

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Picture(Protocol):
    """Where the pixels of a pair come from: a file of any kind that `open_image` reads, or bytes in a table."""

    @property
    def name(self) -> str:
        """What a message calls it: a path, or a row of a table."""

    def read(self) -> npt.NDArray[np.uint8]:
        """Return uint8 ``(height, width, 3)``. Raises `ImageError`. May be called from several threads at once."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """An image file; of a file with several frames, the middle one."""

    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return os.fspath(self.path)

    def read(self) -> npt.NDArray[np.uint8]:
        """Return uint8 ``(height, width, 3)``, rendered as everywhere in roco."""
        from roco_search.imaging import open_image

        return next(open_image(self.path)).pixels


@dataclass(frozen=True, slots=True)
class Pair:
    """One image, its caption, and the other captions that are as true of it.

    Attributes
    ----------
    picture
        The image, not read yet.
    caption
        The data set's own caption, without spaces at its ends.
    captions
        Each caption that is true of the image, with the weight with which training draws it; `caption` is among
        them. A caption that two images list is a positive for both, wherever it was drawn.
    columns
        Everything else that the data set says of the image.
    case
        Images of one case (a patient, a study, an article) share it; a split never divides a case. None where the
        data set does not say: the image is then a case of its own.
    """

    picture: Picture
    caption: str
    captions: Mapping[str, float] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    case: str | None = None

    def __post_init__(self) -> None:
        if not self.captions:
            object.__setattr__(self, "captions", {self.caption: 1.0})


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows of a data set that are no pairs here, by the reason: how many, and the first few of them by name."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one more row."""
        self.counts[reason] += 1
        if len(known := self.examples.setdefault(reason, [])) < 3:
            known.append(name)


@dataclass(frozen=True, slots=True)
class PairSet:
    """One split of a data set, in the order of the data set.

    ``name`` is what a card or a title may call the data (no absolute path), ``layout`` the kind of folder or file it
    was read from, ``split`` the name of the split.
    """

    pairs: Sequence[Pair]
    name: str
    layout: str
    split: str
    left_out: LeftOut = field(default_factory=LeftOut)

    def __len__(self) -> int:
        return len(self.pairs)


Filter = Callable[[Pair], bool]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run learns from, and what it is judged by; ``cut`` is whether the latter was cut from the former."""

    train: PairSet
    validation: PairSet
    cut: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a split, before anything is chosen or left out.

    Attributes
    ----------
    name
        What a report calls it: the image's path relative to the data set, or a place in a table.
    picture
        Where its pixels are; None where the image is missing.
    captions
        The data set's captions of it, white space folded, its own first; empty where it has none.
    columns
        Everything else that the data set says of it.
    case, licence
        As the data set states them; None where it does not.
    fault
        Why it has no caption, where it is more than that the caption is empty.
    """

    name: str
    picture: Picture | None
    captions: Sequence[str]
    columns: Mapping[str, Any] = field(default_factory=dict)
    case: str | None = None
    licence: str | None = None
    fault: str = ""


ReadRows = Callable[[], list[Row]]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set that was found: ``splits`` by the names that it uses itself, each read when it is called.

    ``name`` and ``layout`` are as in `PairSet`; ``place`` is what a message calls it, as the user wrote it.
    """

    name: str
    layout: str
    place: str
    splits: Mapping[str, ReadRows]


OWN_WEIGHT = 0.6
"""Of the data set's own caption, where there are others. They share the rest alike."""


def fold_text(value: Any) -> str:
    """Return a value as text: no space at its ends, one space wherever there was white space, a list with commas.

    Nothing (None, NaN, an empty list) is the empty text.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(fold_text, value)))
    text = " ".join(str(value).split())
    # JSON can write half a surrogate pair, which no tokenizer takes.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def read_captions(value: Any) -> list[str]:
    """Return the captions in a cell: one, or each of a list of them."""
    values = value if isinstance(value, list | tuple) else [value]
    return list(dict.fromkeys(filter(None, map(fold_text, values))))


def weigh(captions: Sequence[str], columns: Mapping[str, Any], extra: Sequence[str]) -> dict[str, float]:
    """Return every caption of an image with its weight; the weights add up to 1.

    Parameters
    ----------
    captions
        Those of the data set, its own first, at least one.
    columns, extra
        The other columns, and which of them are captions too. A list of words is one caption, joined by commas.

    Returns
    -------
    dict
        The own caption has `OWN_WEIGHT`, the others share the rest alike; alone, it has 1.
    """
    own, *others = captions
    others += [fold_text(columns.get(name)) for name in extra]
    distinct = [text for text in dict.fromkeys(others) if text and text != own]
    if not distinct:
        return {own: 1.0}
    return {own: OWN_WEIGHT, **dict.fromkeys(distinct, (1 - OWN_WEIGHT) / len(distinct))}


def check_trainable(pairs: Sequence[Pair]) -> None:
    """Refuse pairs that a contrastive objective cannot learn from.

    Raises
    ------
    TrainingError
        If there is no pair, or only one, or all captions are the same.
    """
    if not pairs:
        raise TrainingError("There is no image with a caption to learn from; give data with captions.")
    if len(pairs) == 1:
        raise TrainingError(
            f"There is a single pair, {pairs[0].picture.name}, and nothing to tell it from; give at least two."
        )
    first = set(pairs[0].captions)
    if all(first == set(pair.captions) for pair in pairs):
        told = " ".join(pairs[0].caption.split()[:8])
        raise TrainingError(
            f"All {len(pairs):,} images have the same caption, {told!r}, and nothing tells them apart; give captions "
            "that differ."
        )
