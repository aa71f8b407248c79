"""A column of a data set as a person names it: ``modality``, or ``labels[1]`` for the second entry of a list."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from roco_search.errors import InputError
from roco_search.pairs.pair import Pair
from roco_search.pairs.roles import fold_name


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
