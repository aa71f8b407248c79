"""Probes for tests that need one and do not care what it was taught."""

from __future__ import annotations

import numpy as np

from roco_search.library import Library
from roco_search.probe.probe import Claim, Limits, Probe


def drawn(library: Library) -> Probe:
    """A probe with two labels, whose figures nobody measured."""
    model = library.active()
    weights = np.random.default_rng(0).normal(size=(2, model.dim)).astype(np.float32)
    claim = Claim(9, 4, 5, {"auc": (0.9, 0.8, 0.95)}, {"auc": (0.6, 0.5, 0.7)})
    limits = Limits(0.5, 0.6, 0.4, 0.95, 0.95)
    return Probe(
        "told", ("one", "two"), weights, np.zeros(2, np.float32), (limits, limits), (claim, claim),
        model.model, model.fingerprint, "2026-01-01T00:00:00+00:00",
    )  # fmt: skip
