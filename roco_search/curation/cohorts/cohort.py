"""What a cohort is, and which pictures of a library belong to it now.

A member is known by a keyed hash of its file's content and its frame: it stays one when the file moves, copies count
once, and of a file that the library forgets nothing remains that could be read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search import __version__
from roco_search.errors import InputError
from roco_search.library import Library, StoredFrame
from roco_search.models.encoder import Encoder
from roco_search.probe.applying import where
from roco_search.probe.feedback.sessions import SHELF as SESSIONS
from roco_search.search import Filters, GroupBy, read, search
from roco_search.search.filters import resolve

MATCHES = ("none", "weak", "fair", "strong")
_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """Which pictures a cohort is made of. Everything that is given has to hold.

    Attributes
    ----------
    query
        A text; None for all that pass the filters.
    modality, body_part, view, under, path, text_match
        As for `Filters`; `under` holds real paths.
    where
        Conditions on the probabilities of the library's probes, such as "effusion>0.8".
    session
        Only what was marked yes in a session of marks.
    picked
        Only these pictures, each picked by hand: their keys, as `keys_of` returns them.
    guess
        Let the model supply modality and body part where a header says nothing.
    match
        The least match with the query: "weak", "fair" or "strong"; None for any.
    min_score
        The least cosine similarity with the query.
    limit
        The greatest number of pictures, the best first.
    group_by
        "none" for every picture; one of each "series", "study" or "file".
    """

    query: str | None = None
    modality: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    view: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    text_match: str | None = None
    where: tuple[str, ...] = ()
    session: str | None = None
    picked: tuple[str, ...] = ()
    guess: bool = False
    match: str | None = None
    min_score: float | None = None
    limit: int | None = None
    group_by: GroupBy = "none"

    @property
    def needs_model(self) -> bool:
        """Whether the library's model is asked anything."""
        return self.query is not None or self.guess

    def plain(self) -> dict[str, Any]:
        """Return it for people to read: of pictures that were picked, their number."""
        return asdict(self) | {"picked": len(self.picked) or None}

    def filters(self) -> Filters:
        """Return the filters of a search."""
        return Filters(
            modality=self.modality,
            body_part=self.body_part,
            view=self.view,
            under=self.under,
            path=self.path,
            text_match=self.text_match,
        )


@dataclass(frozen=True, slots=True)
class Member:
    """A picture of a cohort: its `key` (see the module), and its score and match where there was a query."""

    key: str
    score: float | None = None
    match: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """A cohort as a library keeps it.

    Attributes
    ----------
    name
        Its name.
    definition
        Which pictures it is made of.
    members
        Those that it was made of when it was `refreshed`, best first.
    created, refreshed
        Times in UTC.
    model, fingerprint
        Of the library at that time.
    understood
        What the query was read as.
    roco
        The version that wrote it.
    """

    name: str
    definition: Definition
    members: tuple[Member, ...]
    created: str
    refreshed: str
    model: str
    fingerprint: str
    understood: str | None = None
    roco: str = __version__


@dataclass(frozen=True, slots=True)
class Listed:
    """A member of a cohort as the library knows it now."""

    frame: StoredFrame
    member: Member


@dataclass(frozen=True, slots=True)
class Changes:
    """What is different between two states of a cohort, or two cohorts.

    Attributes
    ----------
    came, went
        Pictures of the second alone, and of the first alone, that the library has.
    gone
        How many of the first alone are no longer in the library.
    stayed
        How many are in both.
    """

    came: list[Listed] = field(default_factory=list)
    went: list[Listed] = field(default_factory=list)
    gone: int = 0
    stayed: int = 0


def gather(library: Library, name: str, definition: Definition, encoder: Encoder | None = None) -> Cohort:
    """Return the cohort that a definition makes of a library now.

    Parameters
    ----------
    library
        Where to look.
    name
        The cohort's name.
    definition
        Which pictures. A query without `match`, `min_score` or `limit` would take everything: it takes fair matches.
    encoder
        The library's model; None will do where `Definition.needs_model` is false.

    Raises
    ------
    InputError
        If the definition says nothing or contradicts itself, or no picture meets it.
    LibraryEmpty, ModelMismatch, LibraryError
    """
    definition = _checked(definition)
    with library.snapshot():
        active = library.active()
        understood = read(library, [definition.query]) if definition.query is not None else None
        members = dict[str, Member]()
        for frame, score, match in _select(library, definition, encoder):
            key = _key(library, library.frames.content_hash(frame.path), frame.path, frame.frame)
            members.setdefault(key, Member(key, score, match))
    if not members:
        raise InputError("No image meets all of these conditions; leave one out, or ask for a weaker `match`.")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Cohort(
        name=name,
        definition=definition,
        members=tuple(members.values()),
        created=now,
        refreshed=now,
        model=active.model,
        fingerprint=active.fingerprint,
        understood=None if understood is None else understood.line or None,
    )


def keys_of(library: Library, ids: Iterable[int]) -> tuple[str, ...]:
    """Return the keys of frames by id, for `Definition.picked`; ids that the library does not have are passed over."""
    frames = library.frames.get(ids).values()
    keys = (_key(library, library.frames.content_hash(frame.path), frame.path, frame.frame) for frame in frames)
    return tuple(dict.fromkeys(keys))


