"""What training and evaluation are made of: an image, and what may be said of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

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
