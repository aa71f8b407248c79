"""An exponential moving average of the trained weights (Polyak and Juditsky 1992), often better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


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
