"""What the model believes of labels before anybody has taught it: where every head starts, and what it must beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roco_search.classify import Classifier, Label
from roco_search.errors import InputError
from roco_search.imaging import Tags
from roco_search.library import StoredFrame
from roco_search.models.encoder import Encoder

Floats = npt.NDArray[np.float64]

_ASKED = 64  # Pictures that are asked which prompts fit.


@dataclass(frozen=True, slots=True)
class ZeroShotStart:
    """What texts say of labels.

    Attributes
    ----------
    directions
        float64 ``(labels, dim)``: along which a picture gains on the label's alternatives. Zero where the model can
        read nothing of a label.
    probabilities
        float64 ``(n, labels)``: what `roco classify` would answer; NaN where it would refuse.
    unread
        Why the model cannot read labels; empty where it can.
    """

    directions: Floats
    probabilities: Floats
    unread: str = ""


def start_from_text(
    encoder: Encoder,
    names: Sequence[str],
    frames: Sequence[StoredFrame],
    vectors: npt.NDArray[np.float32],
    *,
    exclusive: bool,
) -> ZeroShotStart:
    """Return the directions of labels, and the zero-shot answer for some pictures.

    Parameters
    ----------
    encoder
        The library's model.
    names
        The labels.
    frames, vectors
        The pictures with their vectors, float32 ``(n, dim)``.
    exclusive
        Whether the labels exclude each other: one softmax over all of them; else each against its own opposite.
    """
    nothing = np.full((len(frames), len(names)), np.nan)
    try:
        classifier = Classifier(encoder, [Label(name) for name in names], "exclusive" if exclusive else "multi-label")
    except InputError as error:  # A label that the model has no word for.
        if len(names) == 1:
            return ZeroShotStart(np.zeros((1, vectors.shape[1])), nothing, str(error))
        alone = [start_from_text(encoder, [name], frames, vectors, exclusive=False) for name in names]
        return ZeroShotStart(
            np.concatenate([part.directions for part in alone]),
            np.concatenate([part.probabilities for part in alone], axis=1),
            " ".join(part.unread for part in alone if part.unread),
        )
    tags = [Tags(modality=frame.modality, body_part=frame.body_part, view=frame.view) for frame in frames]
    step = max(1, len(frames) // _ASKED)
    asked = zip(vectors[::step], tags[::step], strict=True)
    chosen = Counter(classifier.choose(np.asarray(row, np.float64), said)[0] for row, said in asked)
    prompts = chosen.most_common(1)[0][0]
    directions = np.stack([classifier.contrast(name, prompts) for name in names])
    answered = nothing.copy()
    for row, prediction in enumerate(classifier.predict(vectors, tags)):
        found = {entry.label: entry.probability for entry in prediction.labels}
        answered[row] = [found[name] for name in names]
    return ZeroShotStart(directions, answered)
