"""Zero-shot classification of a column: the classes by their prompts, and how often that is what the data set says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from roco_search.classify.engine import Classifier
from roco_search.errors import InputError
from roco_search.evaluation.classes import Classes, Column
from roco_search.evaluation.embed import Embedded, Embeddings
from roco_search.models.encoder import Encoder
from roco_search.statistics.bootstrap import Metric
from roco_search.statistics.classification import Floats, ZeroShot, compare_exclusive, evaluate_exclusive


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """A column, classified and measured.

    Attributes
    ----------
    classes
        The classes that were distinguished.
    measured
        How well, over all images that belong to one of the classes.
    rows, truth, probabilities
        These images as rows of what was embedded, int64 ``(n,)``; the class of each, int64 ``(n,)``; and the
        model's probability of each class, float64 ``(n, classes)``.
    groups
        The same for the images of each group; each image is still classified among all classes.
    against, difference
        Another model on the same images, and how much better this one is, by a paired bootstrap.
    """

    classes: Classes
    measured: ZeroShot
    rows: npt.NDArray[np.int64]
    truth: npt.NDArray[np.int64]
    probabilities: Floats
    groups: Mapping[str, ZeroShot] = field(default_factory=dict)
    against: ZeroShot | None = None
    difference: Mapping[str, Metric] | None = None


def measure_classification(
    encoders: Sequence[Encoder],
    found: Sequence[Embedded],
    classes: Classes,
    by: Column | None = None,
    seed: int = 0,
) -> Classification:
    """Classify embedded images and measure that.

    Parameters
    ----------
    encoders
        One model, or two to compare.
    found
        What each makes of the same pairs.
    classes
        The classes to distinguish.
    by
        A column by whose values to measure too.
    seed
        The seed of the bootstrap.

    Raises
    ------
    InputError
        If no image that could be read belongs to one of the classes.
    """
    pairs = found[0].pairs
    truth = classes.truth(pairs)
    # Rows of one image that say the same are one image.
    once = np.unique(np.stack([found[0].image_numbers, truth], axis=1), axis=0, return_index=True)[1]
    rows = np.sort(once[truth[once] >= 0])
    if not len(rows):
        raise InputError(
            f"No image that could be read belongs to a class of {str(classes.column)!r}; choose other images."
        )
    truth = truth[rows]
    names = [label.name for label in classes.labels]
    both = [
        classify(encoder, embedded.images[rows], classes) for encoder, embedded in zip(encoders, found, strict=True)
    ]
    groups: dict[str, ZeroShot] = {}
    if by is not None:
        values = np.array([by.of(pairs[row]) or "" for row in rows.tolist()])
        for value in sorted(set(values.tolist()) - {""}):
            inside = values == value
            groups[value] = evaluate_exclusive(both[0][inside], truth[inside], names, seed=seed)
    against = evaluate_exclusive(both[1], truth, names, seed=seed) if len(both) > 1 else None
    difference = compare_exclusive(both[0], both[1], truth, names, seed=seed) if len(both) > 1 else None
    measured = evaluate_exclusive(both[0], truth, names, seed=seed)
    return Classification(classes, measured, rows, truth, both[0], groups, against, difference)


def classify(encoder: Encoder, images: Embeddings, classes: Classes) -> Floats:
    """Return the probability of each class, float64 ``(n, classes)``: one softmax over all of them."""
    classifier = Classifier(encoder, classes.labels)
    place = {label.name: column for column, label in enumerate(classes.labels)}
    probabilities = np.empty((len(images), len(place)))
    for row, prediction in enumerate(classifier.predict(images)):
        for entry in prediction.labels:
            probabilities[row, place[entry.label]] = entry.probability
    return probabilities
