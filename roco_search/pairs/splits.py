"""The names of splits: train, validation and test go by several, and a data set may have others."""

from __future__ import annotations

from collections.abc import Iterable

from roco_search.errors import InputError

from .rows import DataSet

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
