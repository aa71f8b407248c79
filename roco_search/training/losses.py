"""The contrastive objectives: InfoNCE (CLIP) and the sigmoid loss (SigLIP).

In both an image may have several true captions in a batch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from roco_search.errors import TrainingError
from roco_search.training.settings import Objective as ObjectiveName

LOGIT_SCALE_MAX = math.log(100)  # CLIP's bound: a hotter softmax makes training unstable


def info_nce(
    images: torch.Tensor, texts: torch.Tensor, logit_scale: torch.Tensor, positives: torch.Tensor
) -> torch.Tensor:
    """Symmetric cross-entropy over the batch (CLIP; Radford et al. 2021, section 2.3), positives shared evenly.

    Parameters
    ----------
    images, texts
        float ``(n, dim)`` of unit norm.
    logit_scale
        The multiplier of the cosine similarities (already exponentiated).
    positives
        bool ``(n, n)``; ``[i, j]`` states that text *j* is true of image *i*. The diagonal must be set. With the
        identity this is CLIP's loss; with more, the target of a row is uniform over its positives (as in UniCL; Yang
        et al. 2022, arXiv:2204.03610), so that a caption that several images share is not pushed away from any.

    Returns
    -------
    torch.Tensor
        A scalar: the mean of the image-to-text and the text-to-image loss.
    """
    logits = logit_scale * images @ texts.T
    targets = positives.to(logits.dtype)
    image_to_text = nn.functional.cross_entropy(logits, targets / targets.sum(1, keepdim=True))
    text_to_image = nn.functional.cross_entropy(logits.T, targets.T / targets.T.sum(1, keepdim=True))
    return (image_to_text + text_to_image) / 2


def sigmoid_loss(
    images: torch.Tensor,
    texts: torch.Tensor,
    logit_scale: torch.Tensor,
    logit_bias: torch.Tensor,
    positives: torch.Tensor,
) -> torch.Tensor:
    """Binary cross-entropy over all pairs of the batch (SigLIP; Zhai et al. 2023, arXiv:2303.15343, algorithm 1).

    Parameters
    ----------
    images, texts
        float ``(n, dim)`` of unit norm.
    logit_scale, logit_bias
        The multiplier of the cosine similarities (already exponentiated), and the term that is added.
    positives
        bool ``(n, n)``; ``[i, j]`` states that text *j* is true of image *i*.

    Returns
    -------
    torch.Tensor
        A scalar: the sum over all pairs, divided by *n*.
    """
    logits = logit_scale * images @ texts.T + logit_bias
    signs = 2 * positives.to(logits.dtype) - 1
    return -nn.functional.logsigmoid(signs * logits).sum() / len(images)


class Objective:
    """A loss over the embeddings of a batch; its own parameters are the model's logit scale (and bias).

    ``auto`` is the sigmoid loss for a model with a logit bias (SigLIP), else InfoNCE.
    """

    def __init__(self, model: Any, choice: ObjectiveName) -> None:
        self.model = model
        biased = getattr(model, "logit_bias", None) is not None
        self.name = choice if choice != "auto" else ("sigmoid" if biased else "info-nce")
        if self.name == "sigmoid" and not biased:
            raise TrainingError(
                'The sigmoid objective needs a logit bias, which this model does not have; use `objective="info-nce"`.'
            )

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that the loss uses."""
        biased = self.name == "sigmoid"
        return [self.model.logit_scale, *([self.model.logit_bias] if biased else [])]

    def __call__(self, images: torch.Tensor, texts: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar of at least float32.

        ``images`` and ``texts`` are float ``(n, dim)`` of any norm and precision, as the towers give them;
        ``positives`` is bool ``(n, n)``.
        """
        images, texts = (nn.functional.normalize(_full(features), dim=-1) for features in (images, texts))
        scale = self.model.logit_scale.exp()
        if self.name == "sigmoid":
            return sigmoid_loss(images, texts, scale, self.model.logit_bias, positives)
        return info_nce(images, texts, scale, positives)

    def clamp(self) -> None:
        """Keep the logit scale within its bound."""
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=LOGIT_SCALE_MAX)


def _full(features: torch.Tensor) -> torch.Tensor:
    """Return features in float32, or in float64 if the model is; half precision is for the towers only."""
    return features if features.dtype == torch.float64 else features.float()
