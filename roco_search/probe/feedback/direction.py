"""A ranking that learns from yes and no: Rocchio's at first, a head's from a few marks on.

Both add a direction to the vector that ranks. Its strength is measured against the query's own spread over the library,
so that it means the same for a cosine, and for the sum of evidence that ranks the answers to a text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from roco_search.library import Library
from roco_search.probe.teaching.head import Basis, fit
from roco_search.system.process import one_blas_thread

Floats = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float32]

HEAD_FROM = 5  # Marks, of both kinds, from which a head is fitted.
NO_WEIGHT = 0.5  # Of the mean of what was rejected, in Rocchio's sum; Salton and Buckley (1990) found it to help least.
ROCCHIO = 0.7  # Spread of what marks add, in spreads of the query's scores.
PENALTY = 10.0  # This and the line above were chosen on training images that nobody had marked.
LEAST_TRUST = 0.3
_SAMPLE = 4096  # Rows of the library over which spreads are measured.


@one_blas_thread()
def learned(library: Library, query: Vector, yes: Sequence[int], no: Sequence[int]) -> Vector:
    """Return what marks add to the vector that ranks, float32 ``(dim,)``.

    Parameters
    ----------
    library
        The library, in whose order the marks were made.
    query
        What ranked the page, float32 ``(dim,)``, of any length: scores are products with it.
    yes, no
        Ids of the frames that were marked; those without a vector are passed over.

    Returns
    -------
    float32 ``(dim,)``; zero without marks. Add it to `query`, or pass it to `search` as `toward`.

    Raises
    ------
    LibraryEmpty
    """
    with library.snapshot():
        liked, refused = (library.embeddings(library.embedded(np.array(sorted(ids), np.int64))) for ids in (yes, no))
        matrix = library.embeddings()
        some = np.asarray(matrix[:: max(1, len(matrix) // _SAMPLE)], np.float64)
    if not len(liked) and not len(refused):
        return np.zeros(len(query), np.float32)
    scores = some @ np.asarray(query, np.float64)
    mean, spread = float(scores.mean()), float(scores.std()) or 1.0
    if len(liked) and len(refused) and len(liked) + len(refused) >= HEAD_FROM:
        added = _by_head(some, liked, refused, query, mean, spread)
    else:
        added = _by_means(some, liked, refused, spread)
    return np.asarray(added, np.float32)


def refine(library: Library, query: Vector, yes: Sequence[int], no: Sequence[int]) -> Vector:
    """Return the vector that ranks after some marks, float32 ``(dim,)``, for `search(vector=…)`; see `learned`."""
    return query + learned(library, query, yes, no)


def _by_means(some: Floats, liked: Vector, refused: Vector, spread: float) -> Floats:
    """Return Rocchio's direction (1971): towards the mean of what was liked, away from that of what was refused."""
    centre = some.mean(axis=0)
    toward = np.zeros(some.shape[1])
    if len(liked):
        toward += np.asarray(liked, np.float64).mean(axis=0) - centre
    if len(refused):
        toward -= NO_WEIGHT * (np.asarray(refused, np.float64).mean(axis=0) - centre)
    own = float((some @ toward).std())
    return np.asarray(toward * (ROCCHIO * spread / own)) if own > 1e-9 else toward


def _by_head(some: Floats, liked: Vector, refused: Vector, query: Vector, mean: float, spread: float) -> Floats:
    """Return the direction of a head that starts from the query's own scores."""
    basis = Basis.of(some.astype(np.float32))
    vectors = np.concatenate([liked, refused]).astype(np.float64)
    positive = np.arange(len(vectors)) < len(liked)
    prior = (vectors @ np.asarray(query, np.float64) - mean) / spread
    head = fit(basis.coordinates(vectors), prior, positive, PENALTY)
    return np.asarray(basis.axes @ head.weights * (spread / max(head.trust, LEAST_TRUST)))
