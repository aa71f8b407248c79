"""Which classes a column of a data set has, and to which of them each image belongs.

A column is named as a person writes it: ``modality``, or ``labels[1]`` for the second entry of a list. Its classes are
the values that occur, or those that were asked for. Where roco has prompts of its own for a column (modality, body
part, plane), they stand for the values that they know.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roco_search.classify.labels import Label, check_labels, fold, read_labels, split_labels
from roco_search.classify.truth import named_counts
from roco_search.datasets.columns import fold_name
from roco_search.datasets.pair import Pair
from roco_search.errors import InputError
from roco_search.vocabulary import attributes, image_classes

MOST = 200
"""A column with more different values is no column of classes."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column, or with ``entry`` one entry of a column of lists, counted from 0 (from the end where negative)."""

    name: str
    entry: int | None = None

    def __str__(self) -> str:
        return self.name if self.entry is None else f"{self.name}[{self.entry}]"

    def of(self, pair: Pair) -> str | None:
        """Return what a pair says there; None where it says nothing.

        Raises
        ------
        InputError
            If the column holds lists and no entry is named.
        """
        value = pair.columns.get(self.name)
        if isinstance(value, list | tuple):
            if self.entry is None:
                raise InputError(
                    f"The column {self.name!r} holds lists; name one entry of them, such as '{self.name}[0]' for the "
                    "first."
                )
            value = value[self.entry] if -len(value) <= self.entry < len(value) else None
        elif self.entry is not None and value is not None:
            raise InputError(f"The column {self.name!r} holds no lists; name it without [{self.entry}].")
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        return " ".join(str(value).split()) or None


def find_column(text: str, pairs: Sequence[Pair]) -> Column:
    """Read the name of a column that some of the pairs have; case, spaces and hyphens do not matter.

    Raises
    ------
    InputError
        If none of them has it.
    """
    known = list(dict.fromkeys(name for pair in pairs for name in pair.columns))
    by_folded = {fold_name(name): name for name in reversed(known)} | {name: name for name in known}
    for name, entry in ((text, None), _entry(text)):
        for written in (name, fold_name(name)):
            if written in by_folded:
                return Column(by_folded[written], entry)
    has = f"it has {', '.join(known)}" if known else "it has none"
    raise InputError(f"The data set has no column {text!r}; {has}. Name one of these.")


def _entry(text: str) -> tuple[str, int | None]:
    named = re.fullmatch(r"(.+)\[(-?\d+)\]", text)
    return (named[1], int(named[2])) if named else (text, None)


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes that exclude each other.

    Attributes
    ----------
    column
        Where the data set says which one an image belongs to.
    labels
        The classes, with the prompts and the other values that stand for each.
    other
        Values that are none of them, with how many images have them; those are left out.
    silent
        Images of which the column says nothing; they are left out too.
    """

    column: Column
    labels: tuple[Label, ...]
    other: Mapping[str, int]
    silent: int

    def truth(self, pairs: Iterable[Pair]) -> npt.NDArray[np.int64]:
        """Return the number of the class of each pair, int64 ``(n,)``; -1 where it is left out."""
        places = _places(self.labels)
        return np.array([places.get(fold(self.column.of(pair) or ""), -1) for pair in pairs], np.int64)


def find_classes(
    column: Column,
    pairs: Sequence[Pair],
    *,
    labels: Sequence[str] = (),
    labels_file: str | Path | None = None,
    ignore_other: bool = False,
) -> Classes:
    """Decide which classes a column has.

    Without `labels` and `labels_file` they are the values that occur. A value that the file of the column's name
    among those of roco (``roco_search/vocabulary/classes``: modality, body_part, plane) knows is called by that file's
    prompts, and values that it takes for one are one class.

    Parameters
    ----------
    column
        The column.
    pairs
        The images.
    labels
        Names of classes, between commas.
    labels_file
        As `read_labels` reads it, or the name of one of roco's own.
    ignore_other
        Leave out images that belong to none of the given classes, instead of refusing them.

    Raises
    ------
    InputError
        If there are no two classes, a value is not one of them, or the file cannot be read.
    """
    values = Counter(value for pair in pairs if (value := column.of(pair)) is not None)
    if not values:
        raise InputError(f"The column {str(column)!r} says nothing of any of these images; choose another column.")
    known = own(column.name) if column.entry is None else []
    if labels or labels_file:
        given = [*_called(split_labels(labels), known), *(_read(labels_file) if labels_file else [])]
        if len(given) == 1:
            raise InputError(
                f"{given[0].name!r} alone cannot be distinguished from anything; name at least two classes, such as "
                f'`labels="{given[0].name},normal"`.'
            )
        check_labels(given, "exclusive")
    else:
        given = _occurring(column, values, known)
    places = _places(given)
    other = Counter({value: count for value, count in values.items() if fold(value) not in places})
    if other and not ignore_other:
        raise InputError(
            f"The column {str(column)!r} has {named_counts(other)}, none of which is among the classes; add them, or "
            "leave such images out with `ignore_other=True`."
        )
    if len(other) == len(values):
        raise InputError(
            f"The column {str(column)!r} has {named_counts(other)}, but none of the classes; write them as it does."
        )
    return Classes(column, tuple(given), dict(other), len(pairs) - values.total())


def own(name: str) -> list[Label]:
    """Return the classes that come with roco for an attribute, such as "modality"; none if there are none for it."""
    if name not in attributes():
        return []
    return [Label(entry.name, positive=entry.prompts, aliases=entry.aliases) for entry in image_classes(name)]


def _read(file: str | Path) -> list[Label]:
    path = Path(file)
    if not path.exists():
        if str(file) in attributes():
            return own(str(file))
        raise InputError(
            f"There is no labels file {path}, nor is it one that comes with roco ({', '.join(attributes())}); check "
            "the path."
        )
    return read_labels(path)


def _places(labels: Sequence[Label]) -> dict[str, int]:
    return {fold(name): place for place, label in enumerate(labels) for name in (label.name, *label.aliases)}


def _called(labels: Sequence[Label], known: Sequence[Label]) -> list[Label]:
    """Replace names that are known by what is known of them."""
    places = _places(known)
    return [known[places[fold(label.name)]] if fold(label.name) in places else label for label in labels]


def _occurring(column: Column, values: Counter[str], known: Sequence[Label]) -> list[Label]:
    if len(values) > MOST:
        raise InputError(
            f"The column {str(column)!r} has {len(values):,} different values, so they are no classes; choose another "
            "column, or name the classes with `labels`."
        )
    names: dict[str, str] = {}
    for value in sorted(values):
        names.setdefault(fold(value), value)
    places = _places(known)
    occurring = {places[name] for name in names if name in places}
    found = [known[place] for place in sorted(occurring)]
    found += [Label(value) for name, value in names.items() if name not in places]
    if len(found) < 2:
        raise InputError(
            f"Every image here is {found[0].name!r} in the column {str(column)!r}, so there is nothing to distinguish; "
            "choose other images, or name more classes with `labels`."
        )
    return found
