"""The names of splits: train, validation and test go by several, and a data set may have others."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

from roco_search.datasets.assembly import Split
from roco_search.datasets.pair import DataSet, Pair
from roco_search.errors import InputError, TrainingError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_NAMES = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "val", "valid", "dev"),
    TEST: ("test", "testing"),
}
_CANONICAL = {name: canonical for canonical, names in _NAMES.items() for name in names}


def known_split(name: str) -> str | None:
    """Return "train", "validation" or "test" for any name of theirs, else None.

    >>> known_split("Dev"), known_split("fold-1")
    ('validation', None)
    """
    return _CANONICAL.get(name.casefold())


def canonical(name: str) -> str:
    """Return the one name of a split; that of a split of another kind is its own."""
    return known_split(name) or name


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of splits: train, validation and test before others, which follow by the alphabet."""
    order = list(_NAMES)
    return sorted(names, key=lambda name: (order.index(known) if (known := known_split(name)) else len(order), name))


def find_split(data: DataSet, name: str) -> str | None:
    """Return the data set's own name of a split; None if it has none.

    Raises
    ------
    InputError
        If it has several, such as ``val`` and ``dev``, and ``name`` is none of them.
    """
    if name in data.splits:
        return name
    found = [own for own in data.splits if canonical(own) == canonical(name)]
    if len(found) > 1:
        raise InputError(
            f"{data.place} has {len(found)} splits that go by the name {canonical(name)!r}: {', '.join(found)}; name "
            "one of them, or remove the others."
        )
    return found[0] if found else None


def require_split(data: DataSet, name: str) -> str:
    """Return the data set's own name of a split. Raises `InputError`, which names those there are, if it has none."""
    if (found := find_split(data, name)) is not None:
        return found
    raise InputError(
        f"{data.place} ({data.layout}) has no split {name!r}; it has {', '.join(in_order(data.splits))}. Name one of "
        "these."
    )


DIVIDED = "the case is in the validation split too"


def cut_by_case(split: Split, share: float, seed: int, place: str) -> tuple[Split, Split]:
    """Cut a validation split off, whole cases only.

    Cases are taken in the order of a hash of their name and the seed, so that neither the order of the rows nor where
    the data set lies changes what is cut. A case that would exceed the share is passed over, unless all would: then
    the smallest is taken.

    Parameters
    ----------
    split
        What to cut. A pair without a case is a case of its own, with all pairs of the same image.
    share
        Of the pairs, in (0, 1), to cut off; at least one.
    seed
        Another seed cuts other cases.
    place
        What a message calls the data set.

    Returns
    -------
    tuple of Split
        What is left to train, which keeps what was left out, and the validation split.

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
            f"{place} has no validation split, and none can be cut from one case; add cases, or a split named "
            "validation."
        )
    wanted = min(max(1, round(share * len(cases))), len(cases) - 1)
    chosen = _choose(sizes, wanted, seed)
    train, validation = Split(left_out=split.left_out), Split()
    for case, pair, name in zip(cases, split.pairs, split.names, strict=True):
        side = validation if case in chosen else train
        side.pairs.append(pair)
        side.names.append(name)
    return train, validation


def keep_apart(train: Split, validation: Split) -> Split:
    """Return the training split without the cases that are in the validation split; they are counted as left out."""
    taken = {pair.case for pair in validation.pairs if pair.case is not None}
    kept = Split(left_out=train.left_out)
    for pair, name in zip(train.pairs, train.names, strict=True):
        if pair.case in taken:
            kept.left_out.add(DIVIDED, name)
        else:
            kept.pairs.append(pair)
            kept.names.append(name)
    return kept


def case_keys(split: Split) -> list[tuple[str, str]]:
    """Return what tells the case of each pair from all others."""
    return [_key(pair, name) for pair, name in zip(split.pairs, split.names, strict=True)]


def _key(pair: Pair, name: str) -> tuple[str, str]:
    return ("image", name) if pair.case is None else ("case", pair.case)


def _choose(sizes: Counter[tuple[str, str]], wanted: int, seed: int) -> set[tuple[str, str]]:
    def place(case: tuple[str, str]) -> bytes:
        return hashlib.sha256("\0".join((str(seed), *case)).encode("utf-8", "surrogatepass")).digest()

    order = sorted(sizes, key=place)
    chosen: set[tuple[str, str]] = set()
    count = 0
    for case in order:
        if count + sizes[case] <= wanted:
            chosen.add(case)
            count += sizes[case]
    return chosen or {min(order, key=lambda case: sizes[case])}


def case_count(pairs: Sequence[Pair]) -> int:
    """Return of how many cases pairs are; a pair without a case is one."""
    stated = {pair.case for pair in pairs}
    return len(stated - {None}) + sum(pair.case is None for pair in pairs)
