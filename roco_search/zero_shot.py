"""Zero-shot classification measured: accuracy and AUC with 95 % bootstrap intervals, and thresholds.

One engine for every evaluation of probabilities against truth. It knows neither models nor files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.evaluation import Metric

Floats = npt.NDArray[np.float64]
RESAMPLES = 1000
_BLOCK = 2_000_000  # weights held at once


@dataclass(frozen=True, slots=True)
class Threshold:
    """The probability from which on a label is given, with what that gave on the images it was chosen on."""

    probability: float
    sensitivity: float
    specificity: float


@dataclass(frozen=True, slots=True)
class LabelResult:
    """One label against all else. ``auc`` and ``youden`` are None where only one of the two classes occurs."""

    label: str
    images: int
    positives: int
    auc: Metric | None
    youden: Threshold | None


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """An evaluation.

    Attributes
    ----------
    mode
        "exclusive" or "multi-label".
    images
        How many were measured.
    accuracy
        Exclusive: share of images whose most probable label is the true one. Multi-label: share of all decisions
        (an image and a label) that are right.
    decided_by
        How a label was given: by the highest probability, by probability 0.5, or by thresholds.
    macro_auc
        Mean of the AUC of the labels that have one; None where none has.
    labels
        Each label's own figures.
    confusion
        Exclusive: images of the true label (row) called so (column), in the order of `labels`.
    """

    mode: str
    images: int
    accuracy: Metric
    decided_by: str
    macro_auc: Metric | None
    labels: tuple[LabelResult, ...]
    confusion: tuple[tuple[int, ...], ...] | None = None


def evaluate_exclusive(
    probabilities: Floats, truth: npt.NDArray[np.int64], labels: Sequence[str], *, seed: int = 0
) -> ZeroShot:
    """Measure labels that exclude each other.

    Parameters
    ----------
    probabilities
        float ``(n, labels)``.
    truth
        int ``(n,)``: which label is the true one.
    labels
        Their names.
    seed
        Of the bootstrap.

    Raises
    ------
    InputError
        If there is no image, a probability is not finite, or the shapes do not belong together.
    """
    if truth.shape != (len(probabilities),) or (truth.size and not 0 <= truth.min() <= truth.max() < len(labels)):
        raise InputError("The truth does not belong to these probabilities; give the number of a label for each image.")
    known = (truth[:, None] == np.arange(len(labels))).astype(np.float64)
    _check(probabilities, known, labels)
    called = probabilities.argmax(axis=1)
    right = (called == truth).astype(np.float64)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (truth, called), 1)
    rows = tuple(tuple(int(count) for count in row) for row in confusion)
    accuracy, macro, results = _measure(probabilities, known, right[:, None], labels, seed)
    return ZeroShot("exclusive", len(truth), accuracy, "highest probability", macro, results, rows)


def evaluate_multi_label(
    probabilities: Floats,
    truth: Floats,
    labels: Sequence[str],
    *,
    thresholds: Sequence[float] | None = None,
    seed: int = 0,
) -> ZeroShot:
    """Measure labels that stand each alone.

    Parameters
    ----------
    probabilities
        float ``(n, labels)``.
    truth
        float ``(n, labels)``: 1, 0, or NaN where it is not known; the label then does not count for that image.
    labels
        Their names.
    thresholds
        The probability from which on each is given; 0.5 without.
    seed
        Of the bootstrap.

    Raises
    ------
    InputError
        If there is no image, a probability is not finite, or the shapes do not belong together.
    """
    _check(probabilities, truth, labels)
    if not np.isfinite(truth).any():
        raise InputError("The truth knows none of these labels for any of these images; check the truth file.")
    limits = np.full(len(labels), 0.5) if thresholds is None else np.asarray(thresholds, np.float64)
    right = np.where(np.isnan(truth), np.nan, (probabilities >= limits) == (truth == 1))
    accuracy, macro, results = _measure(probabilities, truth, right, labels, seed)
    decided_by = "probability 0.5" if thresholds is None else "the given thresholds"
    return ZeroShot("multi-label", len(truth), accuracy, decided_by, macro, results)


def _check(probabilities: Floats, truth: Floats, labels: Sequence[str]) -> None:
    if probabilities.shape != truth.shape or probabilities.ndim != 2 or probabilities.shape[1] != len(labels):
        raise InputError(
            f"Probabilities {probabilities.shape}, truth {truth.shape} and {len(labels)} labels do not belong together."
        )
    if not len(probabilities):
        raise InputError("There is no image to measure; check that the truth file speaks of the given images.")
    if not np.isfinite(probabilities).all():
        raise InputError("A probability is not finite, so nothing can be said of this model; try another one.")


def auc(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve, a tie counting one half (Hanley and McNeil 1982); NaN for a single class.

    Parameters
    ----------
    scores, positive
        ``(n,)`` each.
    """
    return float(_weighted_auc(scores, positive, np.ones((1, len(scores))))[0])


