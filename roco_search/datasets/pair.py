"""What a data set consists of: rows, and the pairs of an image and its captions that are made of them.

A `Row` is what the data set states. A `Pair` is what training and evaluation take: a row with an image and a caption.
`DataSet` is a data set that was found and not read yet, `PairSet` one of its splits, and `TrainingData` what a run
takes.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, filterfalse
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from roco_search.errors import TrainingError

if TYPE_CHECKING:
    from roco_search.imaging import CtWindows

OWN_WEIGHT = 0.6
"""The weight of the data set's own caption where an image has others too; the others share the rest equally."""
_NO_COLUMNS: Mapping[str, Any] = MappingProxyType({})
_EXAMPLES = 3  # rows that a report names for each reason


class Picture(Protocol):
    """Where the pixels of a pair come from: a file of any kind that `open_image` reads, or bytes in a table."""

    @property
    def name(self) -> str:
        """How a message refers to it: a path, or a row of a table."""

    def read(self, ct_windows: CtWindows | None = None) -> npt.NDArray[np.uint8]:
        """Return uint8 ``(height, width, 3)``. Raises `ImageError`. Several threads may call it at once.

        With `ct_windows`, CT is rendered as a model takes it: see `open_image`.
        """


class StoredPicture(Picture, Protocol):
    """A picture whose stored bytes can be compared with those of another. Both methods may raise `OSError`."""

    def size(self) -> int:
        """Return the number of its bytes."""

    def stored(self, limit: int = -1) -> bytes:
        """Return its bytes, or the first ``limit`` of them."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """An image file. Of a file with several frames, the middle one is used."""

    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return os.fspath(self.path)

    def read(self, ct_windows: CtWindows | None = None) -> npt.NDArray[np.uint8]:
        """Return uint8 ``(height, width, 3)``, rendered as everywhere in roco."""
        from roco_search.imaging import open_image

        return next(open_image(self.path, ct_windows=ct_windows)).pixels

    def size(self) -> int:
        """Return the number of its bytes."""
        return self.path.stat().st_size

    def stored(self, limit: int = -1) -> bytes:
        """Return its bytes, or the first ``limit`` of them."""
        with self.path.open("rb") as file:
            return file.read(limit)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a split, before anything is selected or left out.

    Attributes
    ----------
    name
        How a report refers to it: the image's path relative to the data set, or a row of a table.
    picture
        Where its pixels are; None where the image is missing.
    captions
        The data set's captions of it, white space folded, its own first; empty where it has none.
    columns
        Everything else that the data set states about it.
    case, licence
        As the data set states them; None where it does not.
    fault
        Why it has no caption, if the reason is another than an empty cell.
    image
        The identity of the image, which other rows of the same image share; see `identity.identify_images`.
    """

    name: str
    picture: StoredPicture | None
    captions: Sequence[str]
    columns: Mapping[str, Any] = field(default_factory=dict)
    case: str | None = None
    licence: str | None = None
    fault: str = ""
    image: str = ""


