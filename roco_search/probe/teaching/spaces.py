"""Teaching a space: directions in which pictures of one label differ count less, those between labels count more.

In the coordinates of a `Basis`, embeddings are whitened by the covariance within labels, shrunk towards the identity
(Fisher 1936; Friedman 1989), and the directions between labels are stretched (`boost`). How much of either is chosen by
P@10 on cases held out. What a space claims is measured on halves of the cases, where the map was made, with that choice
inside, from the other half alone, and only pictures of the held-out half are compared with each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.library import Library
from roco_search.probe.cases import divide
from roco_search.probe.examples import Examples
from roco_search.probe.probe import Interval
from roco_search.probe.shelf import SHELF
from roco_search.probe.space import Space, SpaceClaim
from roco_search.probe.teaching.head import Basis
from roco_search.statistics.binary import cluster_weights
from roco_search.statistics.bootstrap import Estimate
from roco_search.system.process import one_blas_thread

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]

NEAREST = 10
SHRINKAGES = (1.0, 0.5, 0.2)
"""Of the covariance within labels, towards the identity; at 1 nothing is whitened but the library itself."""
BOOSTS = (0.0, 1.0, 3.0)
"""What is added to the length of the directions between labels."""
REPEATS = 3
LEAST = 40  # Images: each half needs more than ten to be compared with.
MOST = 3000  # Images that are measured: each is compared with every other.


@one_blas_thread()
def teach_space(library: Library, name: str, examples: Examples, *, seed: int = 0) -> Space:
    """Teach a space. Nothing is embedded anew, and no model is asked.

    Parameters
    ----------
    library
        The library that has the examples.
    name
        What the space is called.
    examples
        What it is taught with.
    seed
        Of every division.

    Returns
    -------
    Space
        With its claim; whether it is worth keeping is `SpaceClaim.better`.

    Raises
    ------
    InputError
        If there are too few images or cases to measure anything.
    LibraryEmpty
    """
    SHELF.check_name(name)
    active = library.active()
    basis = Basis.of(library.embeddings())
    rows = _sample(len(examples.ids), seed)
    vectors = library.embeddings(examples.ids)
    coordinates = basis.coordinates(vectors)
    unit = np.asarray(vectors[rows], np.float64)
    before, after = _measure(unit, coordinates[rows], examples.truth[rows], examples.cases[rows], seed)
    shrinkage, boost = _choose(coordinates[rows], examples.truth[rows], examples.cases[rows], seed)
    figures = {"before": _mean(before, examples.cases[rows], seed), "after": _mean(after, examples.cases[rows], seed)}
    claim = SpaceClaim(
        images=len(rows),
        cases=len(np.unique(examples.cases[rows])),
        before=_interval(figures["before"]),
        after=_interval(figures["after"]),
        gain=_interval(figures["after"] - figures["before"]),
        shrinkage=shrinkage,
        boost=boost,
    )
    axes = basis.axes @ fit_map(coordinates, examples.truth, shrinkage, boost)
    return Space(
        name,
        examples.names,
        np.asarray(axes, np.float32),
        np.asarray(basis.mean @ axes, np.float32),
        claim,
        active.model,
        active.fingerprint,
        datetime.now(UTC).isoformat(timespec="seconds"),
        examples.ids,
    )


def fit_map(coordinates: Floats, truth: Floats, shrinkage: float, boost: float) -> Floats:
    """Return the map of coordinates ``(n, rank)`` into the space, float64 ``(rank, rank)``; it is symmetric in parts.

    `truth` is float64 ``(n, labels)``: 1, 0, or NaN where nothing is said.
    """
    rank = coordinates.shape[1]
    within, between = np.zeros((rank, rank)), []
    for column in truth.T:
        sides = [coordinates[column == value] for value in (1, 0)]
        means = [side.mean(axis=0) for side in sides]
        count = sum(map(len, sides))
        for side, mean in zip(sides, means, strict=True):
            within += (side - mean).T @ (side - mean) / (count * truth.shape[1])
        between.append(means[0] - means[1])
    within *= rank / max(float(np.trace(within)), 1e-12)
    values, vectors = np.linalg.eigh((1 - shrinkage) * within + shrinkage * np.eye(rank))
    whiten = (vectors / np.sqrt(np.maximum(values, 1e-6))) @ vectors.T
    directions, sizes, _ = np.linalg.svd(whiten @ np.stack(between, axis=1), full_matrices=False)
    kept = directions[:, sizes > 1e-9]
    return np.asarray(whiten @ (np.eye(rank) + boost * kept @ kept.T))


def precisions(vectors: Floats, truth: Floats, cases: Ids) -> Floats:
    """Return P@10 by label, float64 ``(n, labels)``: NaN where a picture does not have the label.

    Of a picture's ten nearest among those of which the label is known and which are of other cases, the share that has
    it.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found = np.full(truth.shape, np.nan)
    for place, column in enumerate(truth.T):
        known = np.flatnonzero(np.isfinite(column))
        asked = np.flatnonzero(column == 1)
        similar = unit[asked] @ unit[known].T
        similar[cases[asked][:, None] == cases[known]] = -np.inf
        count = min(NEAREST, similar.shape[1])
        nearest = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        there = np.isfinite(np.take_along_axis(similar, nearest, axis=1))
        right = (column[known][nearest] == 1) & there
        found[asked, place] = right.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return found


