"""Ranks and the metrics computed from them: recall@k, median and mean rank, mean reciprocal rank.

Ranks come first, and every metric is computed from them. Rank 1 is best. A candidate that scores as high as the
right one and says something else is ranked before it (a model that maps everything to one point earns nothing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.statistics.bootstrap import RESAMPLES, Figure, Metric, Values, estimate, metrics

Direction = Literal["image-to-text", "text-to-image"]
Matching = Literal["strict", "any"]
Ranks = npt.NDArray[np.int64]
DIRECTIONS: tuple[Direction, ...] = ("image-to-text", "text-to-image")
MATCHINGS: tuple[Matching, ...] = ("strict", "any")
KS = (1, 5, 10)
_LEVEL = 5e-7  # float32 rounding, and the batch that an image was embedded in, part equal scores by as much
_ROWS_AT_ONCE = 512  # of the similarity matrix: 8,176 columns of float32 are 16 MB then


def ranks(queries: np.ndarray, candidates: np.ndarray, captions: Sequence[str], matching: Matching = "strict") -> Ranks:
    """Rank of the right candidate for each query.

    Parameters
    ----------
    queries, candidates
        float32 ``(n, dim)`` of unit norm; row *i* of one belongs to row *i* of the other.
    captions
        The *n* captions.
    matching
        Under "any", a pair with the identical caption is as right as the query's own pair; under "strict", only its
        own pair is right, though a tie with the identical caption does not count against it.

    Returns
    -------
    numpy.ndarray
        int64 ``(n,)``, from 1. Scores within 5e-7 of each other are level.

    Raises
    ------
    InputError
        If an embedding is not finite, or the shapes do not belong together.
    """
    return _ranks(queries, candidates, captions, (matching,))[matching]


def ranks_both_ways(
    images: np.ndarray, texts: np.ndarray, captions: Sequence[str]
) -> dict[tuple[Direction, Matching], Ranks]:
    """Return the ranks of both directions under both rules, for the price of two matrix products; see `ranks`."""
    towers = {"image-to-text": (images, texts), "text-to-image": (texts, images)}
    found = {direction: _ranks(*towers[direction], captions, MATCHINGS) for direction in DIRECTIONS}
    return {(direction, matching): found[direction][matching] for matching in MATCHINGS for direction in DIRECTIONS}


def mean_recall(images: np.ndarray, texts: np.ndarray, captions: Sequence[str]) -> dict[str, float]:
    """Recall@1/5/10 over the whole pool, both directions, identical captions counting as found.

    Parameters
    ----------
    images, texts
        float32 ``(n, dim)`` of unit norm; row *i* of one belongs to row *i* of the other.
    captions
        The *n* captions.

    Returns
    -------
    dict of float
        Each 0 to 1: ``image-to-text recall@1`` … ``text-to-image recall@10``, and ``mean``, the mean of the six. There
        are no intervals; this is what training watches.

    Raises
    ------
    InputError
        If an embedding is not finite, or the shapes do not belong together.
    """
    figures: dict[str, float] = {}
    for direction, queries, candidates in (("image-to-text", images, texts), ("text-to-image", texts, images)):
        found = ranks(queries, candidates, captions, "any")
        figures |= {f"{direction} recall@{k}": float(recall(k, found)) for k in KS}
    return {**figures, "mean": float(np.mean(list(figures.values())))}


def _ranks(
    queries: np.ndarray, candidates: np.ndarray, captions: Sequence[str], matchings: Sequence[Matching]
) -> dict[Matching, Ranks]:
    check_embeddings(queries, candidates, len(captions))
    identity = identities(captions)
    found: dict[Matching, Ranks] = {matching: np.empty(len(queries), np.int64) for matching in matchings}
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(queries)))
        scores = queries[rows] @ candidates.T
        same = identity[rows, None] == identity[None, :]
        own = scores[np.arange(len(rows)), rows]
        for matching in matchings:
            found[matching][rows] = rank_of(scores, own, same, matching)
    return found


def identities(captions: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return int64 ``(n,)``, equal where captions are identical."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(caption, len(known)) for caption in captions], np.int64)


def rank_of(
    scores: npt.NDArray[np.float32], own: npt.NDArray[np.float32], same: npt.NDArray[np.bool_], matching: Matching
) -> Ranks:
    """Return the rank of the right candidate among the last axis.

    Parameters
    ----------
    scores, same
        ``(…, candidates)``: similarity, and whether the candidate has the query's own caption.
    own
        ``(…)``: similarity of the query's own candidate.
    matching
        Whether only the own candidate is right.
    """
    best = own if matching == "strict" else np.where(same, scores, -np.inf).max(axis=-1)
    before = ((scores >= best[..., None] - _LEVEL) & ~same).sum(axis=-1)
    if matching == "strict":
        before += ((scores > best[..., None] + _LEVEL) & same).sum(axis=-1)
    return np.asarray(1 + before)


def check_embeddings(queries: np.ndarray, candidates: np.ndarray, captions: int) -> None:
    """Refuse, by an `InputError`, embeddings that are not finite or not one for each caption."""
    if queries.shape != candidates.shape or captions != len(queries):
        raise InputError(
            f"{len(queries)} queries, {len(candidates)} candidates and {captions} captions do not belong "
            "together; give one of each for every pair."
        )
    for name, embeddings in (("queries", queries), ("candidates", candidates)):
        if bad := int((~np.isfinite(embeddings)).any(axis=1).sum()):
            raise InputError(
                f"{bad} embeddings of the {name} are not finite, so nothing can be said of this model; "
                "train it again with a lower learning rate or in fp32."
            )


def recall(k: int, found: Values) -> Values:
    """Return the share of ranks ``(…, n)`` that are at most *k*."""
    return np.asarray((found <= k).mean(axis=-1))


RANK_FIGURES: Mapping[str, Figure] = {
    **{f"recall@{k}": partial(recall, k) for k in KS},
    "median_rank": lambda found: np.median(found, axis=-1),
    "mean_rank": lambda found: found.mean(axis=-1),
    "mrr": lambda found: (1 / found).mean(axis=-1),
}


def summarize(found: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Metric]:
    """Recall@1/5/10, median and mean rank, and mean reciprocal rank of ranks int64 ``(n,)``.

    The intervals are percentile bootstrap intervals over the queries (Efron 1979).
    """
    return metrics(estimate(found, RANK_FIGURES, seed, resamples))
