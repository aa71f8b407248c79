"""How much each piece of evidence counts, and from where on a hit fits: fitted once for a model, and kept beside it.

``scripts/relevance/fit.py`` fits them. A model without ``relevance.json``, or with that of others, gets `DEFAULT`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from roco_search.models.encoder import Encoder
from roco_search.search.senses import directory_of

FILE = "relevance.json"
FORMAT = 1
LEAST_ROWS = 50  # Of a library whose own chance of a near picture says more than that of all libraries.
FALSE_ALARM = 0.02
"""The share of pictures without a finding that reach what makes it certain (`Weights.certain`)."""
FIXED = {"captions": 10.0, "view": 1.0, "laterality": 1.0}
"""Weights of what no model is asked for, so that one serves all.

A caption that affirms the whole query outweighs most of what a picture can say against it.
"""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of the sum that is the logit of relevance.

    Attributes
    ----------
    pieces
        By the name of the piece of evidence.
    offsets
        What is added for each piece of which a query says something, and "always".
    thresholds
        Logits of a library's best hit that two in a hundred, one in twenty and one in five queries reach that nothing
        answers.
    detectable
        The findings that the model's heads detect, in their order, by the names that `senses.detectable_key` gives
        them, each with the classes of "modality" and "body_part" among which it was learned.
    noise
        `Facts.noise` of the pictures that the thresholds were measured on; None if that is not known.
    certain
        The log-probability of a finding's head that `FALSE_ALARM` of held-out pictures without the finding reach, by
        its name. Only of findings that ten times as large a share of the pictures with it reach, since a likelihood
        ratio of ten is what makes a test's result nearly certain (Jaeschke et al. 1994).
    certain_classes
        The log-probability of a class of `senses` that `FALSE_ALARM` of the held-out pictures of its nearest other
        class reach, with the share of pictures of all others that do, by names such as "body_part:chest@CT", for
        CTs alone. Empty if too few of the class reach it; a name without "@" holds for other modalities.
    """

    pieces: Mapping[str, float]
    offsets: Mapping[str, float] = field(default_factory=dict)
    thresholds: tuple[float, float, float] = (2.0, 1.0, 0.0)
    detectable: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    noise: float | None = None
    certain: Mapping[str, float] = field(default_factory=dict)
    certain_classes: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def of(self, name: str) -> float:
        """Return the weight of a piece; 0 for one that was not fitted."""
        return FIXED.get(name, self.pieces.get(name, 0.0))

    def offset_of(self, asked: Sequence[str]) -> float:
        """Return what is added for a query that says something of these pieces."""
        return self.offsets.get("always", 0.0) + sum(self.offsets.get(name, 0.0) for name in asked)

    def thresholds_for(self, rows: int, noise: float | None) -> tuple[float, float, float]:
        """Return the thresholds for a library with so many rows and this `Facts.noise`.

        They move with what chance brings there. In a library of few rows that is too little to go by.
        """
        if noise is None or self.noise is None or rows < LEAST_ROWS:
            return self.thresholds
        strong, fair, weak = (least + self.of("text") * (noise - self.noise) for least in self.thresholds)
        return strong, fair, weak

    def as_json(self) -> dict[str, Any]:
        """Return what `load` reads."""
        return asdict(self)


DEFAULT = Weights(
    pieces={
        "text": 10.0,
        "finding": 3.0,
        "excluded": -6.0,
        "modality": 0.5,
        "body_part": 0.4,
        "place": 0.2,
        "plane": 0.4,
        "picture": 0.4,
        "seen": 0.5,
        "unseen": 0.5,
        "usual": 0.3,
    },
    offsets={"always": -4.0},
)
"""For a model that none were fitted to.

With roco-mini's embeddings, without the heads and weights that were fitted to them, this answers every kind of query of
``scripts/bench relevance`` better than the cosine of the words as typed does, but for plain ones (0.976 against 0.982).
"""


def load(encoder: Encoder) -> Weights:
    """Return the weights of a model: those beside its files if they were fitted to it, else the default."""
    folder = directory_of(encoder)
    if folder is None or not (folder / FILE).exists():
        return DEFAULT
    content = json.loads((folder / FILE).read_bytes())
    if (content.get("format"), content.get("fingerprint")) != (FORMAT, encoder.fingerprint):
        return DEFAULT
    thresholds, noise = tuple(content["thresholds"]), content.get("noise")
    certain, classes = content.get("certain", {}), content.get("certain_classes", {})
    return Weights(content["pieces"], content["offsets"], thresholds, content["detectable"], noise, certain, classes)
