"""InfoNCE, CLIP's objective, where an image may have several true captions in a batch."""

from __future__ import annotations

import torch
from torch import nn


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
        bool ``(n, n)``; ``[i, j]`` says that text *j* is true of image *i*. The diagonal must be set. With the identity
        this is CLIP's loss; with more, the target of a row is uniform over its positives (as in UniCL; Yang et al.
        2022, arXiv:2204.03610), so that a caption that several images of the batch share is not pushed away from any.

    Returns
    -------
    A scalar: the mean of the image-to-text and the text-to-image loss.
    """
    logits = logit_scale * images @ texts.T
    targets = positives.to(logits.dtype)
    image_to_text = nn.functional.cross_entropy(logits, targets / targets.sum(1, keepdim=True))
    text_to_image = nn.functional.cross_entropy(logits.T, targets.T / targets.T.sum(1, keepdim=True))
    return (image_to_text + text_to_image) / 2
