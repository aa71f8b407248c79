"""Area under the ROC curve, and the threshold that serves best, of one label against all else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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
