"""A taught probe: a linear head for each of its labels, what it may claim, and the model that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.probe.binding import BoundToModel, pack, read_whose, unpack
from roco_search.statistics.binary import sigmoid

Vectors = npt.NDArray[np.float32]
Interval = tuple[float, float, float]
"""A figure and its 95 % interval."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the head of one label may claim, measured on pictures whose case it had not seen.

    Attributes
    ----------
    images, positives, cases
        How many it was measured on.
    head, zero_shot
        AUC, average precision, accuracy and Brier score by name, each with its interval by case. Zero-shot is empty
        where the model can read nothing of the label.
    gain
        AUC of the head above that of zero-shot, paired.
    shuffled
        AUC where each case had the labels of another: 0.5, or the division leaks.
    shortcut
        AUC of a head that sees headers, sizes, corners and borders alone; None where it could not be measured.
    curve
        By the number of examples a class, mean, least and greatest AUC of heads of so many on all other cases.
    reliability
        Of equally filled bins: mean probability, share of positives, and number of pictures.
    penalty, trust
        Of the head that was kept: the ridge penalty, and the weight of the zero-shot score.
    """

    images: int
    positives: int
    cases: int
    head: dict[str, Interval]
    zero_shot: dict[str, Interval] = field(default_factory=dict)
    gain: Interval | None = None
    shuffled: Interval | None = None
    shortcut: Interval | None = None
    curve: dict[str, Interval] = field(default_factory=dict)
    reliability: tuple[tuple[float, float, int], ...] = ()
    penalty: float = 0.0
    trust: float = 0.0

    @property
    def worse(self) -> bool:
        """Whether the head orders these pictures no better than the model did before it was taught."""
        return self.gain is not None and self.gain[0] < 0

    @property
    def surely_worse(self) -> bool:
        """Whether that is more than chance: all of the interval of the gain is below 0."""
        return self.gain is not None and self.gain[2] < 0

    @property
    def suspect(self) -> bool:
        """Whether headers, sizes, corners and borders alone tell the label (nearly) as well as the head does."""
        if self.shortcut is None or self.shortcut[1] <= 0.5:
            return False
        return self.shortcut[0] >= min(0.9, self.head["auc"][0] - 0.05)


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds on the probability of a label, measured on held-out pictures.

    Attributes
    ----------
    best
        Youden's.
    rule_in, rule_out
        From `rule_in` on a picture has the label with the specificity asked for; below `rule_out` it does not, with
        the sensitivity asked for. Between them nothing is said.
    sensitivity, specificity
        What was asked for.
    """

    best: float
    rule_in: float
    rule_out: float
    sensitivity: float
    specificity: float


