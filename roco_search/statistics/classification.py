"""Classification measured: accuracy and area under the ROC curve with 95 % bootstrap intervals, and thresholds.

One engine for every evaluation of probabilities against truth. It knows neither models nor files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.statistics.bootstrap import RESAMPLES, Estimate, Metric, differences

_BLOCK = 2_000_000  # weights held at once
_TOP = 5


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
    mean_per_class_recall, top_5_accuracy
        Exclusive: the mean over the labels of the share of their images that is called so; and, with more than five
        labels, the share of images whose true label is among the five most probable.
    """

    mode: str
    images: int
    accuracy: Metric
    decided_by: str
    macro_auc: Metric | None
    labels: tuple[LabelResult, ...]
    confusion: tuple[tuple[int, ...], ...] | None = None
    mean_per_class_recall: Metric | None = None
    top_5_accuracy: Metric | None = None


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
        The seed of the bootstrap.

    Raises
    ------
    InputError
        If there is no image, a probability is not finite, or the shapes do not belong together.
    """
    known, right = _of_exclusive(probabilities, truth, labels)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (truth, probabilities.argmax(axis=1)), 1)
    found, results = _measure(probabilities, known, right, labels, seed)
    return ZeroShot(
        "exclusive",
        len(truth),
        found["accuracy"].metric,
        "highest probability",
        _metric(found, "macro_auc"),
        results,
        tuple(tuple(int(count) for count in row) for row in confusion),
        _metric(found, "mean_per_class_recall"),
        _metric(found, "top_5_accuracy"),
    )


def compare_exclusive(
    first: Floats, second: Floats, truth: npt.NDArray[np.int64], labels: Sequence[str], *, seed: int = 0
) -> dict[str, Metric]:
    """Return how much better the first of two models is on the same images, by a paired bootstrap.

    The parameters are those of `evaluate_exclusive`, with the probabilities of two models. The figures are those of
    `ZeroShot`: accuracy, macro_auc, mean_per_class_recall, top_5_accuracy.
    """
    both = [
        _measure(probabilities, *_of_exclusive(probabilities, truth, labels), labels, seed)[0]
        for probabilities in (first, second)
    ]
    return differences(*both)


def _of_exclusive(probabilities: Floats, truth: npt.NDArray[np.int64], labels: Sequence[str]) -> tuple[Floats, Floats]:
    """Return the truth as ``(n, labels)`` of 0 and 1, and whether each image is called right, ``(n, 1)``."""
    if truth.shape != (len(probabilities),) or (truth.size and not 0 <= truth.min() <= truth.max() < len(labels)):
        raise InputError("The truth does not belong to these probabilities; give the number of a label for each image.")
    known = (truth[:, None] == np.arange(len(labels))).astype(np.float64)
    _check(probabilities, known, labels)
    return known, (probabilities.argmax(axis=1) == truth).astype(np.float64)[:, None]


def evaluate_multi_label(
    probabilities: Floats,
    truth: Floats,
    labels: Sequence[str],
    *,
    thresholds: Sequence[float] | None = None,
    seed: int = 0,
) -> ZeroShot:
    """Measure labels that are each judged on their own.

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
        The seed of the bootstrap.

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
    found, results = _measure(probabilities, truth, right, labels, seed)
    decided_by = "probability 0.5" if thresholds is None else "the given thresholds"
    accuracy, macro = found["accuracy"].metric, _metric(found, "macro_auc")
    return ZeroShot("multi-label", len(truth), accuracy, decided_by, macro, results)


def _check(probabilities: Floats, truth: Floats, labels: Sequence[str]) -> None:
    if probabilities.shape != truth.shape or probabilities.ndim != 2 or probabilities.shape[1] != len(labels):
        raise InputError(
            f"Probabilities {probabilities.shape}, truth {truth.shape} and {len(labels)} labels do not belong together."
        )
    if not len(probabilities):
        raise InputError("There is no image to measure; check that the truth file covers the given images.")
    if not np.isfinite(probabilities).all():
        raise InputError("A probability is not finite, so nothing can be said of this model; try another one.")


