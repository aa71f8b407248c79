"""``roco query --mark``: hits are marked yes or no by their numbers, and the next page is ranked with that."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from roco_search.cli.output import say
from roco_search.cli.render.hits import show
from roco_search.cli.usage import refuse
from roco_search.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roco_search.library import Library
    from roco_search.models.encoder import Encoder
    from roco_search.probe.feedback.sessions import Session
    from roco_search.probe.ranking import Find
    from roco_search.search import Hit

HELP = "Mark: '1 3 -2' is yes to 1 and 3, no to 2; Enter shows more, u takes back the last round, q ends."


def mark_hits(
    library: Library,
    encoder: Encoder,
    find: Find,
    words: Sequence[str],
    name: str | None,
    top: int,
    *,
    text: bool,
    verbatim: bool,
    cosine: bool,
) -> None:
    """Show pages of hits, take marks, and keep them, until the person ends it.

    Parameters
    ----------
    library, encoder, find
        The library, its model, and the search in it.
    words
        What is looked for; none to go on with a session.
    name
        The session; None for a new one, named after the words.
    top
        The number of hits on a page.
    text, verbatim, cosine
        How the words are read, as for ``roco query``.
    """
    from roco_search.probe.feedback import sessions
    from roco_search.probe.ranking import ranked_by_marks
    from roco_search.search import read, read_query

    session = _session(library, words, name)
    terms = read_query(session.query, text=text)
    understood = None if cosine else read(library, terms, verbatim=verbatim)
    say(HELP)
    skipped = 0
    while True:
        yes, no = session.ids(library)
        hits = ranked_by_marks(library, encoder, find, terms, understood, yes, no, n=top, offset=skipped)
        if not hits:
            say("There is nothing more.")
        else:
            show(hits)
        answer = _ask(hits)
        if answer == "end":
            break
        if answer == "undo":
            say(f"{session.undo()} marks taken back.")
            skipped = 0
        elif not answer:
            skipped += len(hits)
            continue
        else:
            _mark(library, session, hits, answer)
            skipped = 0
        sessions.SHELF.keep(library, session, overwrite=True)
    yes, no = session.ids(library)
    if yes or no:
        say(
            f"{len(yes)} yes and {len(no)} no are kept as the session {session.name!r}; go on with "
            f"'roco query --mark --session \"{session.name}\"'."
        )


def _session(library: Library, words: Sequence[str], name: str | None) -> Session:
    from roco_search.probe.feedback import sessions

    if name is None:
        return sessions.Session(sessions.fresh_name(library, words), list(words))
    if name not in sessions.SHELF.names(library):
        if not words:
            sessions.SHELF.read(library, name)
        return sessions.Session(sessions.SHELF.check_name(name), list(words))
    found = sessions.SHELF.read(library, name)
    if words and list(words) != found.query:
        refuse(f"The session {name!r} is of the query {' '.join(found.query)!r}; choose another name for this one.")
    return found


def _ask(hits: Sequence[Hit]) -> list[tuple[int, bool]] | Literal["undo", "end"]:
    """Return the marks of a line, none of them for more."""
    while True:
        sys.stderr.write("> ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        words = line.replace(",", " ").lower().split()
        if not line or words in (["q"], ["quit"]):
            return "end"
        if words in (["u"], ["undo"]):
            return "undo"
        try:
            return [(_number(word, hits), not word.startswith("-")) for word in words]
        except InputError as error:
            say(str(error))


def _number(word: str, hits: Sequence[Hit]) -> int:
    ranks = [hit.rank for hit in hits]
    number = int(word.removeprefix("-")) if word.removeprefix("-").isdecimal() else 0
    if number not in ranks:
        raise InputError(f"{word!r} is none of the numbers shown. {HELP}")
    return ranks.index(number)


def _mark(library: Library, session: Session, hits: Sequence[Hit], marks: Sequence[tuple[int, bool]]) -> None:
    following = session.rounds + 1
    for place, yes in marks:
        hit = hits[place]
        frames = [frame for frame in library.frames.of_file(hit.path) if frame.frame == hit.frame]
        session.mark(library, frames, yes=yes, round_=following)
