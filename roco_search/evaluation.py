"""Retrieval measured so that a number cannot be confused: every figure knows its pool, its direction and its rule.

Ranks come first, and every metric is computed from them. Rank 1 is best. A candidate that scores as high as the
right one and says something else is ranked before it (a model that maps everything to one point earns nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from roco_search.errors import InputError

Direction = Literal["image-to-text", "text-to-image"]
Matching = Literal["strict", "any"]
KS = (1, 5, 10)
_ROWS_AT_ONCE = 512  # of the similarity matrix: 8,176 columns of float32 are 16 MB then


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One direction of one protocol. ``candidates`` is the size of the pool that each query was ranked in."""

    protocol: str
    direction: Direction
    matching: Matching
    queries: int
    candidates: int
    metrics: Mapping[str, Metric]


def ranks(
    queries: np.ndarray, candidates: np.ndarray, captions: Sequence[str], matching: Matching = "strict"
) -> np.ndarray:
    """Rank of the right candidate for each query.

    Parameters
    ----------
    queries, candidates : float32 ``(n, dim)`` of unit norm; row *i* of one belongs to row *i* of the other.
    captions : the *n* captions. Under ``any`` a pair with the identical caption is as right as the own one; under
        ``strict`` only the own one is, though a tie with the identical caption is not held against it.

    Returns
    -------
    int64 ``(n,)``, from 1.

    Raises
    ------
    InputError
        If an embedding is not finite, or the shapes do not belong together.
    """
    _check(queries, candidates, len(captions))
    _, identity = np.unique(np.asarray(captions), return_inverse=True)
    found = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(queries)))
        scores = queries[rows] @ candidates.T
        same = identity[rows, None] == identity[None, :]
        own = scores[np.arange(len(rows)), rows]
        best = np.where(same, scores, -np.inf).max(axis=1) if matching == "any" else own
        wrong_as_good = (scores >= best[:, None]) & ~same
        before = wrong_as_good.sum(axis=1)
        if matching == "strict":
            before += ((scores > best[:, None]) & same).sum(axis=1)
        found[rows] = 1 + before
    return found


def _check(queries: np.ndarray, candidates: np.ndarray, captions: int) -> None:
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


def summarize(found: np.ndarray, seed: int = 0, resamples: int = 1000) -> dict[str, Metric]:
    """Recall@1/5/10, median and mean rank, and mean reciprocal rank of ranks int64 ``(n,)``.

    The intervals are percentile bootstrap intervals over the queries (Efron 1979).
    """
    figures: dict[str, Callable[[np.ndarray], np.ndarray]] = {f"recall@{k}": partial(_recall, k) for k in KS}
    figures |= {
        "median_rank": lambda drawn: np.median(drawn, axis=-1),
        "mean_rank": lambda drawn: drawn.mean(axis=-1),
        "mrr": lambda drawn: (1 / drawn).mean(axis=-1),
    }
    samples: dict[str, list[np.ndarray]] = {name: [] for name in figures}
    for drawn in _resamples(found, seed, resamples):
        for name, figure in figures.items():
            samples[name].append(figure(drawn))
    return {
        name: Metric(float(figure(found)), *map(float, np.percentile(np.concatenate(samples[name]), (2.5, 97.5))))
        for name, figure in figures.items()
    }


def _recall(k: int, found: np.ndarray) -> np.ndarray:
    return np.asarray((found <= k).mean(axis=-1))


def _resamples(values: np.ndarray, seed: int, count: int) -> Iterator[np.ndarray]:
    """Yield ``count`` bootstrap samples, in blocks small enough for any pool."""
    random = np.random.default_rng(seed)
    block = max(1, 2_000_000 // max(1, len(values)))
    for start in range(0, count, block):
        yield values[random.integers(0, len(values), (min(block, count - start), len(values)))]


def whole_pool(images: np.ndarray, texts: np.ndarray, captions: Sequence[str]) -> list[Retrieval]:
    """Both directions over all *n* pairs, strict and any-match."""
    directions: Mapping[Direction, tuple[np.ndarray, np.ndarray]] = {
        "image-to-text": (images, texts),
        "text-to-image": (texts, images),
    }
    rules: tuple[Matching, ...] = ("strict", "any")
    results = []
    for matching in rules:
        for direction, (queries, candidates) in directions.items():
            found = ranks(queries, candidates, captions, matching)
            results.append(Retrieval("whole pool", direction, matching, len(found), len(found), summarize(found)))
    return results


def roco_v1(images: np.ndarray, texts: np.ndarray, batch: int = 32) -> dict[str, float]:
    """The batch-wise figures of ROCO-Radiology-CLIP, to the letter: they are not recall over the test set.

    Contiguous batches of 32 in the order of the data set, the last one short; image to text only; ranks by the
    order of a descending sort, so that a tie may count as found; the mean over all images.
    """
    _check(images, texts, len(images))
    hits = dict.fromkeys((1, 5), 0)
    for start in range(0, len(images), batch):
        scores = images[start : start + batch] @ texts[start : start + batch].T
        order = np.argsort(-scores, axis=1, kind="stable")
        place = (order == np.arange(len(scores))[:, None]).argmax(axis=1)
        for k in hits:
            hits[k] += int((place < k).sum())
    return {f"batch-wise recall@{k}": hits[k] / len(images) for k in hits}


def shuffled_32(
    images: np.ndarray, texts: np.ndarray, captions: Sequence[str], shuffles: int = 20, seed: int = 0
) -> dict[str, float]:
    """Image-to-text recall among 32 candidates, the mean over 20 shuffles; the remainder of each is dropped.

    Any caption identical to the own one counts as found.
    """
    if len(images) < 32:
        raise InputError(f"{len(images)} pairs are too few for batches of 32; use the whole pool instead.")
    random = np.random.default_rng(seed)
    texts_of = np.asarray(captions)
    hits: dict[int, list[float]] = {k: [] for k in (1, 5)}
    for _ in range(shuffles):
        order = random.permutation(len(images))
        for start in range(0, len(order) - 31, 32):
            rows = order[start : start + 32]
            found = ranks(images[rows], texts[rows], list(texts_of[rows]), "any")
            for k, values in hits.items():
                values.append(float((found <= k).mean()))
    return {f"shuffled-32 recall@{k}": float(np.mean(values)) for k, values in hits.items()}
