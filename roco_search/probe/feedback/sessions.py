"""Marks that were made on the answers to a query, kept by name in the library's folder ``sessions``.

A mark is kept by the content of its file (SHA-256) and the number of its frame. So what is moved or indexed again keeps
its marks, a copy shares them, and no path stays here when `roco library remove` forgets one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from roco_search.library import Library, StoredFrame
from roco_search.library.directory import SESSIONS
from roco_search.library.shelf import Shelf

FORMAT = 1
LARGEST = 64 << 20  # Bytes of a file: some 400,000 marks.


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


def _dump(session: Session) -> bytes:
    marks = [{name: getattr(mark, name) for name in Mark.__slots__} for mark in session.marks]
    content = {"format": FORMAT, "query": session.query, "made": session.made, "marks": marks}
    return json.dumps(content, indent=1).encode("utf-8", "surrogateescape")


def _load(content: bytes, name: str) -> Session:
    found: dict[str, Any] = json.loads(content.decode("utf-8", "surrogateescape"))
    if found["format"] != FORMAT:
        raise ValueError("another format")
    marks = [
        Mark(bytes.fromhex(entry["content"]).hex(), int(entry["frame"]), bool(entry["yes"]), int(entry["round"]))
        for entry in found["marks"]
    ]
    return Session(name, [str(word) for word in found["query"]], str(found["made"]), marks)


SHELF = Shelf("session", SESSIONS, ".json", "begin one with `roco query … --mark`", _dump, _load, LARGEST)


def fresh_name(library: Library, query: Sequence[str]) -> str:
    """Return a name for a new session: the words of its query, with a number where that is taken."""
    words = "".join(char if char.isalnum() else " " for char in " ".join(query)).split()
    base = " ".join(words)[:60].strip() or "session"
    known = set(SHELF.names(library))
    return base if base not in known else next(n for i in range(2, 10**6) if (n := f"{base} {i}") not in known)
