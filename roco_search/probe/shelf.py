"""What a library was taught, in its folder ``probes``: probes and spaces, and how they are passed on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from roco_search.errors import InputError
from roco_search.library import Library
from roco_search.library.directory import PROBES
from roco_search.library.shelf import Shelf
from roco_search.probe import probe, space
from roco_search.probe.binding import LARGEST
from roco_search.probe.probe import Probe
from roco_search.probe.space import Space
from roco_search.system.files import write_errors, write_file

Taught = Probe | Space


def _dump(taught: Taught) -> bytes:
    return space.dump(taught) if isinstance(taught, Space) else probe.dump(taught)


def _load(content: bytes, name: str) -> Taught:
    return space.load(content, name) if space.is_space(content) else probe.load(content, name)


SHELF: Shelf[Taught] = Shelf("probe", PROBES, ".safetensors", "teach one with `roco probe fit`", _dump, _load, LARGEST)


def read_probe(library: Library, name: str) -> Probe:
    """Return a probe of a library. Raises `InputError` if there is none of this name, or it is damaged, or a space."""
    found = SHELF.read(library, name)
    if isinstance(found, Space):
        raise InputError(f"{name!r} is a space, which gives no label; use it with `roco similar`, as `space`.")
    return found


def read_space(library: Library, name: str) -> Space:
    """Return a space of a library. Raises `InputError` if there is none of this name, or it is damaged, or a probe."""
    if name not in SHELF.names(library):
        raise InputError(f"There is no space {name!r}; teach one with `roco probe space`.")
    found = SHELF.read(library, name)
    if isinstance(found, Probe):
        raise InputError(f"{name!r} is a probe and no space; make one of its labels with `roco probe space`.")
    return found


def probes(library: Library) -> list[Probe]:
    """Return the probes of a library, by name. Raises `InputError` if a file is damaged."""
    return [taught for taught in SHELF.read_all(library) if isinstance(taught, Probe)]


def export(library: Library, name: str, target: Path, *, overwrite: bool = False) -> None:
    """Write a probe or a space to be passed on: without the ids of the pictures that it was taught with.

    Raises
    ------
    InputError, StorageFull
    """
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists, and is kept; choose another name, or use `overwrite=True`.")
    content = _dump(SHELF.read(library, name).shared())
    with write_errors(target):
        write_file(target, content, mode=None)


def receive(library: Library, source: Path, name: str | None = None, *, overwrite: bool = False) -> Taught:
    """Take a probe or a space that somebody exported into a library of the same model, and return it.

    Raises
    ------
    ModelMismatch
        If it was taught on embeddings of another model.
    InputError, StorageFull, LibraryEmpty
    """
    content = SHELF.read_file(source)
    found = SHELF.parse(content, "", f"{source} holds no probe of roco; copy or export it again.").shared()
    if name is not None:
        found = replace(found, name=name)
    found.check_library(library.active())
    SHELF.keep(library, found, overwrite=overwrite)
    return found
