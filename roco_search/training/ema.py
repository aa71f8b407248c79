"""The running average of the weights that learn (Polyak and Juditsky 1992), which is often better than any of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Average:
    """An exponential moving average of a model's parameters that learn.

    ``decay`` 0 keeps none: the average is then the model itself. Early on it is shorter, so that it does not remember
    the start: after *n* steps the decay is at most *n* / (*n* + 9).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.mean = {name: p.detach().clone() for name, p in self._learning.items()} if decay else {}

    def update(self, step: int) -> None:
        """Take the weights after a step, counted from 1, into the average."""
        keep = min(self._decay, step / (step + 9))
        with torch.no_grad():
            for name, mean in self.mean.items():
                mean.lerp_(self._learning[name], 1 - keep)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the average for its weights while the block runs."""
        learned = {name: self._learning[name].detach().clone() for name in self.mean}
        self._set(self.mean)
        try:
            yield
        finally:
            self._set(learned)

    def load(self, mean: dict[str, torch.Tensor]) -> None:
        """Set what `mean` was in a checkpoint."""
        for name, tensor in mean.items():
            self.mean[name].copy_(tensor)

    def _set(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in weights.items():
                self._learning[name].copy_(tensor)
