"""Percentile bootstrap (Efron 1979): how far a figure would move on another sample of the same size.

What is resampled are the queries or images that were measured; the pool that they were ranked in stays as it is.
Queries that depend on each other, such as the captions of one image, are drawn together (a cluster bootstrap). Two
models that are measured on the same pairs are resampled together, so that the difference knows that they share what is
hard (a paired bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
_BLOCK = 2_000_000  # values drawn at once, so that any pool fits

Values = npt.NDArray[Any]
Figure = Callable[[Values], Any]
"""From values ``(…, n, …)`` to ``(…)``: one figure for each sample."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A figure with what it is on each resample, float ``(resamples,)``; NaN where it is not defined there."""

    value: float
    drawn: Values

    @property
    def metric(self) -> Metric:
        """The figure with its percentile interval, over the resamples in which it is defined."""
        drawn = self.drawn[np.isfinite(self.drawn)]
        low, high = np.percentile(drawn, (2.5, 97.5)) if len(drawn) else (self.value, self.value)
        return Metric(self.value, float(low), float(high))

    def __sub__(self, other: Estimate) -> Estimate:
        """Return the difference, where both were drawn with the same seed from the same queries."""
        return Estimate(self.value - other.value, self.drawn - other.drawn)


def estimate(
    values: Values,
    figures: Mapping[str, Figure],
    seed: int,
    resamples: int = RESAMPLES,
    clusters: npt.NDArray[np.int64] | None = None,
) -> dict[str, Estimate]:
    """Return each figure of ``values`` and of resamples of them.

    Parameters
    ----------
    values
        ``(n,)``, or ``(n, parts)`` where a figure needs several numbers of each query.
    figures
        Called with ``(samples, n)`` or ``(samples, n, parts)``, and with ``values`` themselves. Where clusters differ
        in size, *n* is filled up with NaN.
    seed
        The same seed and the same *n* draw the same rows: that is what makes a comparison paired.
    resamples
        How many.
    clusters
        ``(n,)``: the cluster of each query, numbered from 0. As many clusters are drawn as there are, each with all of
        its queries. None where each query is its own.
    """
    drawn: dict[str, list[Values]] = {name: [] for name in figures}
    members = None if clusters is None else _members(clusters)
    if members is not None and (members < 0).any():
        values = np.concatenate([values.astype(np.float64), np.full((1, *values.shape[1:]), np.nan)])  # row -1
    size, most = (len(values), 1) if members is None else members.shape
    for rows in _rows(size, seed, resamples, most):
        sample = values[rows] if members is None else values[members[rows].reshape(len(rows), -1)]
        for name, figure in figures.items():
            drawn[name].append(figure(sample))
    return {name: Estimate(float(figure(values)), np.concatenate(drawn[name])) for name, figure in figures.items()}


def _members(clusters: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Return the queries of each cluster, ``(clusters, most)``, filled up with -1; None if each has one."""
    sizes = np.bincount(clusters)
    if (sizes == 1).all():
        return None
    members = np.full((len(sizes), sizes.max()), -1, np.int64)
    order = np.argsort(clusters, kind="stable")
    place = np.arange(len(clusters)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    members[clusters[order], place] = order
    return members


def _rows(count: int, seed: int, resamples: int, most: int = 1) -> Iterator[npt.NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK // max(1, count * most))
    for start in range(0, resamples, block):
        yield random.integers(0, count, (min(block, resamples - start), count))


def metrics(estimates: Mapping[str, Estimate]) -> dict[str, Metric]:
    """Return the figures with their intervals."""
    return {name: found.metric for name, found in estimates.items()}


def differences(first: Mapping[str, Estimate], second: Mapping[str, Estimate]) -> dict[str, Metric]:
    """Return how much larger each figure that both have is in the first, with the interval of that."""
    return {name: (found - second[name]).metric for name, found in first.items() if name in second}
