"""Marks of yes and no: an address becomes a session, as `roco query --mark` makes one, and comes back; or a probe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from roco_search.errors import InputError
from roco_search.probe.examples import from_marks
from roco_search.probe.feedback.sessions import SHELF, Session, fresh_name
from roco_search.probe.shelf import SHELF as PROBES
from roco_search.probe.teaching.teach import teach
from roco_search.search.terms import read_term
from roco_search.system.text import printable
from roco_search.web.asking import Conditions, Query, write_address

if TYPE_CHECKING:
    from roco_search.library import Library
    from roco_search.library.shelf import Shelf
    from roco_search.probe.probe import Probe
    from roco_search.web.backend import Desk

MOST_SHOWN = 8  # sessions on the first page: those that were begun last


def keep_marks(desk: Desk, query: Query, name: str) -> str:
    """Keep what was marked on a query, under its name or a new one; return that.

    Raises
    ------
    InputError
        If the query is none that a session can have, or another one has this name.
    StorageFull
    """
    if query.upload is not None:
        raise InputError("Marks on a dropped image cannot be kept, as the image is not; search for words.")

    def keep(library: Library) -> str:
        liked = library.frames.get([] if query.like is None else [query.like])
        words = [query.text.strip()] if query.text.strip() else [frame.path for frame in liked.values()]
        if not words:
            raise InputError("Marks are kept together with what was searched for; search for words.")
        chosen = name or fresh_name(library, words if query.text.strip() else [])
        there = chosen in SHELF.names(library)
        made = SHELF.read(library, chosen) if there else Session(SHELF.check_name(chosen), words)
        if made.query != words:
            raise InputError(f"The session {chosen!r} is of another query; choose another name.")
        following = made.rounds + 1  # what was kept before stays; a later mark of the same picture counts
        known = {frame.id: mark.yes for mark, frame in made.found(library) if frame is not None}
        for ids, yes in ((query.plus, True), (query.minus, False)):
            fresh = [number for number in ids if known.get(number) is not yes]
            made.mark(library, list(library.frames.get(fresh).values()), yes=yes, round_=following)
        SHELF.keep(library, made, overwrite=True)
        return chosen

    return desk.ask(keep)


def teach_marks(desk: Desk, query: Query, name: str) -> Probe:
    """Teach the library a probe from what was marked on a query, and keep it under a new name; return it.

    Raises
    ------
    InputError
        If it cannot have this name, or too little is marked to learn from.
    StorageFull
    """

    def taught(library: Library) -> Probe:
        check_new(PROBES, library, name)
        examples = from_marks(library, name, query.plus, query.minus)
        probe = teach(library, desk.encoder, name, examples).probe
        PROBES.keep(library, probe)
        return probe

    return desk.ask(taught)


def check_new(shelf: Shelf[Any], library: Library, name: str) -> None:
    """Raise `InputError` unless a name can be that of something new: the page replaces nothing."""
    if shelf.place(library, name).exists():
        raise InputError(f"There is a {shelf.kind} {name!r} already; choose another name.")


def kept_marks(desk: Desk) -> list[tuple[str, str]]:
    """Return the sessions that can be gone on with here, the newest first: name and address."""

    def read(library: Library) -> list[tuple[str, str]]:
        found = []
        for name in SHELF.names(library):
            try:
                session = SHELF.read(library, name)
                query = _query(library, session)
            except InputError:  # `roco session list` says what is wrong with it
                continue
            if query is not None:
                found.append((session.made, printable(name), f"?{write_address(query, Conditions())}"))
        return [(name, address) for _, name, address in sorted(found, reverse=True)[:MOST_SHOWN]]

    return desk.ask(read)


def _query(library: Library, session: Session) -> Query | None:
    """Return the query of a session with its marks; None where it is of a file that the library does not have."""
    terms = [read_term(word) for word in session.query]
    texts, files = ([term for term in terms if isinstance(term, kind)] for kind in (str, Path))
    frames = library.frames.of_file(str(files[0])) if len(files) == 1 and not texts else []
    if files and not frames:
        return None
    yes, no = session.ids(library)
    text = " ".join(text for text in texts if isinstance(text, str))
    return Query(text, like=frames[0].id if frames else None, plus=tuple(yes), minus=tuple(no))
