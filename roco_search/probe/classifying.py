"""A probe in the place of a zero-shot classifier: the same pictures, the same answers, other probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from roco_search.classify import Label, Mode, Prediction
from roco_search.classify.engine import ranked
from roco_search.imaging import Tags
from roco_search.models.encoder import Encoder
from roco_search.probe.probe import Probe

PROMPT_SET = "probe"
"""Stands in `Prediction.prompt_set`: no prompt was used."""


class ProbeClassifier:
    """What `classify_files` asks of a `Classifier`, answered by a probe.

    Parameters
    ----------
    probe
        The probe.
    encoder
        The model that it was taught on.

    Raises
    ------
    ModelMismatch
        If the model is another one.
    """

    mode: Mode = "multi-label"
    by_image = False

    def __init__(self, probe: Probe, encoder: Encoder) -> None:
        probe.check_encoder(encoder)
        self.encoder, self.probe = encoder, probe
        self.labels = tuple(Label(name) for name in probe.labels)

    @property
    def thresholds(self) -> dict[str, float]:
        """Youden's threshold of each label."""
        return {name: limits.best for name, limits in zip(self.probe.labels, self.probe.limits, strict=True)}

    def predict(
        self,
        vectors: npt.NDArray[np.float32],
        tags: Sequence[Tags | None] | None = None,
        *,
        places: Sequence[tuple[str | None, int]] | None = None,
        shares: bool = False,
    ) -> list[Prediction]:
        """Classify embedded images, float32 ``(n, dim)``; `LabelScore.score` is the head's logit."""
        places = places if places is not None else [(None, 0)] * len(vectors)
        logits = (vectors @ self.probe.weights.T + self.probe.bias).tolist()
        probabilities = self.probe.probabilities(vectors).tolist()
        return [
            Prediction(self.mode, ranked(self.labels, said, scores), PROMPT_SET, False, path, frame)
            for (path, frame), said, scores in zip(places, probabilities, logits, strict=True)
        ]
