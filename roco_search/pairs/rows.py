"""What every layout gives: the splits of a data set, and the rows of each as the data set has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .pair import Picture


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