class SharedCaptions(Mapping[str, float]):
    """The captions of a row, then those of the other rows of its image, with the weight 0.

    All rows of an image hold the others in one mapping: ten thousand copies of one image would need gigabytes.

    Parameters
    ----------
    own
        The captions of the row, with their weights.
    every
        The captions of all rows of the image, these among them, with the weight 0.
    """

    __slots__ = ("every", "own")

    def __init__(self, own: Mapping[str, float], every: Mapping[str, float]) -> None:
        self.own, self.every = own, every

    def __getitem__(self, caption: str) -> float:
        return self.own[caption] if caption in self.own else self.every[caption]

    def __iter__(self) -> Iterator[str]:
        return chain(self.own, filterfalse(self.own.__contains__, self.every))

    def __len__(self) -> int:
        return len(self.every)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class Pair:
    """One image, its caption, and the other captions that are equally true of it.

    Attributes
    ----------
    picture
        The image, not read yet.
    caption
        The data set's own caption, without white space at its ends.
    captions
        Each caption that is true of the image, with the weight with which training draws it for this pair; `caption`
        is among them. A caption of another row of the same image has the weight 0. A caption that two images list is a
        positive for both, whichever of them it was drawn for.
    columns
        Everything else that the data set states about the image.
    case
        Images of one case (a patient, a study, an article) share it, and a case is never divided between two splits.
        None where the data set does not state it: the image is then a case of its own.
    image
        The identity of the image: pairs that show the same one share it. The name of the picture where nothing else
        is said.
    """

    picture: Picture
    caption: str
    captions: Mapping[str, float] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=lambda: _NO_COLUMNS)
    case: str | None = None
    image: str = ""

    def __post_init__(self) -> None:
        if not self.image:
            object.__setattr__(self, "image", self.picture.name)
        if not self.captions:
            object.__setattr__(self, "captions", {self.caption: 1.0})


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows that did not become pairs, by reason: their number, and the names of the first three."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one more row."""
        self.counts[reason] += 1
        if len(known := self.examples.setdefault(reason, [])) < _EXAMPLES:
            known.append(name)


@dataclass(frozen=True, slots=True)
class PairSet:
    """The pairs of one split, in the order of the data set.

    ``name`` is how a card or a title refers to the data (never an absolute path), ``layout`` the kind of folder or
    file it was read from, ``split`` the name of the split.
    """

    pairs: Sequence[Pair]
    name: str
    layout: str
    split: str
    left_out: LeftOut = field(default_factory=LeftOut)

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run learns from, and what it is validated on; ``cut`` is whether the latter was split off the former."""

    train: PairSet
    validation: PairSet
    cut: bool


ReadRows = Callable[[], list[Row]]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set that was found. ``splits`` has its own names for them; each is read when it is called.

    ``name`` and ``layout`` are as in `PairSet`; ``label`` is how a message refers to it: as the user wrote it.
    """

    name: str
    layout: str
    label: str
    splits: Mapping[str, ReadRows]


def fold_text(value: Any) -> str:
    """Return a value as text: without white space at its ends, and with one space for any white space within.

    The entries of a list are joined by commas. None, NaN and an empty list are the empty text.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(fold_text, value)))
    text = " ".join(str(value).split())
    # JSON can encode half a surrogate pair, which no tokenizer accepts.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def read_captions(value: Any) -> list[str]:
    """Return the distinct captions in a cell, which holds one or a list of them. An object of JSON is no caption."""
    values = value if isinstance(value, list | tuple) else [value]
    texts = (fold_text(text) for text in values if not isinstance(text, Mapping))
    return list(dict.fromkeys(filter(None, texts)))


def weigh_captions(captions: Sequence[str], columns: Mapping[str, Any], extra: Sequence[str]) -> dict[str, float]:
    """Return every caption of an image with its weight; the weights add up to 1.

    Parameters
    ----------
    captions
        Those of the data set, its own first; at least one.
    columns, extra
        The other columns, and the names of those that are captions too. A list of words is one caption, joined by
        commas.

    Returns
    -------
    dict
        The own caption has `OWN_WEIGHT`, or 1 if it is the only one; the others share the rest equally.
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
        If there is no pair, or only one, or all images or all captions are the same.
    """
    if not pairs:
        raise TrainingError("There is no image with a caption to learn from; give data with captions.")
    if len(pairs) == 1:
        raise TrainingError(
            f"There is a single pair, {pairs[0].picture.name}, and nothing to contrast it with; give at least two."
        )
    if len({pair.image for pair in pairs}) == 1:
        raise TrainingError(
            f"All {len(pairs):,} pairs show the same image, {pairs[0].picture.name}, so there is nothing to contrast "
            "it with; give at least two images."
        )
    first = set(pairs[0].captions)
    if all(first == set(pair.captions) for pair in pairs):
        beginning = " ".join(pairs[0].caption.split()[:8])
        raise TrainingError(
            f"All {len(pairs):,} images have the same caption, {beginning!r}, so there is nothing to learn; give "
            "captions that differ."
        )
