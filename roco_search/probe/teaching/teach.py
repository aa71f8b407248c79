"""Teaching a probe: examples become heads, thresholds, and claims that were measured on cases that no head had seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roco_search.library import Library, StoredFrame
from roco_search.probe.examples import Examples
from roco_search.probe.probe import Claim, Interval, Limits, Probe
from roco_search.probe.shelf import SHELF
from roco_search.probe.teaching.controls import shortcut, shuffled
from roco_search.probe.teaching.fitting import Material, fit_calibrated, held_out_logits, learning_curve, probabilities
from roco_search.probe.teaching.head import Basis
from roco_search.probe.teaching.zero_shot import ZeroShotStart, start_from_text
from roco_search.statistics.binary import measure, reliability, rule_in, rule_out
from roco_search.statistics.bootstrap import Estimate
from roco_search.statistics.classification import auc, youden
from roco_search.system.process import one_blas_thread
from roco_search.system.progress import Progress, following

if TYPE_CHECKING:
    from roco_search.models.encoder import Encoder

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]

CURVE = (5, 10, 20, 50, 100, 200)
_FEW = (1000.0, 100.0, 10.0)  # Penalties that suffice for a control.


@dataclass(frozen=True, slots=True)
class Taught:
    """A probe, and what is to be said about how it came about."""

    probe: Probe
    notes: tuple[str, ...] = field(default=())


@one_blas_thread()
def teach(
    library: Library,
    encoder: Encoder,
    name: str,
    examples: Examples,
    *,
    sensitivity: float = 0.95,
    specificity: float = 0.95,
    controls: bool = True,
    pictures: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Taught:
    """Teach a probe. Nothing is embedded anew.

    Parameters
    ----------
    library, encoder
        The library that has the examples, and its own model.
    name
        What the probe is called.
    examples
        What it is taught with.
    sensitivity, specificity
        What the thresholds that rule a label out and in are to reach on held-out cases, above 0 and at most 1.
    controls
        Also measure the controls and the learning curve.
    pictures
        For the shortcut control, open some of the files for their corners and borders.
    seed
        Of every division and draw.
    progress
        Follows the labels.

    Raises
    ------
    ModelMismatch, InputError, LibraryEmpty
    """
    SHELF.check_name(name)
    active = library.active()
    active.check_model(encoder)
    vectors = library.embeddings(examples.ids)
    frames = list(library.frames.get(examples.ids.tolist()).values())
    start = start_from_text(encoder, examples.names, frames, vectors, exclusive=examples.exclusive)
    space = Coordinates.of(library, start)
    coordinates = space.basis.coordinates(vectors)
    weights, biases, limits, claims = [], [], [], []
    with following(progress, len(examples.names)) as bar:
        for column in range(len(examples.names)):
            rows, positive = examples.of(column)
            prior = space.prior(vectors[rows], column)
            material = Material(coordinates[rows], prior, positive, examples.cases[rows])
            weight, bias, limit, claim = _head(
                material,
                [frames[row] for row in rows],
                start.probabilities[rows, column],
                (sensitivity, specificity),
                controls=controls,
                pictures=pictures,
                seed=seed,
            )
            whole, offset = space.whole(weight, column)
            weights.append(whole)
            biases.append(bias + offset)
            limits.append(limit)
            claims.append(claim)
            bar.advance(1)
    probe = Probe(
        name,
        examples.names,
        np.asarray(weights, np.float32),
        np.asarray(biases, np.float32),
        tuple(limits),
        tuple(claims),
        active.model,
        active.fingerprint,
        datetime.now(UTC).isoformat(timespec="seconds"),
        examples.ids,
    )
    return Taught(probe, _notes(examples, start))


def _notes(examples: Examples, start: ZeroShotStart) -> tuple[str, ...]:
    found = []
    if examples.missing:
        found.append(f"{examples.missing:,} rows name images that the library does not have; they are left out.")
    found += [f"Left out: {entry}." for entry in examples.left_out]
    if start.unread:
        found.append(f"There is no zero-shot start for some labels. {start.unread}")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Coordinates:
    """The coordinates that heads are fitted in, and the way back to embeddings."""

    basis: Basis
    directions: Floats  # (labels, dim)
    means: Floats  # (labels,): of the products over the library
    deviations: Floats

    @classmethod
    def of(cls, library: Library, start: ZeroShotStart) -> Coordinates:
        """Return the coordinates of a library, for heads that start in these directions."""
        matrix = library.embeddings()
        basis = Basis.of(matrix)
        some = np.asarray(matrix[:: max(1, len(matrix) // 8192)], np.float64) @ start.directions.T
        deviations = some.std(axis=0)
        return cls(basis, start.directions, some.mean(axis=0), np.where(deviations > 1e-9, deviations, 1.0))

    def prior(self, vectors: npt.NDArray[np.float32], column: int) -> Floats:
        """Return the zero-shot score of pictures in standard deviations over the library, float64 ``(n,)``."""
        scores = np.asarray(vectors, np.float64) @ self.directions[column]
        return np.asarray((scores - self.means[column]) / self.deviations[column])

    def whole(self, weights: Floats, column: int) -> tuple[Floats, float]:
        """Return a head ``(1 + rank,)`` of trust and weights as one vector on embeddings, and what its bias gains."""
        trust, inner = weights[0] / self.deviations[column], self.basis.axes @ weights[1:]
        vector = trust * self.directions[column] + inner
        return vector, float(-trust * self.means[column] - inner @ self.basis.mean)


def _head(
    material: Material,
    frames: Sequence[StoredFrame],
    zero_shot: Floats,
    asked: tuple[float, float],
    *,
    controls: bool,
    pictures: bool,
    seed: int,
) -> tuple[Floats, float, Limits, Claim]:
    """Return trust and weights ``(1 + rank,)``, bias, thresholds and claim of one label."""
    positive, cases = material.positive, material.cases
    kept = fit_calibrated(material, seed=seed)
    logits = held_out_logits(material, seed=seed)
    known = np.isfinite(logits)
    held_out, truth = probabilities(logits[known]), positive[known]
    figures = measure(held_out, truth, cases[known], seed=seed)
    claim = {
        "images": int(known.sum()),
        "positives": int(truth.sum()),
        "cases": len(np.unique(cases[known])),
        "head": {name: _interval(found) for name, found in figures.items()},
        "reliability": tuple(reliability(held_out, truth)),
        "penalty": kept.head.penalty,
        "trust": kept.head.trust,
    }
    if np.isfinite(zero_shot).all():
        before = measure(zero_shot[known], truth, cases[known], seed=seed)
        claim["zero_shot"] = {name: _interval(found) for name, found in before.items()}
        claim["gain"] = _interval(figures["auc"] - before["auc"])
    if controls:
        claim |= _controls(material, frames, pictures=pictures, seed=seed)
    limits = _limits(held_out, truth, asked)
    slope = kept.slope
    weights = slope * np.concatenate([[kept.head.trust], kept.head.weights])
    return weights, slope * kept.head.bias + kept.intercept, limits, Claim(**claim)  # type: ignore[arg-type]


def _controls(material: Material, frames: Sequence[StoredFrame], *, pictures: bool, seed: int) -> dict[str, object]:
    positive, cases = material.positive, material.cases
    found: dict[str, object] = {}
    nonsense = shuffled(positive, cases, seed)
    if nonsense.any() and not nonsense.all():
        logits = held_out_logits(replace(material, positive=nonsense), penalties=_FEW, seed=seed)
        known = np.isfinite(logits)
        if known.any() and len(np.unique(nonsense[known])) == 2:
            judged = measure(probabilities(logits[known]), nonsense[known], cases[known], seed=seed)
            found["shuffled"] = _interval(judged["auc"])
    rows, alone = shortcut(frames, positive, cases, pictures=pictures)
    if len(rows) and len(np.unique(positive[rows])) == 2:
        found["shortcut"] = _interval(measure(alone, positive[rows], cases[rows], seed=seed)["auc"])
    curve = learning_curve(material, CURVE, repeats=3, seed=seed)
    found["curve"] = {str(size): _spread(runs, positive) for size, runs in curve.items()}
    return found


def _spread(runs: Sequence[Floats], positive: Bools) -> Interval:
    areas = [auc(logits[known], positive[known]) for logits in runs if (known := np.isfinite(logits)).any()]
    return float(np.mean(areas)), float(np.min(areas)), float(np.max(areas))


def _limits(held_out: Floats, truth: Bools, asked: tuple[float, float]) -> Limits:
    sensitivity, specificity = asked
    best = youden(held_out, truth).probability
    upper = rule_in(held_out, truth, specificity).probability
    lower = rule_out(held_out, truth, sensitivity).probability
    if lower > upper:  # Both are met over a whole stretch: Youden's is inside, and nothing stays open.
        upper = lower = min(max(best, upper), lower)
    return Limits(best, upper, lower, sensitivity, specificity)


def _interval(found: Estimate) -> Interval:
    metric = found.metric
    return metric.value, metric.low, metric.high
