"""A query becomes ranked, grouped hits.

The rooms inside: `terms` (what a query is made of), `embedding` (one vector of it), `filters` (where to look),
`grouping` (rows for a person), `hits` (what comes out).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.library import Library, Mode
from roco_search.library.faults import check_model, no_image_yet
from roco_search.library.truth.selection import Belonging
from roco_search.models.encoder import Encoder
from roco_search.search.embedding import embed, unit
from roco_search.search.filters import Filters, resolve
from roco_search.search.grouping import NEAR, GroupBy, Row, Rows
from roco_search.search.hits import Hit
from roco_search.search.terms import Term, read_query

if TYPE_CHECKING:
    from roco_search.classify.guesses import Guesses

__all__ = ["NEAR", "Filters", "GroupBy", "Hit", "Term", "read_query", "search"]

Ids = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float32]

GROWTH = 4  # So many times deeper each time that the ranking held too few groups.


def search(
    library: Library,
    encoder: Encoder,
    terms: Sequence[str | Path | Term] = (),
    *,
    vector: npt.NDArray[np.float32] | None = None,
    without: npt.NDArray[np.int64] | None = None,
    n: int = 10,
    offset: int = 0,
    filters: Filters | None = None,
    guess: bool = False,
    group_by: GroupBy = "none",
    fold: bool = False,
    min_score: float | None = None,
    mode: Mode = "auto",
) -> list[Hit]:
    """Find the pictures that are nearest to a query.

    Parameters
    ----------
    library
        Where to look.
    encoder
        The library's own model.
    terms
        What to look for: texts, paths of images, and either with a weight as a `Term`. Their embeddings are added;
        several texts are thereby averaged, as in a prompt ensemble. An image that is given is not among the hits, nor
        are copies of its file.
    vector
        An embedding of the same model, float32 ``(dim,)``, instead of terms.
    without
        Ids of frames that are not to be among the hits, int64: of what the vector was made from.
    n
        How many hits, at least 1; fewer only if there are no more.
    offset
        How many of the best to pass over: those of the pages before.
    filters
        Where to look; None for everywhere.
    guess
        Let the model supply modality and body part where a header says nothing, for filters and for hits.
    group_by
        One hit a series, study or file, its best picture; "none" for every picture. What belongs to no series (or
        study) counts by its file.
    fold
        Leave out a hit whose picture is nearly the same (`NEAR`) as that of a better one.
    min_score
        The least cosine similarity.
    mode
        "exact", "approximate", or "auto": see `VectorIndex.search`. With filters it is always exact.

    Returns
    -------
    list of Hit
        Best first; equal scores in the order in which the pictures were indexed.

    Raises
    ------
    InputError
        If there is nothing to look for, `n` is below 1 or `offset` below 0, an image cannot be read, the terms cancel
        out, or the library has nothing of the kind that a filter names.
    LibraryEmpty, ModelMismatch, LibraryError
    """
    if n < 1:
        raise InputError("The number of hits has to be at least 1; give another with --top.")
    if offset < 0:
        raise InputError("The number of hits to pass over is 0 or more; give another with --offset.")
    active = library.model
    if active is None or not active.count:
        raise no_image_yet(library.directory)
    check_model(active, encoder)
    own = np.empty(0, np.int64)
    if vector is None:
        query, own = embed(library, encoder, _read(terms))
    else:
        query = unit(vector)
    if without is not None:
        own = np.union1d(own, without)
    guesses = _guesses(encoder) if guess else None
    with library.snapshot():
        among = None if filters is None else resolve(library, filters, guesses)
        pool = _Pool(library, query, among, own, min_score, mode)
        rows = pool.rows(n, offset, group_by, fold)
        more = pool.more(rows, group_by)
        supposed = _supposed(library, rows, guesses)
    return [
        _hit(rank, row, others, guessed)
        for rank, (row, others, guessed) in enumerate(zip(rows, more, supposed, strict=True), start=offset + 1)
    ]


class _Pool:
    """The pictures that can be hits, as one snapshot of the library has them."""

    def __init__(
        self, library: Library, query: Vector, among: Ids | None, own: Ids, min_score: float | None, mode: Mode
    ) -> None:
        self._library = library
        self._query = query
        self._among = among
        self._own = own
        self._least = -np.inf if min_score is None else min_score
        self._mode = mode
        self._index = library.vectors()

    def rows(self, n: int, offset: int, group_by: GroupBy, fold: bool) -> list[Row]:
        """Return the rows of a page."""
        depth = n + offset + len(self._own)
        while True:
            ids, scores = self._library.search(self._query[None], depth, self._mode, self._among)
            found = Rows(group_by, n + offset, self._index.generation.dim, fold=fold)
            self._fill(found, ids[0], scores[0])
            if found.full or len(ids[0]) < depth or scores[0, -1] < self._least:
                return found.rows[offset:]
            depth *= GROWTH

    def _fill(self, found: Rows, ids: Ids, scores: Vector) -> None:
        usable = (scores >= self._least) & ~np.isin(ids, self._own)
        frames = self._library.frames(ids[usable].tolist())
        places = np.searchsorted(self._index.ids, ids[usable])
        for frame, score, place in zip(frames.values(), scores[usable].tolist(), places.tolist(), strict=True):
            found.add(frame, score, self._index.matrix[place])
            if found.full:
                return

    def more(self, rows: Sequence[Row], group_by: GroupBy) -> list[int]:
        """Return how many others of its group can be hits too, for each row."""
        if group_by == "none":
            return [0] * len(rows)
        best = [row.frame.id for row in rows]
        belonging: Belonging = group_by
        groups = self._library.members(best, belonging)
        alone = [frame_id for frame_id in best if frame_id not in groups]
        groups |= self._library.members(alone, "file")
        return [self._count(groups[frame_id]) - 1 for frame_id in best]

    def _count(self, ids: Ids) -> int:
        if self._among is not None:
            ids = np.intersect1d(ids, self._among, assume_unique=True)
        rows = self._index.rows(np.setdiff1d(ids, self._own, assume_unique=True))
        return int((self._index.scores(self._query, rows) >= self._least).sum())


def _read(terms: Sequence[str | Path | Term]) -> list[Term]:
    if isinstance(terms, str):
        raise InputError('Give a list of terms, such as ["pleural effusion"]; from a shell: `roco query "…"`.')
    return [term if isinstance(term, Term) else Term(term) for term in terms]


def _guesses(encoder: Encoder) -> "Guesses":
    from roco_search.classify.guesses import Guesses

    return Guesses(encoder)


def _supposed(library: Library, rows: Sequence[Row], guesses: "Guesses | None") -> list[dict[str, str]]:
    """Return what the model supposes of each row's picture, by attribute, where the header says nothing."""
    if guesses is None or not rows:
        return [{} for _ in rows]
    index = library.vectors()
    vectors = index.matrix[np.searchsorted(index.ids, [row.frame.id for row in rows])]
    modalities, body_parts = guesses.guess("modality", vectors), guesses.guess("body_part", vectors)
    return [
        ({} if row.frame.modality else {"modality": modality}) | ({} if row.frame.body_part else {"body_part": part})
        for row, modality, part in zip(rows, modalities, body_parts, strict=True)
    ]


def _hit(rank: int, row: Row, more: int, guessed: dict[str, str]) -> Hit:
    frame = row.frame
    return Hit(
        rank=rank,
        score=row.score,
        path=frame.path,
        frame=frame.frame,
        frames=frame.frames,
        modality=frame.modality or guessed.get("modality"),
        body_part=frame.body_part or guessed.get("body_part"),
        view=frame.view,
        series=frame.series,
        rows=frame.rows,
        columns=frame.columns,
        study=frame.study,
        modality_guessed="modality" in guessed,
        body_part_guessed="body_part" in guessed,
        more=more,
        folded=row.folded,
    )
