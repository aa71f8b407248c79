"""What a card or a title calls a data set, without telling where it lies."""

from __future__ import annotations

from pathlib import Path

from .splits import known_split

_INSIDE = frozenset({"data", "all_data", "radiology"})  # folders within a data set that say nothing of it


def name_of(path: Path) -> str:
    """Return the name of the folder, or of the file without extension, that names a data set.

    A folder that is a split, or whose name says nothing, goes by the folder around it.
    """
    path = path.resolve()
    here = path.with_suffix("") if path.is_file() else path
    while (here.name.casefold() in _INSIDE or known_split(here.name)) and here.parent.name:
        here = here.parent
    return here.name or "data"


def relative_name(path: Path, root: Path) -> str:
    """Return a path as a report writes it: relative to the data set, with slashes; as it is if it lies elsewhere."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()
