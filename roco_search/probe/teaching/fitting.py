"""Heads with a penalty weighed by cross-validation, and their probabilities for pictures that they have not seen.

Heads of several penalties are averaged, each weighed by its held-out likelihood (pseudo-BMA; Yao et al. 2018): with few
examples the likeliest penalty is half a matter of chance, and the mean of heads is a head. Everything is divided by
case. What a head may claim comes from an outer division, inside which the penalties are weighed and the probabilities
calibrated on an inner one (nested cross-validation; Varma and Simon 2006), so that no figure has seen what it is
measured on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roco_search.probe.cases import FOLDS, divide
from roco_search.probe.teaching.head import PENALTIES, Fitted, calibrate, fit, log_losses
from roco_search.statistics.binary import sigmoid

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What heads are fitted on: pictures of which one label is known.

    Attributes
    ----------
    coordinates, prior, positive
        As for `fit`: float64 ``(n, rank)`` and ``(n,)``, bool ``(n,)``.
    cases
        int64 ``(n,)``; no fold divides one.
    """

    coordinates: Floats
    prior: Floats
    positive: Bools
    cases: Ids

    def of(self, rows: Bools | Ids) -> Material:
        """Return some of the pictures."""
        return Material(self.coordinates[rows], self.prior[rows], self.positive[rows], self.cases[rows])

    def fit(self, penalty: float, start: Fitted | None = None) -> Fitted:
        """Return the head of one penalty; see `fit`."""
        return fit(self.coordinates, self.prior, self.positive, penalty, start)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A head whose logits ``slope · logit + intercept`` are calibrated on held-out pictures."""

    head: Fitted
    slope: float
    intercept: float

    def logits(self, coordinates: Floats, prior: Floats) -> Floats:
        """Return calibrated logits, float64 ``(n,)``."""
        return self.slope * self.head.logits(coordinates, prior) + self.intercept


def held_out_rows(positive: Bools, cases: Ids, folds: int = FOLDS, seed: int = 0) -> Iterator[Bools]:
    """Yield what each fold holds out, bool ``(n,)``, wherever what is left to learn from has both classes."""
    fold_of = divide(positive, cases, folds, seed)
    for fold in range(int(fold_of.max()) + 1 if fold_of.any() else 0):
        out = fold_of == fold
        if positive[~out].any() and not positive[~out].all():
            yield out


def fit_calibrated(
    material: Material, *, folds: int = FOLDS, penalties: Sequence[float] = PENALTIES, seed: int = 0
) -> Calibrated:
    """Fit a head: penalties are weighed by their held-out likelihood, and it is calibrated on the same folds.

    Parameters
    ----------
    material
        The pictures; both classes occur.
    folds, penalties, seed
        The division, and the penalties that are tried, the strongest first.
    """
    positive = material.positive
    held_out = np.zeros((len(penalties), len(positive)))
    judged = np.zeros(len(positive), bool)
    for out in held_out_rows(positive, material.cases, folds, seed):
        judged |= out
        learned, rest, start = material.of(~out), material.of(out), None
        for row, penalty in enumerate(penalties):
            start = learned.fit(penalty, start)
            held_out[row, out] = start.logits(rest.coordinates, rest.prior)
    if not judged.any():  # One case on a side: only the prior can be trusted.
        return Calibrated(material.fit(penalties[0]), 1.0, 0.0)
    losses = np.array([log_losses(logits[judged], positive[judged]).sum() for logits in held_out])
    weights = np.exp(losses.min() - losses)
    weights /= weights.sum()
    heads: list[Fitted] = []
    for penalty in penalties:
        heads.append(material.fit(penalty, heads[-1] if heads else None))
    return Calibrated(_mean(heads, weights), *calibrate(weights @ held_out[:, judged], positive[judged]))


def _mean(heads: Sequence[Fitted], weights: Floats) -> Fitted:
    """Return the weighted mean of heads; its penalty is their geometric mean."""
    return Fitted(
        float(sum(weight * head.bias for weight, head in zip(weights, heads, strict=True))),
        float(sum(weight * head.trust for weight, head in zip(weights, heads, strict=True))),
        weights @ np.stack([head.weights for head in heads]),
        float(np.exp(weights @ np.log([head.penalty for head in heads]))),
    )


def held_out_logits(
    material: Material, *, folds: int = FOLDS, penalties: Sequence[float] = PENALTIES, seed: int = 0
) -> Floats:
    """Return the calibrated logit of each picture by a head that has seen nothing of its case; NaN where none could.

    The parameters are those of `fit_calibrated`, which is asked once for each fold.
    """
    found = np.full(len(material.positive), np.nan)
    for out in held_out_rows(material.positive, material.cases, folds, seed):
        inner = fit_calibrated(material.of(~out), folds=max(2, folds - 2), penalties=penalties, seed=seed + 1)
        found[out] = inner.logits(material.coordinates[out], material.prior[out])
    return found


def learning_curve(
    material: Material,
    sizes: Sequence[int],
    *,
    among: Bools | None = None,
    repeats: int = 5,
    seed: int = 0,
) -> dict[int, list[Floats]]:
    """Return, for numbers of examples a class, the logits of all other cases by heads of so many, ``(n,)`` each.

    Each repeat draws its examples anew, one a case while there are others, from the rows of `among` (all by default). A
    logit is NaN where the case was learned from. Sizes that leave fewer than `LEAST_LEFT` of a class to measure are
    left out.
    """
    positive, cases = material.positive, material.cases
    found: dict[int, list[Floats]] = {}
    random = np.random.default_rng(seed)
    usable = np.arange(len(positive)) if among is None else np.flatnonzero(among)
    orders = [random.permutation(usable) for _ in range(repeats)]
    for size in sizes:
        for order in orders:
            learned = np.concatenate([_draw(order[positive[order] == side], cases, size) for side in (True, False)])
            rest = ~np.isin(cases, cases[learned])
            if len(learned) < 2 * size or min((rest & positive).sum(), (rest & ~positive).sum()) < LEAST_LEFT:
                continue
            fitted = fit_calibrated(material.of(learned), seed=seed)
            logits = np.full(len(positive), np.nan)
            logits[rest] = fitted.logits(material.coordinates[rest], material.prior[rest])
            found.setdefault(size, []).append(logits)
    return found


LEAST_LEFT = 3


def _draw(order: Ids, cases: Ids, size: int) -> Ids:
    """Return the first rows of an order, those of new cases before others of theirs."""
    _, first = np.unique(cases[order], return_index=True)
    new = np.sort(first)
    rest = np.setdiff1d(np.arange(len(order)), new)
    return np.asarray(order[np.concatenate([new, rest])[:size]])


def probabilities(logits: Floats) -> Floats:
    """Return logits as probabilities; NaN stays."""
    return np.where(np.isnan(logits), np.nan, sigmoid(np.nan_to_num(logits)))
