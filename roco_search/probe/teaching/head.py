"""A logistic head on stored embeddings that starts from what the model already believes.

The logit of a picture is ``bias + trust · prior + coordinates · weights``. The *prior* is a score that exists before
the first example: the cosine with the text direction of the label (or, for marks, the score that ranked the page). The
ridge penalty holds the weights at zero and the trust at one, so that a head of few examples is the zero-shot answer
with its threshold moved, and examples take over as they become more. Penalised logistic regression is solved by
Newton's method (iteratively reweighted least squares; Hastie, Tibshirani and Friedman 2009, 4.4.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roco_search.statistics.binary import sigmoid

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

RANK = 128  # Components of the library's embeddings that a head sees; what is left has little variance.
SAMPLE = 8192  # Rows of a library from which the components are computed.
PENALTIES = (10_000.0, 300.0, 100.0, 30.0, 10.0)
"""Ridge penalties among which cross-validation weighs, the strongest first: there only the prior is left."""
TRUST_PENALTY = 2.0
_STEPS = 25
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Basis:
    """The principal components of embeddings, half-way whitened, with a variance of one on average.

    Half-way: a coordinate is divided by the square root of its standard deviation, so that directions in which the
    library varies little count for more than their variance, and for less than the others.

    Attributes
    ----------
    mean
        float64 ``(dim,)``.
    axes
        float64 ``(dim, rank)``.
    """

    mean: Floats
    axes: Floats

    @classmethod
    def of(cls, vectors: npt.NDArray[np.float32], rank: int = RANK) -> Basis:
        """Return the components of embeddings, float32 ``(n, dim)``."""
        step = max(1, len(vectors) // SAMPLE)
        wide = np.asarray(vectors[::step], np.float64)
        mean = wide.mean(axis=0)
        wide = wide - mean
        values, axes = np.linalg.eigh(wide.T @ wide / max(1, len(wide) - 1))
        order = np.argsort(values)[::-1][:rank]
        values, axes = values[order], axes[:, order]
        kept = values > max(1e-12, values[0] * 1e-6)
        deviations = np.sqrt(values[kept])
        return cls(mean, axes[:, kept] / np.sqrt(deviations * max(deviations.mean(), 1e-12)))

    def coordinates(self, vectors: npt.NDArray[np.floating]) -> Floats:
        """Return embeddings ``(n, dim)`` in these coordinates, float64 ``(n, rank)``."""
        return (np.asarray(vectors, np.float64) - self.mean) @ self.axes


@dataclass(frozen=True, slots=True)
class Fitted:
    """One fitted head in the coordinates of a `Basis`: logit = bias + trust · prior + coordinates · weights."""

    bias: float
    trust: float
    weights: Floats
    penalty: float

    def logits(self, coordinates: Floats, prior: Floats) -> Floats:
        """Return the logits of pictures, float64 ``(n,)``."""
        return self.bias + self.trust * prior + coordinates @ self.weights


def fit(
    coordinates: Floats,
    prior: Floats,
    positive: Bools | Floats,
    penalty: float,
    start: Fitted | None = None,
    *,
    trust: float = 1.0,
    trust_penalty: float = TRUST_PENALTY,
) -> Fitted:
    """Fit a head.

    Parameters
    ----------
    coordinates
        float64 ``(n, rank)``.
    prior
        float64 ``(n,)``, with a standard deviation of about one over the library.
    positive
        bool ``(n,)``; both classes occur. Or float64, the probability that each is taken to have.
    penalty
        Of the squared length of the weights; see `PENALTIES`.
    start
        A head of nearly the same examples or penalty, from which fewer steps are needed.
    trust, trust_penalty
        Where the penalty holds the trust, and how firmly.
    """
    count, rank = coordinates.shape
    design = np.column_stack([np.ones(count), prior, coordinates])
    penalties = np.concatenate([[1e-4, trust_penalty], np.full(rank, penalty)])
    centre = np.zeros(rank + 2)
    centre[1] = trust
    theta = np.concatenate([[start.bias, start.trust], start.weights]) if start else centre.copy()
    target = positive.astype(np.float64)
    loss = _loss(design, target, penalties, centre, theta)
    for _ in range(_STEPS):
        probability = sigmoid(design @ theta)
        gradient = design.T @ (probability - target) + penalties * (theta - centre)
        curvature = np.maximum(probability * (1 - probability), 1e-9)
        step = _solve(design, curvature, penalties, gradient)
        size = 1.0
        while (fresh := _loss(design, target, penalties, centre, theta - size * step)) > loss and size > 1e-4:
            size /= 2
        gained, loss = loss - fresh, fresh
        theta = theta - size * step
        if gained < _TOLERANCE * (1 + loss):
            break
    return Fitted(float(theta[0]), float(theta[1]), theta[2:], penalty)


def _solve(design: Floats, curvature: Floats, penalties: Floats, gradient: Floats) -> Floats:
    """Solve ``(design' C design + P) step = gradient``, in the smaller of the two dimensions (Woodbury)."""
    count, width = design.shape
    weighted = design * np.sqrt(curvature)[:, None]
    if width <= count:
        hessian = weighted.T @ weighted
        hessian[np.diag_indices(width)] += penalties
        return np.asarray(np.linalg.solve(hessian, gradient), np.float64)
    scaled = weighted / penalties
    inner = scaled @ weighted.T
    inner[np.diag_indices(count)] += 1
    return np.asarray(gradient / penalties - scaled.T @ np.linalg.solve(inner, scaled @ gradient), np.float64)


def _loss(design: Floats, target: Floats, penalties: Floats, centre: Floats, theta: Floats) -> float:
    logits = design @ theta
    return float((np.logaddexp(0, logits) - target * logits).sum() + (penalties * (theta - centre) ** 2).sum() / 2)


def log_losses(logits: Floats, positive: Bools) -> Floats:
    """Return the negative log likelihood of each picture, float64 ``(n,)``."""
    return np.logaddexp(0, np.where(positive, -logits, logits))


def calibrate(logits: Floats, positive: Bools) -> tuple[float, float]:
    """Return slope and intercept that make held-out logits calibrated (Platt 1999, with his smoothed targets).

    The slope is held at one with the weight of one example, so that few examples cannot turn it round.
    """
    ups, downs = int(positive.sum()), int((~positive).sum())
    target = np.where(positive, (ups + 1) / (ups + 2), 1 / (downs + 2))
    found = fit(np.empty((len(logits), 0)), logits, target, 0.0, trust_penalty=1.0)
    return max(found.trust, 0.0), found.bias