@dataclass(frozen=True, slots=True, eq=False)
class Probe(BoundToModel):
    """Heads for the labels of one probe.

    Attributes
    ----------
    name
        What its owner calls it.
    labels
        The labels.
    weights, bias
        float32 ``(labels, dim)`` and ``(labels,)``: the logit of a picture is ``weights · embedding + bias``.
    limits, claims
        For each label.
    model, fingerprint
        The model whose embeddings it reads; no other's mean the same.
    made
        When, as ISO 8601.
    learned
        Ids of the frames that it was taught with, int64; not passed on with an exported probe.
    """

    name: str
    labels: tuple[str, ...]
    weights: Vectors
    bias: Vectors
    limits: tuple[Limits, ...]
    claims: tuple[Claim, ...]
    model: str
    fingerprint: str
    made: str
    learned: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def probabilities(self, vectors: Vectors) -> Vectors:
        """Return the probability of each label, float32 ``(n, dim)`` to ``(n, labels)``."""
        return np.asarray(sigmoid(vectors @ self.weights.T + self.bias), np.float32)

    def place(self, label: str | None) -> int:
        """Return the number of a label; of the only one where None is given.

        Raises
        ------
        InputError
            If the probe does not have it.
        """
        names = ", ".join(map(repr, self.labels))
        if label is None and len(self.labels) > 1:
            raise InputError(f"The probe {self.name} has the labels {names}; name one as NAME:LABEL.")
        found = next((place for place, own in enumerate(self.labels) if label is None or own == label), None)
        if found is None:
            raise InputError(f"The probe {self.name} has no label {label!r}; it has {names}.")
        return found

    def caveats(self) -> Iterator[str]:
        """Yield what has to be known before the figures are believed, as sentences."""
        worse = [pair for pair in zip(self.labels, self.claims, strict=True) if pair[1].worse]
        for words, sure in (("worse than", True), ("no better than", False)):
            if some := [(label, claim) for label, claim in worse if claim.surely_worse is sure]:
                said = ", ".join(
                    f"{label!r} (AUC {claim.head['auc'][0]:.3f}, untaught {claim.zero_shot['auc'][0]:.3f})"
                    for label, claim in some
                )
                yield f"The head orders images {words} the model untaught, which `roco classify` asks: {said}."
        for label, claim in zip(self.labels, self.claims, strict=True):
            if not claim.worse and claim.head["auc"][1] <= 0.5:
                yield (
                    f"{label!r}: the interval of the AUC reaches 0.5, so nothing is shown to be learned yet; label "
                    "more images."
                )
            if claim.suspect and claim.shortcut is not None:
                yield (
                    f"{label!r} can be told by headers, image size, corners and borders alone (AUC "
                    f"{claim.shortcut[0]:.3f}); the head may have learned that instead of the finding."
                )
            if claim.shuffled is not None and claim.shuffled[1] > 0.5:
                yield (
                    f"{label!r}: shuffled labels give more than 0.5, so one case may be in several folds; name what "
                    "belongs together as `case`."
                )


def dump(probe: Probe) -> bytes:
    """Return a probe as safetensors with a card, a few kilobytes."""
    card = {
        "limits": [asdict(limits) for limits in probe.limits],
        "claims": [asdict(claim) for claim in probe.claims],
    }
    return pack(probe, card, {"weights": np.ascontiguousarray(probe.weights), "bias": probe.bias})


def load(content: bytes, name: str | None = None) -> Probe:
    """Return a probe from what `dump` wrote, under its own name or another; raises nearly anything for other content.

    Nothing of it is trusted; `library.shelf` makes a sentence of what is raised.
    """
    card, tensors = unpack(content)
    whose = read_whose(card, tensors, name)
    count, weights, bias = len(whose["labels"]), tensors["weights"], tensors["bias"]
    if weights.dtype != np.float32 or bias.dtype != np.float32 or weights.ndim != 2:
        raise ValueError("other types")
    if weights.shape[0] != count or bias.shape != (count,):
        raise ValueError("other shapes")
    limits = tuple(Limits(**{name: float(value) for name, value in entry.items()}) for entry in card["limits"])
    claims = tuple(_claim(entry) for entry in card["claims"])
    if not len(limits) == len(claims) == count:
        raise ValueError("other counts")
    return Probe(weights=weights, bias=bias, limits=limits, claims=claims, **whose)


def interval(values: Any) -> Interval | None:
    """Return a figure and its interval from three numbers of a card; None for none."""
    if values is None:
        return None
    value, low, high = map(float, values)
    return value, low, high


def _claim(entry: dict[str, Any]) -> Claim:
    def intervals(table: dict[str, Any]) -> dict[str, Interval]:
        return {str(name): found for name, values in table.items() if (found := interval(values)) is not None}

    head = intervals(entry["head"])
    if "auc" not in head:
        raise ValueError("no figure")
    return Claim(
        images=int(entry["images"]),
        positives=int(entry["positives"]),
        cases=int(entry["cases"]),
        head=head,
        zero_shot=intervals(entry["zero_shot"]),
        gain=interval(entry["gain"]),
        shuffled=interval(entry["shuffled"]),
        shortcut=interval(entry["shortcut"]),
        curve=intervals(entry["curve"]),
        reliability=tuple((float(mean), float(share), int(count)) for mean, share, count in entry["reliability"]),
        penalty=float(entry["penalty"]),
        trust=float(entry["trust"]),
    )
