"""Which points share a colour: by modality, body part or folder, never more groups than can be told apart."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Color = Literal["modality", "body_part", "folder"]
MOST = 7  # named groups: what is left of the palette when one colour stands for all others
OTHERS, NOT_STATED = "others", "not stated"


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """What the points are coloured by.

    Attributes
    ----------
    of
        Index into `names` for each point, int64 ``(n,)``.
    names
        The largest group first; then `OTHERS` and `NOT_STATED`, where there are such.
    counts
        Points of each.
    """

    of: npt.NDArray[np.int64]
    names: list[str]
    counts: list[int]


def group(values: Sequence[str | None]) -> Groups:
    """Number the most frequent values; gather the rest."""
    tally = Counter(value for value in values if value is not None)
    # Equal counts in the order of their names, so that a colour does not change with the order of the files.
    ranked = sorted(tally, key=lambda value: (-tally[value], value))
    kept = ranked if len(ranked) <= MOST + 1 else ranked[:MOST]
    places = {value: place for place, value in enumerate(kept)}
    names = [*kept, *([OTHERS] if len(ranked) > len(kept) else []), *([NOT_STATED] if None in values else [])]
    of = np.array(
        [len(names) - 1 if value is None else places.get(value, len(kept)) for value in values], np.int64
    ).reshape(-1)
    return Groups(of, names, np.bincount(of, minlength=len(names)).tolist())


def folder_names(folders: Sequence[str]) -> dict[str, str]:
    """Return short names for folders: what lies below the folder that they have in common."""
    distinct = sorted(set(folders))
    if not distinct:
        return {}
    common = os.path.commonpath(distinct)
    return {
        folder: os.path.basename(folder) if folder == common else os.path.relpath(folder, common)  # noqa: PTH119
        for folder in distinct
    }
