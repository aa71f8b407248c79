"""Predictions of files against their truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from roco_search.evaluation.zero_shot import ZeroShot, evaluate_exclusive, evaluate_multi_label

from .engine import Classifier, Prediction
from .truth import Matched


def measure(
    classifier: Classifier,
    predictions: Sequence[Prediction],
    matched: Matched,
    thresholds: Mapping[str, float] | None = None,
) -> ZeroShot:
    """Measure predictions whose files have a truth.

    Parameters
    ----------
    classifier
        That made the predictions.
    predictions
        Of one frame of each file; those of which the truth says nothing do not count.
    matched
        The truth.
    thresholds
        Multi-label: the probability from which on each label is given; 0.5 without.

    Raises
    ------
    InputError
        If nothing is left to measure.
    """
    names = [label.name for label in classifier.labels]
    rows, truths = [], []
    for prediction in predictions:
        if prediction.path in matched.values:
            found = {entry.label: entry.probability for entry in prediction.labels}
            rows.append([found[name] for name in names])
            truths.append(matched.values[prediction.path])
    probabilities = np.array(rows, np.float64).reshape(-1, len(names))
    truth = np.array(truths, np.float64).reshape(-1, len(names))
    if classifier.mode == "exclusive":
        return evaluate_exclusive(probabilities, truth.argmax(axis=1), names)
    limits = None if thresholds is None else [thresholds[name] for name in names]
    return evaluate_multi_label(probabilities, truth, names, thresholds=limits)
