"""Ranks and the metrics computed from them: recall@k, median and mean rank, mean reciprocal rank.

Ranks come first, and every metric is computed from them. Rank 1 is best. A candidate that scores as high as the
right one and says something else is ranked before it (a model that maps everything to one point earns nothing).

One image is one candidate, however many captions it has, and any of its captions is right (as in CLIP_benchmark).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.statistics.bootstrap import RESAMPLES, Figure, Metric, Values, estimate, metrics

Direction = Literal["image-to-text", "text-to-image"]
Matching = Literal["strict", "any"]
Ranks = npt.NDArray[np.int64]
Owners = npt.NDArray[np.int64]
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
        own pair is right, and a tie with the identical caption is decided by the order of the pairs.

    Returns
    -------
    numpy.ndarray
        int64 ``(n,)``, from 1. Scores within 5e-7 of each other are level.

    Raises
    ------
    InputError
        If an embedding is not finite, or the shapes do not belong together.
    """
    owners = check_embeddings(queries, candidates, len(captions))
    return _Pool(queries, candidates, owners, identities(captions)).images_to_texts((matching,))[matching]


def ranks_both_ways(
    images: np.ndarray, texts: np.ndarray, captions: Sequence[str], owners: Owners | None = None
) -> dict[tuple[Direction, Matching], Ranks]:
    """Return the ranks of both directions under both rules, for the price of two matrix products.

    Parameters
    ----------
    images, texts
        float32 ``(images, dim)`` and ``(texts, dim)`` of unit norm.
    captions
        The captions.
    owners
        int64 ``(texts,)``: the row of the image that each caption belongs to; each image has one at least. None where
        row *i* of one belongs to row *i* of the other.

    Returns
    -------
    dict of numpy.ndarray
        int64, from 1: ``(images,)`` for image-to-text, the best rank of any of the image's captions, and ``(texts,)``
        for text-to-image. Under "any", what has an identical caption is right too; under "strict" it is not, and a tie
        with it is decided by the order.

    Raises
    ------
    InputError
        If an embedding is not finite, or the shapes do not belong together.
    """
    owners = check_embeddings(images, texts, len(captions), owners)
    pool = _Pool(images, texts, owners, identities(captions))
    return {
        (direction, matching): found[matching]
        for found, direction in (
            (pool.images_to_texts(MATCHINGS), DIRECTIONS[0]),
            (pool.texts_to_images(), DIRECTIONS[1]),
        )
        for matching in MATCHINGS
    }


def mean_recall(
    images: np.ndarray, texts: np.ndarray, captions: Sequence[str], owners: Owners | None = None
) -> dict[str, float]:
    """Recall@1/5/10 over the whole pool, both directions, identical captions counting as found.

    Parameters
    ----------
    images, texts, captions, owners
        As for `ranks_both_ways`.

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
    found = ranks_both_ways(images, texts, captions, owners)
    figures = {
        f"{direction} recall@{k}": float(recall(k, found[direction, "any"])) for direction in DIRECTIONS for k in KS
    }
    return {**figures, "mean": float(np.mean(list(figures.values())))}


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    """Images and captions that are ranked against each other; ``identity`` is equal where captions are."""

    images: np.ndarray
    texts: np.ndarray
    owners: Owners
    identity: npt.NDArray[np.int64]

    def images_to_texts(self, matchings: Sequence[Matching]) -> dict[Matching, Ranks]:
        """Return the best rank of the captions of each image."""
        order = np.argsort(self.owners, kind="stable")
        starts = np.searchsorted(self.owners[order], np.arange(len(self.images) + 1))
        found = {matching: np.empty(len(self.images), np.int64) for matching in matchings}
        for start in range(0, len(self.images), _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(self.images)))
            scores = self.images[rows] @ self.texts.T
            said = np.zeros((len(rows), self.identity.max() + 1), bool)
            mine = order[starts[rows[0]] : starts[rows[-1] + 1]]
            said[self.owners[mine] - rows[0], self.identity[mine]] = True
            own = self.owners[None, :] == rows[:, None]
            _rank(found, rows, scores, own, said[:, self.identity])
        return found

    def texts_to_images(self) -> dict[Matching, Ranks]:
        """Return the rank of the image of each caption."""
        showing = _group(self.identity, self.owners)
        found: dict[Matching, Ranks] = {matching: np.empty(len(self.texts), np.int64) for matching in MATCHINGS}
        for start in range(0, len(self.texts), _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(self.texts)))
            scores = self.texts[rows] @ self.images.T
            same = np.zeros(scores.shape, bool)
            for place, row in enumerate(rows.tolist()):
                same[place, showing[self.identity[row]]] = True
            own = self.owners[rows, None] == np.arange(len(self.images))[None, :]
            _rank(found, rows, scores, own, same)
        return found


def _rank(
    found: Mapping[Matching, Ranks],
    rows: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
    own: npt.NDArray[np.bool_],
    same: npt.NDArray[np.bool_],
) -> None:
    """Fill in the ranks of some rows, by each rule that is asked for."""
    for matching, ranked in found.items():
        ranked[rows] = rank_strict(scores, own, same) if matching == "strict" else rank_any(scores, same)


def _group(keys: npt.NDArray[np.int64], values: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Return for each key, from 0, its values."""
    order = np.argsort(keys, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(keys))[:-1])


