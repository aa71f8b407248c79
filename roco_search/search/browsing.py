"""The pictures of a library before anything is asked: in an order, one of each series or case, as deep as they go."""

import math
import os
from collections.abc import Hashable
from typing import Literal

import numpy as np
import numpy.typing as npt

from roco_search.classify.guesses import ATTRIBUTES, Guesses
from roco_search.library import Library
from roco_search.search.filters import Filters, resolve
from roco_search.search.hits import GroupBy, Hit, RankedGroup, group_key, guessed_terms, hit_of
from roco_search.vocabulary.concepts import spoken_term

Ids = npt.NDArray[np.int64]
Order = Literal["newest", "folder", "kind"]
"""What was indexed last first; by folder; or by modality and body part."""

AT_ONCE = 256


class Browsing:
    """The pictures of one state of a library in an order; what was found once need not be looked for again.

    Parameters
    ----------
    library
        Where to look.
    guesses
        Says what the headers do not.
    filters, group_by
        As for `search`.
    guess
        Whether filters believe the model where a header says nothing.
    order
        Which pictures come first.

    Raises
    ------
    InputError
        If the library has no picture of a filter's value.
    """

    def __init__(
        self,
        library: Library,
        guesses: Guesses,
        *,
        filters: Filters | None = None,
        guess: bool = False,
        order: Order = "newest",
        group_by: GroupBy = "series",
    ) -> None:
        self._guesses, self._by = guesses, group_by
        with library.snapshot():
            among = None if filters is None else resolve(library, filters, guesses if guess else None)
            ids = _in_order(library, order, guesses)
            self._ids = ids if among is None else ids[np.isin(ids, among)]
        self._looked = 0
        self._seen = set[Hashable]()
        self._first: list[int] = []

    def page(self, library: Library, n: int, offset: int = 0) -> list[tuple[int, Hit]]:
        """Return one picture of each of `n` groups after `offset` others, with the ids of their frames."""
        with library.snapshot():
            while len(self._first) < n + offset and self._looked < len(self._ids):
                part = self._ids[self._looked : self._looked + AT_ONCE]
                self._looked += len(part)
                for frame in library.frames.get(part.tolist()).values():
                    if (key := group_key(frame, self._by)) not in self._seen:
                        self._seen.add(key)
                        self._first.append(frame.id)
            shown = library.frames.get(self._first[offset : offset + n]).values()
            groups = [RankedGroup(frame, math.nan) for frame in shown]
            guessed = guessed_terms(library, groups, self._guesses)
        return [
            (group.frame.id, hit_of(group, rank, guessed=terms))
            for rank, (group, terms) in enumerate(zip(groups, guessed, strict=True), start=offset + 1)
        ]


def _in_order(library: Library, order: Order, guesses: Guesses) -> Ids:
    """Return the ids of all pictures, int64, in an order; those of equal rank as they were indexed, the last first."""
    ids = library.embedded()
    if order == "newest":
        return ids[::-1]
    if order == "folder":
        columns = library.frames.columns(library.active())
        paths = [os.path.split(file.path) for file in columns.files]
        rank = np.empty(len(paths), np.int64)
        rank[sorted(range(len(paths)), key=paths.__getitem__)] = np.arange(len(paths))
        return columns.ids[np.lexsort((columns.number, rank[columns.file]))]
    kinds = kinds_of(library, guesses)
    rank = np.empty(len(kinds), np.int64)
    newest_first = sorted(range(len(kinds)), key=lambda row: (kinds[row], -row))
    return ids[newest_first]


def kinds_of(library: Library, guesses: Guesses) -> list[tuple[str, str]]:
    """Return modality and body part of each picture as people say them, in the order of `Library.embedded`.

    The model says what a header does not.
    """
    spoken: list[list[str]] = []
    headers = list(library.frames.headers(library.active()))
    for number, attribute in enumerate(ATTRIBUTES):
        terms = [row[number] for row in headers]
        silent = np.array([row for row, term in enumerate(terms) if not term], np.int64)
        if len(silent):
            for row, term in zip(silent, guesses.guess(attribute, library.embeddings()[silent]), strict=True):
                terms[row] = term
        spoken.append([spoken_term(attribute, term or "") for term in terms])
    return list(zip(*spoken, strict=True))
