"""The sigmoid objective of SigLIP: each image and each text of a batch is a question of its own."""

from __future__ import annotations

import torch
from torch import nn


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
        What the cosine similarities are multiplied by (already exponentiated), and what is added.
    positives
        bool ``(n, n)``; ``[i, j]`` says that text *j* is true of image *i*.

    Returns
    -------
    A scalar: the sum over all pairs, divided by *n*.
    """
    logits = logit_scale * images @ texts.T + logit_bias
    signs = 2 * positives.to(logits.dtype) - 1
    return -nn.functional.logsigmoid(signs * logits).sum() / len(images)
