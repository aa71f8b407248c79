"""Which weights a run keeps: an exponential moving average of them, and those that do best on the validation split.

The average (Polyak and Juditsky 1992) is often better than the last weights. Validation measures recall over the whole
pool, never over a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn

from roco_search.datasets.pair import PairSet
from roco_search.evaluation.embed import embed
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.statistics.ranks import mean_recall


class ExponentialMovingAverage:
    """An exponential moving average of the trainable parameters of a model.

    ``decay`` 0 keeps none: the average is then the model itself. Early in a run the decay is smaller, so that the
    initial weights are forgotten: after *n* steps it is at most *n* / (*n* + 9).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.mean = {name: p.detach().clone() for name, p in self._learning.items()} if decay else {}

    def update(self, step: int) -> None:
        """Add the weights after a step, counted from 1, to the average."""
        keep = min(self._decay, step / (step + 9))
        with torch.no_grad():
            for name, mean in self.mean.items():
                mean.lerp_(self._learning[name], 1 - keep)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the average as its weights within the block."""
        learned = {name: self._learning[name].detach().clone() for name in self.mean}
        self._set(self.mean)
        try:
            yield
        finally:
            self._set(learned)

    def load(self, mean: dict[str, torch.Tensor]) -> None:
        """Restore `mean` from a checkpoint."""
        for name, tensor in mean.items():
            self.mean[name].copy_(tensor)

    def _set(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in weights.items():
                self._learning[name].copy_(tensor)


MIN_POOL = 50
"""The fewest validation pairs to choose a model by: among fewer, one hit more is over 2 %, and the best step luck."""


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
        # The data set's own captions only, not the columns that training takes captions from too.
        self._encoder, self._pairs = encoder, [replace(pair, captions={pair.caption: 1.0}) for pair in pairs.pairs]

    def __call__(self, step: int) -> ValidationResult:
        """Embed the split and rank the whole pool in both directions."""
        found = embed(self._encoder, self._pairs).pool()
        recalls = mean_recall(found.images, found.texts, found.captions, found.owners)
        recalls["mean recall"] = recalls.pop("mean")
        return ValidationResult(step, len(found.captions), recalls)
