"""Named files that a person made and a library keeps, such as probes, cohorts and sessions: one folder for each kind.

Each file is written whole or not at all, readable by its owner alone, and goes where the library goes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from roco_search.errors import InputError
from roco_search.library import Library
from roco_search.system.files import set_mode, write_errors, write_file

_NAME = re.compile(r"\w[\w .+-]{0,79}")
_LONGEST = 200  # Bytes of a name: a file system takes 255, with the ending and what a half-written file adds.


class Named(Protocol):
    """What can be kept."""

    @property
    def name(self) -> str:
        """What its owner calls it."""


Thing = TypeVar("Thing", bound=Named)


@dataclass(frozen=True, slots=True)
class Shelf(Generic[Thing]):
    """How a library keeps things of one kind.

    Attributes
    ----------
    kind
        What one is called, and the command that manages it: "probe".
    folder
        The folder in the library's own: one of `directory.FOLDERS`.
    ending
        Of the files: ".json".
    first
        How to make one, as the end of a sentence: "teach one with `roco probe fit`".
    dump
        Returns the content of a file.
    load
        Reads content under a name. It trusts nothing, and may raise whatever it likes for content that is damaged.
    largest
        The size in bytes of a file that can be one.
    """

    kind: str
    folder: str
    ending: str
    first: str
    dump: Callable[[Thing], bytes]
    load: Callable[[bytes, str], Thing]
    largest: int

    def check_name(self, name: str) -> str:
        """Return a name that can be a file's. Raises `InputError` for any other."""
        if not _NAME.fullmatch(name) or name != name.strip() or len(os.fsencode(name)) > _LONGEST:
            raise InputError(
                f"{name!r} cannot be the name of a {self.kind}; use up to 80 letters, digits, blanks, and . _ + - "
                "after the first."
            )
        return name

    def place(self, library: Library, name: str) -> Path:
        """Return the path of a file, whether or not it exists. Raises `InputError` as `check_name`."""
        return library.directory / self.folder / f"{self.check_name(name)}{self.ending}"

    def names(self, library: Library) -> list[str]:
        """Return the names of those that a library has, ascending."""
        try:
            found = os.listdir(library.directory / self.folder)  # noqa: PTH208 - names alone are wanted
        except OSError:
            return []
        endless = (name.removesuffix(self.ending) for name in found if name.endswith(self.ending))
        return sorted(name for name in endless if not name.startswith("."))

    def read(self, library: Library, name: str) -> Thing:
        """Return one of a library.

        Raises
        ------
        InputError
            If there is none of this name, or it cannot be read, or is damaged.
        """
        place = self._existing(library, name)
        return self.parse(
            self.read_file(place),
            name,
            f"{place} is damaged; remove it with `roco {self.kind} remove`, or put back a copy of it.",
        )

    def read_all(self, library: Library) -> list[Thing]:
        """Return all of a library, by name. Raises as `read`."""
        return [self.read(library, name) for name in self.names(library)]

    def parse(self, content: bytes, name: str, refusal: str) -> Thing:
        """Return what a file's content says. Raises `InputError` with the refusal if that is nothing of this kind."""
        try:
            if len(content) <= self.largest:
                return self.load(content, name)
        except MemoryError:
            raise
        except Exception:  # of any kind: the content is whatever somebody, or a failing disk, made of it
            pass
        raise InputError(refusal)

    def read_file(self, place: Path) -> bytes:
        """Return the content of a file, and no more than one byte beyond the `largest`. Raises `InputError`."""
        try:
            with place.open("rb") as file:
                return file.read(self.largest + 1)
        except OSError as error:
            raise InputError(f"{place} cannot be read ({error.strerror}); check its permissions.") from None

    def keep(self, library: Library, thing: Thing, *, overwrite: bool = False) -> None:
        """Write one into a library, under its own name.

        Raises
        ------
        InputError
            If there is one of this name and it is not to be replaced, or it cannot be written.
        StorageFull
        """
        place = self.place(library, thing.name)
        if place.exists() and not overwrite:
            raise InputError(
                f"There is a {self.kind} {thing.name!r} already; use `overwrite=True` to replace it, or choose another "
                "name."
            )
        with write_errors(place):
            place.parent.mkdir(mode=0o700, exist_ok=True)
            set_mode(place.parent, 0o700)
            write_file(place, self.dump(thing))

    def rename(self, library: Library, old: str, new: str) -> None:
        """Give one another name. Raises `InputError` if there is none, or the new name is taken."""
        place, target = self._existing(library, old), self.place(library, new)
        if target.exists():
            raise InputError(f"There is a {self.kind} {new!r} already; choose another name.")
        with write_errors(target):
            place.rename(target)

    def remove(self, library: Library, name: str) -> None:
        """Remove one, damaged or not. Raises `InputError` if there is none of this name."""
        place = self._existing(library, name)
        with write_errors(place):
            place.unlink(missing_ok=True)

    def _existing(self, library: Library, name: str) -> Path:
        place = self.place(library, name)
        if not place.exists():
            there = ", ".join(self.names(library)) or "none"
            raise InputError(f"There is no {self.kind} {name!r} (the library has {there}); {self.first}.")
        return place
