"""The 2,000 pairs of ROCO on which the literature reports (M3AE, Chen et al. 2022, and those who compare with it).

The subset is drawn by a program, not published as a list: ``prepro/prepro_finetuning_data.py`` of
github.com/zhjohnchan/M3AE. Its shuffles follow each other from one seed, so the captions of train and of validation
decide, by their number, which test captions are drawn.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roco_search.datasets.pair import Pair
from roco_search.errors import InputError

SIZE = 2000
_SEED = 42
_WORDS = 3
_SPLITS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "val": ("validation", "val"), "test": ("test",)}


@dataclass(frozen=True, slots=True)
class Subset:
    """Rows of the pairs that belong to the subset, and the ids of it that no pair has (its image is missing)."""

    rows: Sequence[int]
    missing: Sequence[str]


def draw_ids(data: Path, split: str) -> list[str]:
    """Return the ids of the subset, such as "ROCO_00001", in the order in which they are drawn.

    Parameters
    ----------
    data
        The ROCO folder, which holds ``train``, ``validation`` and ``test`` (or ``data`` with these).
    split
        Validation or test.

    Raises
    ------
    InputError
        If the split is neither, or one of the three files of captions is missing.
    """
    wanted = next((name for name, others in _SPLITS.items() if split in (name, *others)), None)
    if wanted is None or wanted == "train":
        raise InputError(
            f"The protocol m3ae-2k is a choice of 2,000 pairs of validation or of test, not of {split!r}; use "
            '`split="test"`.'
        )
    generator = random.Random(_SEED)
    for name in _SPLITS:
        lines = _captions(data, name).read_text("utf-8").strip().split("\n")
        generator.shuffle(lines)
        if name == wanted:
            return _keep(lines)
    raise AssertionError(split)


def find_pairs(ids: Sequence[str], pairs: Sequence[Pair]) -> Subset:
    """Find the pairs of the subset by their column ``id``, in the order in which they were drawn.

    Raises
    ------
    InputError
        If none of them is there.
    """
    place = {str(pair.columns.get("id")): row for row, pair in enumerate(pairs)}
    rows = [place[name] for name in ids if name in place]
    if not rows:
        raise InputError(
            f"None of the {len(ids):,} pairs of m3ae-2k is among these; it needs the ROCO layout with its images, and "
            "no conditions."
        )
    return Subset(rows, [name for name in ids if name not in place])


def _keep(lines: Sequence[str]) -> list[str]:
    """Return the ids of the first 2,000 lines with one tab and at least three words."""
    ids: list[str] = []
    for line in lines:
        cells = line.strip().split("\t")
        if len(cells) == 2 and len(cells[1].split()) >= _WORDS:
            ids.append(cells[0])
            if len(ids) == SIZE:
                break
    return ids


def _captions(data: Path, name: str) -> Path:
    for base in (data, data / "data"):
        for folder in _SPLITS[name]:
            path = base / folder / "radiology" / "captions.txt"
            if path.is_file():
                return path
    raise InputError(
        f"There is no {_SPLITS[name][0]}/radiology/captions.txt in {data}; the protocol m3ae-2k draws its pairs after "
        "shuffling the captions of train and validation, so it needs the ROCO folder with all three splits."
    )
