"""Validation during training: global recall over the whole validation split, never over a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from roco_search.datasets.pair import PairSet
from roco_search.evaluation.embed import embed
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.statistics.ranks import mean_recall


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Recall after ``step``, by direction and k, any-match, among the ``pool`` pairs; in [0, 1]."""

    step: int
    pool: int
    recalls: Mapping[str, float]

    @property
    def mean(self) -> float:
        """The mean of the six recalls, by which the best model is selected."""
        return self.recalls["mean recall"]


class Validation:
    """Measures the current model on a split."""

    def __init__(self, encoder: TorchEncoder, pairs: PairSet) -> None:
        self._encoder, self._pairs = encoder, pairs

    def __call__(self, step: int) -> ValidationResult:
        """Embed the split and rank the whole pool in both directions."""
        found = embed(self._encoder, self._pairs)
        recalls = mean_recall(found.images, found.texts, found.captions)
        recalls["mean recall"] = recalls.pop("mean")
        return ValidationResult(step, len(found.captions), recalls)
