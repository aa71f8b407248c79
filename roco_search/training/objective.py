"""The objective of a model on a batch: which loss, at the model's own temperature."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from roco_search.errors import TrainingError

from .info_nce import info_nce
from .settings import Objective as Choice
from .sigmoid import sigmoid_loss

LOGIT_SCALE_MAX = math.log(100)  # CLIP's bound: a hotter softmax makes training unstable


class Objective:
    """A loss over embeddings of a batch; its own parameters are the model's temperature (and bias).

    ``auto`` is the sigmoid loss for a model with a logit bias (SigLIP), else InfoNCE.
    """

    def __init__(self, model: Any, choice: Choice) -> None:
        self.model = model
        biased = getattr(model, "logit_bias", None) is not None
        self.name = choice if choice != "auto" else ("sigmoid" if biased else "info-nce")
        if self.name == "sigmoid" and not biased:
            raise TrainingError(
                "The sigmoid objective needs a logit bias, which this model does not have; use --objective info-nce."
            )

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that the loss itself uses."""
        biased = self.name == "sigmoid"
        return [self.model.logit_scale, *([self.model.logit_bias] if biased else [])]

    def __call__(self, images: torch.Tensor, texts: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar of at least float32.

        ``images`` and ``texts`` are ``(n, dim)`` as the towers give them, of any norm and precision; ``positives`` bool
        ``(n, n)``.
        """
        images, texts = (nn.functional.normalize(_full(features), dim=-1) for features in (images, texts))
        scale = self.model.logit_scale.exp()
        if self.name == "sigmoid":
            return sigmoid_loss(images, texts, scale, self.model.logit_bias, positives)
        return info_nce(images, texts, scale, positives)

    def clamp(self) -> None:
        """Keep the temperature within its bound."""
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=LOGIT_SCALE_MAX)


def _full(features: torch.Tensor) -> torch.Tensor:
    """Half precision is for the towers; the loss is computed in float32, or in float64 where the model is."""
    return features if features.dtype == torch.float64 else features.float()
