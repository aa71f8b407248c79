"""The splits of a data set: their names, of which train, validation and test have several, and cases across them.

No case (a patient, a study, an article) is divided between training and validation, and no image is in both: a
validation split that is split off has whole cases only, and one that a data set brings along keeps its cases and its
images to itself.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

from roco_search.datasets.assembly import Split
from roco_search.datasets.pair import DataSet, Pair
from roco_search.errors import InputError, TrainingError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SHARED_CASE = "the case is in the validation split too"
SHARED_IMAGE = "the image is in the validation split too"
_NAMES = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "val", "valid", "dev"),
    TEST: ("test", "testing"),
}
_CANONICAL = {name: canonical for canonical, names in _NAMES.items() for name in names}

Case = tuple[str, str]


def known_split(name: str) -> str | None:
    """Return "train", "validation" or "test" for any of its names, else None.

    >>> known_split("Dev"), known_split("fold-1")
    ('validation', None)
    """
    return _CANONICAL.get(name.strip().casefold())


def canonical_split(name: str) -> str:
    """Return the one name of a split; a split of another kind keeps its own."""
    return known_split(name) or name


def fold_split(name: str) -> str:
    """Return the form in which names of splits are compared: case and white space at the ends do not matter."""
    return known_split(name) or name.strip().casefold()


def sort_splits(names: Iterable[str]) -> list[str]:
    """Return names of splits in order: train, validation, test, then the others alphabetically."""
    order = list(_NAMES)
    return sorted(names, key=lambda name: (order.index(known) if (known := known_split(name)) else len(order), name))


def find_split(data: DataSet, name: str) -> str | None:
    """Return the data set's own name of a split; None if it does not have that split.

    Raises
    ------
    InputError
        If it has several, such as ``val`` and ``dev``, and ``name`` is none of them.
    """
    if name in data.splits:
        return name
    found = [own for own in data.splits if fold_split(own) == fold_split(name)]
    if len(found) > 1:
        raise InputError(
            f"{data.label} has {len(found)} splits that go by the name {canonical_split(name)!r}: {', '.join(found)}; "
            "name one of them, or remove the others."
        )
    return found[0] if found else None


def require_split(data: DataSet, name: str) -> str:
    """Return the data set's own name of a split. Raises `InputError`, which lists those there are, if it has none."""
    if (found := find_split(data, name)) is not None:
        return found
    raise InputError(
        f"{data.label} ({data.layout}) has no split {name!r}; it has {', '.join(sort_splits(data.splits))}. Name one "
        "of these."
    )


def split_off_validation(split: Split, share: float, seed: int, label: str) -> tuple[Split, Split]:
    """Split a validation split off a training split, whole cases only.

    Cases are taken in the order of a hash of their name and the seed, so that neither the order of the rows nor the
    folder of the data set changes the result. A case that would exceed the share is passed over; if every case would,
    the smallest is taken.

    Parameters
    ----------
    split
        The training split. A pair without a case is a case of its own, together with all pairs of the same image.
    share
        The share of the pairs, in (0, 1), that validation gets; at least one pair.
    seed
        Another seed selects other cases.
    label
        How a message refers to the data set.

    Returns
    -------
    tuple of Split
        What remains for training, which keeps the record of what was left out, and the validation split.

    Raises
    ------
    TrainingError
        If the share is not in (0, 1), or all pairs are of one case.
    """
    if not 0 < share < 1:
        raise TrainingError(f"A share of {share:g} for validation leaves nothing to measure or to learn; give 0.1.")
    cases = case_keys(split)
    sizes = Counter(cases)
    if len(sizes) < 2:
        raise TrainingError(
            f"{label} has no validation split, and none can be split off one case; add cases, or a split named "
            "validation."
        )
    wanted = min(max(1, round(share * len(cases))), len(cases) - 1)
    selected = _select_cases(sizes, wanted, seed)
    train, validation = Split(left_out=split.left_out), Split()
    for case, pair, name in zip(cases, split.pairs, split.names, strict=True):
        side = validation if case in selected else train
        side.pairs.append(pair)
        side.names.append(name)
    return drop_shared(train, validation), validation


def divide_cases(cases: Sequence[str], validation: float, test: float, seed: int) -> list[str]:
    """Return the split of each row, "train", "validation" or "test": whole cases only, by a hash of case and seed.

    Parameters
    ----------
    cases
        The case of each row.
    validation, test
        The shares of the rows, 0 or more and together less than 1. A split that is asked for gets at least one case
        as long as one remains for training; the test split comes first.
    seed
        Another seed selects other cases.

    Raises
    ------
    InputError
        If the shares leave nothing to learn from.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise InputError(
            f"Shares of {validation:g} for validation and {test:g} for test leave nothing to learn from; give 0.1 each."
        )
    left = Counter(("case", case) for case in cases)
    split_of: dict[str, str] = {}
    for name, share in ((TEST, test), (VALIDATION, validation)):
        if share and len(left) > 1:
            wanted = min(max(1, round(share * len(cases))), sum(left.values()) - 1)
            for chosen in _select_cases(left, wanted, seed):
                split_of[chosen[1]] = name
                del left[chosen]
    return [split_of.get(case, TRAIN) for case in cases]


def drop_shared(train: Split, validation: Split) -> Split:
    """Return the training split without the cases and images of the validation split, which count as left out."""
    cases = {pair.case for pair in validation.pairs if pair.case is not None}
    images = {pair.image for pair in validation.pairs}
    kept = Split(left_out=train.left_out)
    for pair, name in zip(train.pairs, train.names, strict=True):
        if pair.case in cases:
            kept.left_out.add(SHARED_CASE, name)
        elif pair.image in images:
            kept.left_out.add(SHARED_IMAGE, name)
        else:
            kept.pairs.append(pair)
            kept.names.append(name)
    return kept


def case_keys(split: Split) -> list[Case]:
    """Return a key of the case of each pair, which no other case has.

    Without a case it is that of the image, by the first of its names in their order.
    """
    first: dict[str, str] = {}
    for pair, name in zip(split.pairs, split.names, strict=True):
        first[pair.image] = min(name, first.get(pair.image, name))
    return [("image", first[pair.image]) if pair.case is None else ("case", pair.case) for pair in split.pairs]


def case_count(pairs: Sequence[Pair]) -> int:
    """Return the number of cases; an image without one is a case of its own."""
    return len({("image", pair.image) if pair.case is None else ("case", pair.case) for pair in pairs})


def _select_cases(sizes: Counter[Case], wanted: int, seed: int) -> set[Case]:
    """Return cases of at most ``wanted`` pairs together, or else the smallest."""

    def rank(case: Case) -> bytes:
        return hashlib.sha256("\0".join((str(seed), *case)).encode("utf-8", "surrogatepass")).digest()

    order = sorted(sizes, key=rank)
    selected: set[Case] = set()
    count = 0
    for case in order:
        if count + sizes[case] <= wanted:
            selected.add(case)
            count += sizes[case]
    return selected or {min(order, key=lambda case: sizes[case])}