def _weighted_auc(scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """AUC under each row of weights ``(resamples, n)``: the scores are sorted once for all of them."""
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    sorted_weights = weights[:, order]
    ups = np.add.reduceat(sorted_weights * positive[order], starts, axis=1)
    downs = np.add.reduceat(sorted_weights * ~positive[order], starts, axis=1)
    below = np.cumsum(downs, axis=1) - downs
    won = (ups * (below + downs / 2)).sum(axis=1)
    pairs = ups.sum(axis=1) * downs.sum(axis=1)
    return _ratio(won, pairs)


def youden(scores: Floats, positive: npt.NDArray[np.bool_]) -> Threshold:
    """Threshold with the highest sensitivity + specificity - 1 (Youden 1950); of equal ones the highest.

    It lies half-way to the next lower score, so that rounding moves no image across it. Needs both classes.
    """
    values, place = np.unique(scores, return_inverse=True)
    ups = np.bincount(place, positive, len(values))[::-1].cumsum()[::-1] / positive.sum()
    downs = np.bincount(place, ~positive, len(values))[::-1].cumsum()[::-1] / (~positive).sum()
    gain = ups - downs
    best = len(values) - 1 - int(gain[::-1].argmax())
    lower = values[best - 1] if best else 0.0
    return Threshold(float((values[best] + lower) / 2), float(ups[best]), float(1 - downs[best]))


def _measure(
    probabilities: Floats, truth: Floats, right: Floats, labels: Sequence[str], seed: int
) -> tuple[Metric, Metric | None, tuple[LabelResult, ...]]:
    """Accuracy, macro AUC and each label, all from the same bootstrap samples of the images."""
    known = [np.isfinite(truth[:, index]) for index in range(len(labels))]
    positive = [truth[known[index], index] == 1 for index in range(len(labels))]
    usable = [index for index, values in enumerate(positive) if 0 < values.sum() < len(values)]
    decided = np.isfinite(right)
    hits, decisions = np.where(decided, right, 0).sum(axis=1), decided.sum(axis=1).astype(np.float64)
    accuracies: list[Floats] = []
    areas: list[Floats] = []
    for weights in _weights(len(truth), seed):
        made = weights @ decisions
        accuracies.append(_ratio(weights @ hits, made))
        columns = [
            _weighted_auc(probabilities[known[index], index], positive[index], weights[:, known[index]])
            for index in usable
        ]
        areas.append(np.stack(columns, axis=1) if columns else np.empty((len(weights), 0)))
    accuracy = _metric(float(hits.sum() / decisions.sum()), np.concatenate(accuracies))
    drawn = np.concatenate(areas)
    results, values = [], []
    for index, label in enumerate(labels):
        scores, ups = probabilities[known[index], index], positive[index]
        area = limit = None
        if index in usable:
            values.append(auc(scores, ups))
            area, limit = _metric(values[-1], drawn[:, usable.index(index)]), youden(scores, ups)
        results.append(LabelResult(label, len(ups), int(ups.sum()), area, limit))
    macro = _metric(float(np.mean(values)), _row_means(drawn)) if values else None
    return accuracy, macro, tuple(results)


def _row_means(drawn: Floats) -> Floats:
    """Mean over the labels that have an AUC in a resample: a rare label may have no image in some."""
    there = np.isfinite(drawn)
    count = there.sum(axis=1)
    total = np.where(there, drawn, 0).sum(axis=1)
    return _ratio(total, count)


def _ratio(above: Floats, below: npt.NDArray[Any]) -> Floats:
    """Divide; NaN where there is nothing to divide by."""
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))


def _weights(count: int, seed: int) -> Iterator[Floats]:
    """Yield bootstrap samples (Efron 1979) as how often each image is drawn, ``(resamples, n)`` in blocks."""
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK // count)
    chances = np.full(count, 1 / count)
    for start in range(0, RESAMPLES, block):
        yield random.multinomial(count, chances, min(block, RESAMPLES - start)).astype(np.float64)


def _metric(value: float, drawn: Floats) -> Metric:
    """Percentile interval. Resamples in which the figure is not defined do not count."""
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, (2.5, 97.5)) if len(drawn) else (value, value)
    return Metric(value, float(low), float(high))