def _sample(count: int, seed: int) -> Ids:
    order = np.random.default_rng(seed).permutation(count)[:MOST]
    return np.sort(order).astype(np.int64)


def _halves(truth: Floats, cases: Ids, seed: int) -> Iterator[Bools]:
    """Yield what each of two halves of the cases holds out, where every label has both sides in both."""
    counts = np.minimum((truth == 1).sum(axis=0), (truth == 0).sum(axis=0))
    half_of = divide(truth[:, int(counts.argmin())] == 1, cases, 2, seed)
    if not half_of.any():
        return
    for half in (0, 1):
        out = half_of == half
        if all((truth[part] == value).any(axis=0).all() for part in (out, ~out) for value in (0, 1)):
            yield out


def _choose(coordinates: Floats, truth: Floats, cases: Ids, seed: int) -> tuple[float, float]:
    """Return the shrinkage and the boost with the greatest P@10 on halves held out; none of either where equal."""
    totals = dict.fromkeys(product(SHRINKAGES, BOOSTS), 0.0)
    for out in _halves(truth, cases, seed):
        for chosen in totals:
            fitted = fit_map(coordinates[~out], truth[~out], *chosen)
            found = precisions(coordinates[out] @ fitted, truth[out], cases[out])
            totals[chosen] += float(np.nanmean(found, axis=0).mean())
    return max(totals, key=lambda chosen: totals[chosen])


def _measure(unit: Floats, coordinates: Floats, truth: Floats, cases: Ids, seed: int) -> tuple[Floats, Floats]:
    """Return P@10 of each picture before and after, ``(n, labels)``, mean of repeats."""
    if len(truth) < LEAST:
        raise InputError(f"{len(truth)} images are too few to measure a space; label {LEAST} or more.")
    runs: list[tuple[Floats, Floats]] = []
    for repeat in range(REPEATS):
        for out in _halves(truth, cases, seed + repeat):
            learned = coordinates[~out], truth[~out]
            fitted = fit_map(*learned, *_choose(*learned, cases[~out], seed + repeat + REPEATS))
            found = [np.full(truth.shape, np.nan) for _ in range(2)]
            found[0][out] = precisions(unit[out], truth[out], cases[out])
            found[1][out] = precisions(coordinates[out] @ fitted, truth[out], cases[out])
            runs.append((found[0], found[1]))
    if not runs:
        raise InputError("The labels are of too few cases to measure a space; label images of more cases.")
    before, after = (np.stack([run[side] for run in runs]) for side in (0, 1))
    counted = np.maximum(np.isfinite(before).sum(axis=0), 1)
    nothing = ~np.isfinite(before).any(axis=0)
    means = [np.where(nothing, np.nan, np.nansum(part, axis=0) / counted) for part in (before, after)]
    return means[0], means[1]


def _mean(values: Floats, cases: Ids, seed: int) -> Estimate:
    """Return the mean over labels of the mean over pictures, with resamples of whole cases."""
    there = np.isfinite(values)
    filled = np.where(there, values, 0.0)

    def figure(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.nanmean((weights @ filled) / (weights @ there.astype(np.float64)), axis=1))

    drawn = np.concatenate([figure(weights) for weights in cluster_weights(cases, seed)])
    return Estimate(float(figure(np.ones((1, len(values))))[0]), drawn)


def _interval(found: Estimate) -> Interval:
    metric = found.metric
    return metric.value, metric.low, metric.high
