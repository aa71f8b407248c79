"""How well probabilities of one label agree with the truth, with intervals by case, and thresholds on them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from roco_search.statistics.bootstrap import RESAMPLES, Estimate
from roco_search.statistics.classification import Threshold, ratio, weighted_auc

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_LARGEST = 30.0  # Logits beyond which a probability is 0 or 1 in all but name.
_BLOCK = 2_000_000  # weights held at once
FIGURES = ("auc", "average_precision", "accuracy", "brier")


def sigmoid(logits: npt.NDArray[np.floating]) -> Floats:
    """Return logits as probabilities, without overflow."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -_LARGEST, _LARGEST))))


def measure(
    probabilities: Floats, positive: Bools, clusters: npt.NDArray[np.int64], *, limit: float = 0.5, seed: int = 0
) -> dict[str, Estimate]:
    """Return each of `FIGURES`, with resamples of whole clusters.

    Parameters
    ----------
    probabilities
        float64 ``(n,)``, 0 to 1.
    positive
        bool ``(n,)``; both classes occur.
    clusters
        int64 ``(n,)``: rows of one case, which are drawn together.
    limit
        The probability from which on the label is given, for the accuracy.
    seed
        Equal seeds and clusters draw the same resamples, so that differences of estimates are paired.
    """
    ones = np.ones((1, len(positive)))
    found = {name: value[0] for name, value in _figures(probabilities, positive, ones, limit).items()}
    drawn: dict[str, list[Floats]] = {name: [] for name in FIGURES}
    for weights in cluster_weights(clusters, seed):
        for name, values in _figures(probabilities, positive, weights, limit).items():
            drawn[name].append(values)
    return {name: Estimate(float(found[name]), np.concatenate(drawn[name])) for name in FIGURES}


def cluster_weights(clusters: npt.NDArray[np.int64], seed: int, resamples: int = RESAMPLES) -> Iterator[Floats]:
    """Yield bootstrap samples of clusters as the weight of each row, ``(resamples, n)`` in blocks."""
    _, of_row = np.unique(clusters, return_inverse=True)
    count = int(of_row.max()) + 1
    random = np.random.default_rng(seed)
    chances = np.full(count, 1 / count)
    block = max(1, _BLOCK // len(clusters))
    for start in range(0, resamples, block):
        drawn = random.multinomial(count, chances, min(block, resamples - start)).astype(np.float64)
        yield drawn[:, of_row]


def _figures(probabilities: Floats, positive: Bools, weights: Floats, limit: float) -> dict[str, Floats]:
    total = weights.sum(axis=1)
    right = ((probabilities >= limit) == positive).astype(np.float64)
    return {
        "auc": weighted_auc(probabilities, positive, weights),
        "average_precision": weighted_average_precision(probabilities, positive, weights),
        "accuracy": ratio(weights @ right, total),
        "brier": ratio(weights @ (probabilities - positive) ** 2, total),
    }


def weighted_average_precision(scores: Floats, positive: Bools, weights: Floats) -> Floats:
    """Average precision under each row of weights ``(resamples, n)``: precision at each score, by the recall it adds.

    Equal scores are taken together, as scikit-learn's ``average_precision_score`` does.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sorted_weights = weights[:, order]
    ups = np.add.reduceat(sorted_weights * positive[order], starts, axis=1)
    all_ = np.add.reduceat(sorted_weights, starts, axis=1)
    precision = np.nan_to_num(ratio(np.cumsum(ups, axis=1), np.cumsum(all_, axis=1)))
    return ratio((precision * ups).sum(axis=1), ups.sum(axis=1))


def rule_in(probabilities: Floats, positive: Bools, specificity: float) -> Threshold:
    """Return the lowest threshold at which a label is given with at least this specificity."""
    negatives = np.sort(probabilities[~positive])
    allowed = int(np.floor((1 - specificity) * len(negatives) + 1e-9))  # negatives that may be called positive
    highest = negatives[len(negatives) - 1 - allowed] if allowed < len(negatives) else 0.0
    above = probabilities[probabilities > highest]
    limit = float((above.min() + highest) / 2) if len(above) else float(np.nextafter(highest, 2))
    return _threshold(probabilities, positive, limit)


def rule_out(probabilities: Floats, positive: Bools, sensitivity: float) -> Threshold:
    """Return the highest threshold below which a label is denied, with at least this sensitivity."""
    positives = np.sort(probabilities[positive])
    allowed = int(np.floor((1 - sensitivity) * len(positives) + 1e-9))  # positives that may be missed
    least = positives[min(allowed, len(positives) - 1)]
    below = probabilities[probabilities < least]
    limit = float((below.max() + least) / 2) if len(below) else float(least)
    return _threshold(probabilities, positive, limit)


def _threshold(probabilities: Floats, positive: Bools, limit: float) -> Threshold:
    given = probabilities >= limit
    return Threshold(limit, float(given[positive].mean()), float((~given[~positive]).mean()))


def reliability(probabilities: Floats, positive: Bools, bins: int = 10) -> list[tuple[float, float, int]]:
    """Return mean probability, share of positives and count of equally filled bins, for a reliability plot."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, max(1, len(order) // 5))) if len(part)]
    return [(float(probabilities[part].mean()), float(positive[part].mean()), len(part)) for part in parts]
