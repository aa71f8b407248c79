"""Marks that were made on the answers to a query, kept by name in the library's folder ``sessions``.

A mark is kept by the content of its file (SHA-256) and the number of its frame. So what is moved or indexed again keeps
its marks, a copy shares them, and no path stays here when `roco library remove` forgets one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roco_search.errors import InputError
from roco_search.library import Library, StoredFrame
from roco_search.library.directory import SESSIONS, names_in
from roco_search.probe.probe import check_name
from roco_search.system.files import set_mode, write_errors, write_file

ENDING = ".json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """A yes or a no: on which picture, in which round."""

    content: str
    frame: int
    yes: bool
    round: int


@dataclass(slots=True)
class Session:
    """The marks on one query.

    Attributes
    ----------
    name
        What it is called.
    query
        The words and files that were asked, as they were typed.
    made
        When it began, as ISO 8601.
    marks
        In the order in which they were made; a later one of the same picture counts.
    """

    name: str
    query: list[str]
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    marks: list[Mark] = field(default_factory=list)

    def mark(self, library: Library, frames: Sequence[StoredFrame], *, yes: bool, round_: int) -> None:
        """Add marks."""
        for frame in frames:
            if (digest := library.frames.content_hash(frame.path)) is not None:
                self.marks.append(Mark(digest.hex(), frame.frame, yes, round_))

    @property
    def rounds(self) -> int:
        """The number of the last round."""
        return max((mark.round for mark in self.marks), default=0)

    def undo(self) -> int:
        """Take back the last round; return how many marks that were."""
        last, before = self.rounds, len(self.marks)
        self.marks = [mark for mark in self.marks if mark.round != last]
        return before - len(self.marks)

    def found(self, library: Library) -> list[tuple[Mark, StoredFrame | None]]:
        """Return each mark with its picture in the library, the first of equal copies; None if it has none any more."""
        frames = []
        for mark in self.marks:
            copies = library.frames.get(library.frames.of_content(bytes.fromhex(mark.content)).tolist())
            frames.append(next((copy for copy in copies.values() if copy.frame == mark.frame), None))
        return list(zip(self.marks, frames, strict=True))

    def ids(self, library: Library) -> tuple[list[int], list[int]]:
        """Return the ids of the frames marked yes and no; pictures that the library no longer has are left out."""
        said = {frame.id: mark.yes for mark, frame in self.found(library) if frame is not None}
        return [i for i, yes in said.items() if yes], [i for i, yes in said.items() if not yes]


def _place(library: Library, name: str) -> Path:
    return library.directory / SESSIONS / f"{check_name(name)}{ENDING}"


def names(library: Library) -> list[str]:
    """Return the names of a library's sessions, ascending."""
    return names_in(library.directory / SESSIONS, ENDING)


def read(library: Library, name: str) -> Session:
    """Return a session. Raises `InputError` if there is none of this name, or it is damaged."""
    place = _place(library, name)
    if not place.exists():
        there = ", ".join(names(library)) or "none"
        raise InputError(f"There is no session {name!r} (there is {there}); begin one with `roco query … --mark`.")
    try:
        content: dict[str, Any] = json.loads(place.read_text("utf-8", "surrogateescape"))
        if content["format"] != FORMAT:
            raise ValueError("another format")
        marks = [
            Mark(bytes.fromhex(entry["content"]).hex(), int(entry["frame"]), bool(entry["yes"]), int(entry["round"]))
            for entry in content["marks"]
        ]
        return Session(name, [str(word) for word in content["query"]], str(content["made"]), marks)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"The session {place} cannot be read; mend the file, or remove it.") from None


def keep(library: Library, session: Session) -> None:
    """Write a session, whole or not at all. Raises `InputError` and `StorageFull`."""
    place = _place(library, session.name)
    marks = [{name: getattr(mark, name) for name in Mark.__slots__} for mark in session.marks]
    content = {"format": FORMAT, "query": session.query, "made": session.made, "marks": marks}
    with write_errors(place):
        place.parent.mkdir(mode=0o700, exist_ok=True)
        set_mode(place.parent, 0o700)
        write_file(place, json.dumps(content, indent=1).encode("utf-8", "surrogateescape"))


def rename(library: Library, old: str, new: str) -> None:
    """Give a session another name. Raises `InputError` if there is none, or the new name is taken."""
    session = read(library, old)
    if new in names(library):
        raise InputError(f"There is a session {new!r} already; choose another name.")
    keep(library, Session(check_name(new), session.query, session.made, session.marks))
    remove(library, old)


def remove(library: Library, name: str) -> None:
    """Remove a session. Raises `InputError` if there is none of this name."""
    place = _place(library, name)
    if not place.exists():
        read(library, name)
    with write_errors(place):
        place.unlink(missing_ok=True)


def fresh_name(library: Library, query: Sequence[str]) -> str:
    """Return a name for a new session: the words of its query, with a number where that is taken."""
    words = "".join(char if char.isalnum() else " " for char in " ".join(query)).split()
    base = " ".join(words)[:60].strip() or "session"
    known = set(names(library))
    return base if base not in known else next(n for i in range(2, 10**6) if (n := f"{base} {i}") not in known)