def _measure(
    probabilities: Floats, truth: Floats, right: Floats, labels: Sequence[str], seed: int
) -> tuple[dict[str, Estimate], tuple[LabelResult, ...]]:
    """Return each figure over all labels, and each label's own, all from the same bootstrap samples of the images."""
    known = [np.isfinite(truth[:, index]) for index in range(len(labels))]
    positive = [truth[known[index], index] == 1 for index in range(len(labels))]
    usable = [index for index, values in enumerate(positive) if 0 < values.sum() < len(values)]
    shares = _shares(probabilities, truth, right)
    drawn: dict[str, list[Floats]] = {name: [] for name in shares}
    areas: list[Floats] = []
    for weights in _weights(len(truth), seed):
        for name, (hits, decisions) in shares.items():
            drawn[name].append(_row_means(ratio(weights @ hits, weights @ decisions)))
        columns = [
            weighted_auc(probabilities[known[index], index], positive[index], weights[:, known[index]])
            for index in usable
        ]
        areas.append(np.stack(columns, axis=1) if columns else np.empty((len(weights), 0)))
    figures = {
        name: Estimate(
            float(_row_means(ratio(hits.sum(axis=0), decisions.sum(axis=0))[None])[0]), np.concatenate(drawn[name])
        )
        for name, (hits, decisions) in shares.items()
    }
    of_label = {
        index: Estimate(auc(probabilities[known[index], index], positive[index]), np.concatenate(areas)[:, place])
        for place, index in enumerate(usable)
    }
    if of_label:
        macro = float(np.mean([area.value for area in of_label.values()]))
        figures["macro_auc"] = Estimate(macro, _row_means(np.concatenate(areas)))
    results = tuple(
        LabelResult(
            label,
            len(positive[index]),
            int(positive[index].sum()),
            of_label[index].metric if index in of_label else None,
            youden(probabilities[known[index], index], positive[index]) if index in of_label else None,
        )
        for index, label in enumerate(labels)
    )
    return figures, results


def _metric(found: Mapping[str, Estimate], name: str) -> Metric | None:
    return found[name].metric if name in found else None


def _shares(probabilities: Floats, truth: Floats, right: Floats) -> Mapping[str, tuple[Floats, Floats]]:
    """Return, by figure, hits and decisions ``(n, parts)``: the figure is the mean of the parts' hits / decisions."""
    decided = np.isfinite(right)
    hits, decisions = np.where(decided, right, 0), decided.astype(np.float64)
    shares = {"accuracy": (hits.sum(axis=1, keepdims=True), decisions.sum(axis=1, keepdims=True))}
    if right.shape[1] == 1 < truth.shape[1]:  # labels that exclude each other: one decision an image
        shares["mean_per_class_recall"] = (truth * right, truth)
        if truth.shape[1] > _TOP:
            of_true = (probabilities * truth).sum(axis=1, keepdims=True)
            among = (probabilities >= of_true).sum(axis=1, keepdims=True) <= _TOP
            shares["top_5_accuracy"] = (among.astype(np.float64), np.ones((len(truth), 1)))
    return shares


def _row_means(drawn: Floats) -> Floats:
    """Mean over the labels that have a figure in a resample: a rare label may have no image in some."""
    there = np.isfinite(drawn)
    return ratio(np.where(there, drawn, 0).sum(axis=1), there.sum(axis=1))


def _weights(count: int, seed: int) -> Iterator[Floats]:
    """Yield bootstrap samples (Efron 1979) as how often each image is drawn, ``(resamples, n)`` in blocks."""
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK // count)
    chances = np.full(count, 1 / count)
    for start in range(0, RESAMPLES, block):
        yield random.multinomial(count, chances, min(block, RESAMPLES - start)).astype(np.float64)


Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Threshold:
    """The probability from which on a label is given, with what that gave on the images it was chosen on."""

    probability: float
    sensitivity: float
    specificity: float


def auc(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve, a tie counting one half (Hanley and McNeil 1982); NaN for a single class.

    Parameters
    ----------
    scores, positive
        ``(n,)`` each.
    """
    return float(weighted_auc(scores, positive, np.ones((1, len(scores))))[0])


def weighted_auc(scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """AUC under each row of weights ``(resamples, n)``: the scores are sorted once for all of them."""
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    sorted_weights = weights[:, order]
    ups = np.add.reduceat(sorted_weights * positive[order], starts, axis=1)
    downs = np.add.reduceat(sorted_weights * ~positive[order], starts, axis=1)
    below = np.cumsum(downs, axis=1) - downs
    won = (ups * (below + downs / 2)).sum(axis=1)
    pairs = ups.sum(axis=1) * downs.sum(axis=1)
    return ratio(won, pairs)


def youden(scores: Floats, positive: npt.NDArray[np.bool_]) -> Threshold:
    """Threshold with the highest sensitivity + specificity - 1 (Youden 1950); of equal ones the highest.

    It is half-way to the next lower score, so that rounding moves no image across it. Needs both classes.
    """
    values, place = np.unique(scores, return_inverse=True)
    ups = np.bincount(place, positive, len(values))[::-1].cumsum()[::-1] / positive.sum()
    downs = np.bincount(place, ~positive, len(values))[::-1].cumsum()[::-1] / (~positive).sum()
    gain = ups - downs
    best = len(values) - 1 - int(gain[::-1].argmax())
    lower = values[best - 1] if best else 0.0
    return Threshold(float((values[best] + lower) / 2), float(ups[best]), float(1 - downs[best]))


def ratio(above: Floats, below: npt.NDArray[Any]) -> Floats:
    """Divide element by element; NaN where there is nothing to divide by."""
    return np.asarray(np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0))