def identities(captions: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return int64 ``(n,)``, equal where captions are identical."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(caption, len(known)) for caption in captions], np.int64)


def rank_any(scores: npt.NDArray[np.float32], same: npt.NDArray[np.bool_]) -> Ranks:
    """Return the rank of the best right candidate among the last axis.

    Parameters
    ----------
    scores
        ``(…, candidates)``: similarity.
    same
        ``(…, candidates)``: whether the candidate is right, being the query's own or having an identical caption.
    """
    best = np.where(same, scores, -np.inf).max(axis=-1)
    return np.asarray(1 + ((scores >= best[..., None] - _LEVEL) & ~same).sum(axis=-1))


def rank_strict(scores: npt.NDArray[np.float32], own: npt.NDArray[np.bool_], same: npt.NDArray[np.bool_]) -> Ranks:
    """Return the rank of the best of the query's own candidates among the last axis.

    As `rank_any`; ``own`` is which candidates are the query's own. A tie with an identical caption is decided by the
    order of the candidates: of *m* images with the same caption, *k* find theirs among the first *k*.
    """
    best = np.where(own, scores, -np.inf).max(axis=-1)[..., None]
    level = scores >= best - _LEVEL
    place = (own & level).argmax(axis=-1)[..., None]
    earlier = np.arange(scores.shape[-1]) < place
    before = level & ~own & (~same | earlier | (scores > best + _LEVEL))
    return np.asarray(1 + before.sum(axis=-1))


def check_embeddings(
    queries: np.ndarray, candidates: np.ndarray, captions: int, owners: Owners | None = None
) -> Owners:
    """Return the owners of captions; refuse, by an `InputError`, what is not finite or does not belong together."""
    if owners is None:
        owners = np.arange(len(queries))
    together = queries.shape[1:] == candidates.shape[1:] and len(candidates) == captions == len(owners)
    if not together or (len(owners) and not np.array_equal(np.unique(owners), np.arange(len(queries)))):
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
    return owners


def recall(k: int, found: Values) -> Values:
    """Return the share of ranks ``(…, n)`` that are at most *k*; NaN is none."""
    return np.asarray((found <= k).sum(axis=-1) / np.isfinite(found).sum(axis=-1))


RANK_FIGURES: Mapping[str, Figure] = {
    **{f"recall@{k}": partial(recall, k) for k in KS},
    "median_rank": lambda found: (np.nanmedian if np.isnan(found).any() else np.median)(found, axis=-1),
    "mean_rank": lambda found: np.nanmean(found, axis=-1),
    "mrr": lambda found: np.nanmean(1 / found, axis=-1),
}


def summarize(found: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Metric]:
    """Recall@1/5/10, median and mean rank, and mean reciprocal rank of ranks int64 ``(n,)``.

    The intervals are percentile bootstrap intervals over the queries (Efron 1979).
    """
    return metrics(estimate(found, RANK_FIGURES, seed, resamples))
