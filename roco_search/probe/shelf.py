"""The probes of a library: files in its folder ``probes``, each written whole or not at all, for its owner alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from roco_search.errors import InputError
from roco_search.library import Library
from roco_search.library.directory import PROBES, names_in
from roco_search.probe.probe import LARGEST, Probe, check_name, dump, load
from roco_search.system.files import set_mode, write_errors, write_file

ENDING = ".safetensors"


def _place(library: Library, name: str) -> Path:
    return library.directory / PROBES / f"{check_name(name)}{ENDING}"


def names(library: Library) -> list[str]:
    """Return the names of a library's probes, ascending."""
    return names_in(library.directory / PROBES, ENDING)


def read(library: Library, name: str) -> Probe:
    """Return a probe of a library.

    Raises
    ------
    InputError
        If there is none of this name, or it is damaged.
    """
    place = _place(library, name)
    if not place.exists():
        there = ", ".join(names(library)) or "none"
        raise InputError(f"There is no probe {name!r} (there is {there}); teach one with `roco probe fit {name}`.")
    return replace(_read(place), name=name)


def _read(place: Path) -> Probe:
    try:
        with place.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{place} cannot be read ({error.strerror}); check the path.") from None
    return load(content, str(place))


def keep(library: Library, probe: Probe, *, overwrite: bool = False) -> Path:
    """Write a probe into a library, and return its path.

    Raises
    ------
    InputError
        If there is one of this name and it is not to be replaced, or it cannot be written.
    StorageFull
    """
    place = _place(library, probe.name)
    if place.exists() and not overwrite:
        raise InputError(
            f"There is a probe {probe.name!r} already; use `overwrite=True` to replace it, or choose another name."
        )
    with write_errors(place):
        place.parent.mkdir(mode=0o700, exist_ok=True)
        set_mode(place.parent, 0o700)
        write_file(place, dump(probe, with_learned=True))
    return place


def remove(library: Library, name: str) -> None:
    """Remove a probe. Raises `InputError` if there is none of this name."""
    read_place = _place(library, name)
    if not read_place.exists():
        read(library, name)
    with write_errors(read_place):
        read_place.unlink(missing_ok=True)


def export(library: Library, name: str, target: Path, *, overwrite: bool = False) -> None:
    """Write a probe to be passed on: without the ids of the pictures that it was taught with.

    Raises
    ------
    InputError, StorageFull
    """
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists, and is kept; choose another name, or use `overwrite=True`.")
    probe = read(library, name)
    with write_errors(target):
        write_file(target, dump(replace(probe, learned=np.empty(0, np.int64)), with_learned=False), mode=None)


def receive(library: Library, source: Path, name: str | None = None, *, overwrite: bool = False) -> Probe:
    """Take a probe that somebody exported into a library of the same model, and return it.

    Raises
    ------
    ModelMismatch
        If it was taught on embeddings of another model.
    InputError, StorageFull, LibraryEmpty
    """
    probe = replace(_read(source), learned=np.empty(0, np.int64))
    if name is not None:
        probe = replace(probe, name=check_name(name))
    probe.check_library(library.active())
    keep(library, probe, overwrite=overwrite)
    return probe
