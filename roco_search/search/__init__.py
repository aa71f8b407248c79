"""A query becomes ranked, grouped hits.

The rooms inside: `terms` (what a query is made of), `embedding` (one vector of it), `filters` (where to look),
`hits` (what comes out: one for each group).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.library import Library, Mode
from roco_search.library.truth.frames import Belonging
from roco_search.models.encoder import Encoder
from roco_search.models.legibility import cannot_read, illegible, is_illegible
from roco_search.search.captions import said_by_captions
from roco_search.search.filters import Filters, resolve
from roco_search.search.hits import NEAR, GroupBy, Hit, RankedGroup, RankedGroups, guessed_terms, hit_of
from roco_search.search.terms import Term, embed, named_in, read_query, unit
from roco_search.search.understanding import Understood, as_typed, understand
from roco_search.search.weighing import Weighing, weigh

if TYPE_CHECKING:
    from roco_search.classify.guesses import Guesses

__all__ = [
    "NEAR",
    "Filters",
    "GroupBy",
    "Hit",
    "Term",
    "Understood",
    "named_in",
    "read",
    "read_query",
    "search",
    "unread",
]

Ids = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float32]

LISTING = 200  # Hits from which a search for all that there is, and no less, is an inventory: each picture is listed.
GROWTH = 4  # Factor by which the search goes deeper each time that the ranking held too few groups.
AT_ONCE = 256  # Pictures of the ranking that are looked up together.


def search(
    library: Library,
    encoder: Encoder,
    terms: Sequence[str | Path | Term] = (),
    *,
    vector: npt.NDArray[np.float32] | None = None,
    without: npt.NDArray[np.int64] | None = None,
    among: npt.NDArray[np.int64] | None = None,
    toward: npt.NDArray[np.float32] | None = None,
    n: int = 10,
    offset: int = 0,
    filters: Filters | None = None,
    guess: bool = False,
    group_by: GroupBy | None = None,
    fold: bool | None = None,
    min_score: float | None = None,
    mode: Mode = "auto",
    understood: Understood | None = None,
    cosine: bool = False,
    only_matches: bool = False,
    pictures_only: bool = False,
    captions_only: bool = False,
) -> list[Hit]:
    """Find the pictures that answer a query best.

    A query of one text is ranked by all that is known of the pictures (`roco_search.search.evidence`); any other, by
    the cosine similarity.

    Parameters
    ----------
    library
        Where to look.
    encoder
        The library's own model.
    terms
        What to look for: texts, paths of images, and either with a weight as a `Term`. Their embeddings are added;
        several texts are thereby averaged, as in a prompt ensemble. The very file of an image that is given is not
        among the hits; a copy of it elsewhere in the library is.
    vector
        An embedding of the same model, float32 ``(dim,)``, instead of terms.
    without
        Ids of frames that are not to be among the hits, int64: of what the vector was made from.
    among
        Ids of the frames that may be hits, int64, besides what `filters` say; None for all.
    toward
        What was learned besides the query, float32 ``(dim,)``: its product with an embedding is added to the sum that
        ranks the answers to a text (a logit), and it is added to any other query's vector.
    n
        The number of hits, at least 1; fewer are returned only if there are no more.
    offset
        The number of best hits to skip: those of the pages before.
    filters
        Where to look; None for everywhere.
    guess
        Let the model supply modality and body part where a header says nothing, for filters and for hits.
    group_by
        One hit a series, study or file, its best picture; "none" for every picture. What belongs to no series (or
        study) counts by its case: a folder among others of its kind, or what a table of captions states; else by its
        file. None for "series", and for "none" where at least `LISTING` hits, and as many as there are, are wanted.
    fold
        Leave out a hit whose picture is nearly the same (`NEAR`) as that of a better one. None to do so unless every
        picture is wanted.
    min_score
        The least cosine similarity.
    mode
        "exact", "approximate", or "auto": see `VectorIndex.search`. With filters it is always exact.
    understood
        What the text was read as: see `read`. None to read it here.
    cosine
        Rank by the cosine similarity alone.
    only_matches
        Leave out what does not match: see `Hit.match`.
    pictures_only, captions_only
        Rank the answers to a text without what captions say, or by nothing else; the latter leaves out what no caption
        speaks for.

    Returns
    -------
    list of Hit
        Best first; equal scores in the order in which the pictures were indexed. None if the model can read no word
        of the query, and there are no captions; see `unread`.

    Raises
    ------
    InputError
        If there is nothing to look for, `n` is below 1 or `offset` below 0, an image cannot be read, the terms cancel
        out, or the library has nothing of the kind that a filter names.
    LibraryEmpty, ModelMismatch, LibraryError
    """
    if n < 1:
        raise InputError("The number of hits must be at least 1; choose another `n`.")
    if offset < 0:
        raise InputError("The number of hits to skip must be 0 or more; choose another `offset`.")
    library.active().check_model(encoder)
    everything = group_by is None and n >= max(library.active().count, LISTING)
    by: GroupBy = group_by or ("none" if everything else "series")
    folded = not everything if fold is None else fold
    own = np.empty(0, np.int64)
    asked = _read(terms)
    if vector is None and _nothing_is_read(library, encoder, asked):
        return []
    if vector is None:
        query, own = embed(library, encoder, asked)
    else:
        query = unit(vector)
    if without is not None:
        own = np.union1d(own, without)
    guesses = _guesses(encoder) if guess else None
    with library.snapshot():
        evidence = None
        if vector is None and not cosine and (said := understood or read(library, asked)) is not None:
            captions = None if pictures_only else said_by_captions(library, said)
            known = {said.text: query} if [term.content for term in asked] == [said.text] else {}
            evidence = weigh(library, encoder, said, () if captions is None else (captions,), known)
        passing = None if filters is None else resolve(library, filters, guesses)
        if passing is not None:
            among = passing if among is None else np.intersect1d(among, passing)
        if evidence is None and toward is not None:
            query, toward = unit(query + toward), None
        if captions_only:
            evidence, among = _captions_alone(library, evidence, among)
        pool = _Pool(library, query, among, own, min_score, mode, evidence, toward, only_matches=only_matches)
        groups = pool.page(n, offset, by, folded)
        more = pool.more(groups, by)
        guessed = guessed_terms(library, groups, guesses)
        hits = [
            hit_of(group, rank, more=others, guessed=terms_guessed)
            for rank, (group, others, terms_guessed) in enumerate(
                zip(groups, more, guessed, strict=True), start=offset + 1
            )
        ]
        return hits if evidence is None else evidence.explained(hits, [group.frame.id for group in groups], query)


def _nothing_is_read(library: Library, encoder: Encoder, terms: Sequence[Term]) -> bool:
    """Return whether neither the model nor, for want of any, captions have a word of the query."""
    legible = (isinstance(term.content, Path) or not is_illegible(encoder, term.content) for term in terms)
    return bool(terms) and not any(legible) and not library.captions.any()


def unread(encoder: Encoder, terms: Sequence[str | Path | Term]) -> str | None:
    """Return a sentence about the words of a query that a model cannot read, or None."""
    words = illegible(encoder, [term.content for term in _read(terms) if isinstance(term.content, str)])
    return cannot_read(encoder, words) if words else None


def _captions_alone(library: Library, evidence: "Weighing | None", among: Ids | None) -> tuple["Weighing", Ids]:
    """Return the evidence of captions, and the frames for which they speak."""
    if not library.captions.any():
        raise InputError(
            "This library has no captions to search; add them with `roco index --captions`, or leave out "
            "`captions_only=True`."
        )
    if evidence is None:
        raise InputError("Captions are searched by one text; give one, or leave out `captions_only=True`.")
    spoken = [extra.ids[extra.values > 0] for extra in evidence.evidence.extras]
    ids = library.embedded(spoken[0] if spoken else np.empty(0, np.int64))
    return evidence.by_extras_alone(), ids if among is None else np.intersect1d(ids, among)


def read(library: Library, terms: Sequence[str | Path | Term], *, verbatim: bool = False) -> Understood | None:
    """Return what the words of a query are read as; None if it is anything else than one text.

    Parameters
    ----------
    library
        Of whose captions the words are known.
    terms
        As for `search`.
    verbatim
        Take the words as they were typed.
    """
    found = _read(terms)
    if len(found) != 1 or not isinstance(found[0].content, str) or found[0].weight <= 0:
        return None
    text = found[0].content
    return as_typed(text) if verbatim else understand(text, library.captions.words)


class _Pool:
    """The pictures that can be hits, as one snapshot of the library has them."""

    def __init__(
        self,
        library: Library,
        query: Vector,
        among: Ids | None,
        own: Ids,
        min_score: float | None,
        mode: Mode,
        evidence: "Weighing | None" = None,
        toward: Vector | None = None,
        *,
        only_matches: bool = False,
    ) -> None:
        self._library = library
        self._query = query
        self._among = among
        self._own = own
        self._least = -np.inf if min_score is None else min_score
        self._mode = mode
        self._evidence = evidence
        self._toward = toward
        # What ranks: cosines, or the sum of the evidence.
        self._worst = -np.inf if evidence is None or not only_matches else evidence.least_match
        if evidence is None:
            self._worst = max(self._worst, self._least)
        elif min_score is not None:
            ids = library.embedded(among)
            self._among = ids[library.scores(query, ids) >= self._least]

    def page(self, n: int, offset: int, group_by: GroupBy, fold: bool) -> list[RankedGroup]:
        """Return the groups of a page."""
        depth = n + offset + len(self._own)
        vector, bias = (self._query, None) if self._evidence is None else self._evidence.ranking
        if self._toward is not None:
            vector = vector + self._toward
        while True:
            ids, scores = self._library.search(vector[None], depth, self._mode, self._among, bias)
            biased = self._evidence is not None
            found = RankedGroups(group_by, n + offset, len(self._query), fold=fold, biased=biased)
            self._fill(found, ids[0], scores[0])
            if found.full or len(ids[0]) < depth or scores[0, -1] < self._worst:
                return found.groups[offset:]
            depth *= GROWTH

    def _fill(self, found: RankedGroups, ids: Ids, scores: Vector) -> None:
        usable = (scores >= self._worst) & ~np.isin(ids, self._own)
        ids, scores = ids[usable], scores[usable]
        for start in range(0, len(ids), AT_ONCE):
            part, part_scores = ids[start : start + AT_ONCE], scores[start : start + AT_ONCE].tolist()
            frames, vectors = self._library.frames.get(part.tolist()), self._library.embeddings(part)
            for frame, vector, score in zip(frames.values(), vectors, part_scores, strict=True):
                found.add(frame, score, vector)
                if found.full:
                    return

    def more(self, groups: Sequence[RankedGroup], group_by: GroupBy) -> list[int]:
        """Return, for each group, how many other pictures of it can be hits too."""
        if group_by == "none":
            return [0] * len(groups)
        best = [group.frame.id for group in groups]
        belonging: Belonging = group_by
        members = self._library.frames.members(best, belonging)
        alone = [frame_id for frame_id in best if frame_id not in members]
        if group_by != "file":
            members |= self._library.frames.members(alone, "case", of_no=group_by)
            alone = [frame_id for frame_id in alone if frame_id not in members]
        members |= self._library.frames.members(alone, "file")
        return [self._count(members[frame_id]) - 1 for frame_id in best]

    def _count(self, ids: Ids) -> int:
        if self._among is not None:
            ids = np.intersect1d(ids, self._among, assume_unique=True)
        ids = self._library.embedded(np.setdiff1d(ids, self._own, assume_unique=True))
        return int((self._library.scores(self._query, ids) >= self._least).sum())


def _read(terms: Sequence[str | Path | Term]) -> list[Term]:
    if isinstance(terms, str):
        raise InputError('Give a list of terms, such as ["pleural effusion"]; from a shell: `roco query "…"`.')
    return [term if isinstance(term, Term) else Term(term) for term in terms]


def _guesses(encoder: Encoder) -> "Guesses":
    from roco_search.classify.guesses import Guesses

    return Guesses(encoder)