def gather_again(library: Library, cohort: Cohort, encoder: Encoder | None = None) -> tuple[Cohort, Changes]:
    """Return a cohort as its definition makes it of the library now, and what has changed. Raises as `gather`."""
    now = gather(library, cohort.name, cohort.definition, encoder)
    return replace(now, created=cohort.created), compare(library, cohort, now)


def compare(library: Library, one: Cohort, other: Cohort) -> Changes:
    """Return what is in one cohort and not in the other."""
    first, second = ({member.key for member in cohort.members} for cohort in (one, other))
    only = replace(one, members=tuple(member for member in one.members if member.key not in second))
    came = replace(other, members=tuple(member for member in other.members if member.key not in first))
    went = members_of(library, only)
    return Changes(
        came=members_of(library, came),
        went=went,
        gone=len(only.members) - len(went),
        stayed=len(first & second),
    )


def members_of(library: Library, cohort: Cohort) -> list[Listed]:
    """Return the members of a cohort that the library still has, in their order."""
    if not cohort.members:
        return []
    with library.snapshot():
        ids = _ids_of(library, {member.key for member in cohort.members})
        frames = library.frames.get(ids.values())
    known = [(frames.get(ids[member.key]), member) for member in cohort.members if member.key in ids]
    return [Listed(frame, member) for frame, member in known if frame is not None]


def _ids_of(library: Library, keys: Collection[str]) -> dict[str, int]:
    """Return the frame of each key that the library has, the first of equal copies."""
    found: dict[str, int] = {}
    for frame_id, digest, path, number in library.frames.contents():
        if (key := _key(library, digest, path, number)) in keys:
            found.setdefault(key, frame_id)
    return found


def _checked(definition: Definition) -> Definition:
    query = None if definition.query is None else " ".join(definition.query.split())
    if query == "":
        raise InputError('The text is empty; write what to look for, such as "pleural effusion".')
    chosen = definition.where or definition.picked or definition.session is not None
    if query is None and definition.filters() == Filters() and not chosen:
        raise InputError("A cohort needs a query or a filter; give a text, or a `modality`.")
    if query is None and (definition.match is not None or definition.min_score is not None):
        raise InputError("Without a query nothing has a score; give a text, or leave `match` and `min_score` out.")
    if definition.match is not None and definition.match not in MATCHES[1:]:
        raise InputError(f"{definition.match!r} is no match; choose weak, fair or strong.")
    if definition.limit is not None and definition.limit < 1:
        raise InputError("The number of images must be at least 1; choose another `limit`.")
    endless = definition.match is None and definition.min_score is None and definition.limit is None
    endless &= definition.session is None and not definition.picked
    match = "fair" if query is not None and endless else definition.match
    return replace(definition, query=query, match=match)


def _select(
    library: Library, definition: Definition, encoder: Encoder | None
) -> Iterator[tuple[StoredFrame, float | None, str | None]]:
    if definition.needs_model and encoder is None:
        raise InputError("This cohort needs the library's model; load that first.")
    if definition.query is not None and encoder is not None:
        hits = search(
            library,
            encoder,
            [definition.query],
            n=definition.limit or library.active().count,
            filters=definition.filters(),
            among=_only(library, definition),
            guess=definition.guess,
            group_by=definition.group_by,
            fold=False,
            min_score=definition.min_score,
            only_matches=definition.match is not None,
        )
        least = MATCHES.index(definition.match or "none")
        for hit in hits:
            if MATCHES.index(hit.match or "none") >= least:
                frame_id = library.frames.id_of(hit.path, hit.frame)
                for frame in library.frames.get([] if frame_id is None else [frame_id]).values():
                    yield frame, hit.score, hit.match
        return
    yield from ((frame, None, None) for frame in _filtered(library, definition, encoder))


def _filtered(library: Library, definition: Definition, encoder: Encoder | None) -> Iterator[StoredFrame]:
    from roco_search.classify.guesses import Guesses
    from roco_search.search.hits import group_key

    among = resolve(library, definition.filters(), Guesses(encoder) if definition.guess and encoder else None)
    there = library.embedded(among)
    only = _only(library, definition)
    ids: Sequence[int] = (there if only is None else np.intersect1d(there, only)).tolist()
    seen = set()
    for start in range(0, len(ids), _AT_ONCE):
        for frame in library.frames.get(ids[start : start + _AT_ONCE]).values():
            if (key := group_key(frame, definition.group_by)) not in seen:
                seen.add(key)
                yield frame
                if len(seen) == definition.limit:
                    return


def _only(library: Library, definition: Definition) -> npt.NDArray[np.int64] | None:
    """Return the ids of the frames that meet the conditions on probabilities, were marked and picked; None for all."""
    parts = [where(library, definition.where)] if definition.where else []
    if definition.session is not None:
        yes, _ = SESSIONS.read(library, definition.session).ids(library)
        parts.append(library.embedded(np.array(sorted(yes), np.int64)))
    if definition.picked:
        ids = _ids_of(library, set(definition.picked)).values()
        parts.append(library.embedded(np.array(sorted(ids), np.int64)))
    return reduce(np.intersect1d, parts) if parts else None


def _key(library: Library, digest: bytes | None, path: str, number: int) -> str:
    return library.path_hash(f"{path if digest is None else digest.hex()}#{number}")
