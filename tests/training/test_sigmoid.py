"""SigLIP's loss against the pseudo-code of its paper, and against binary cross-entropy."""

from __future__ import annotations

import torch
from torch.nn import functional

from roco_search.training.losses import sigmoid_loss


def embeddings() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    images, texts = (functional.normalize(torch.randn(5, 8, dtype=torch.float64), dim=-1) for _ in range(2))
    return images, texts


def test_it_is_algorithm_1_of_the_paper() -> None:
    images, texts = embeddings()
    scale, bias = torch.tensor(9.0).double(), torch.tensor(-9.0).double()
    labels = 2 * torch.eye(5).double() - torch.ones(5).double()
    paper = -torch.sum(functional.logsigmoid(labels * (images @ texts.T * scale + bias))) / 5
    assert torch.allclose(sigmoid_loss(images, texts, scale, bias, torch.eye(5, dtype=torch.bool)), paper)


def test_shared_captions_are_positives() -> None:
    images, texts = embeddings()
    scale, bias = torch.tensor(3.0).double(), torch.tensor(-1.0).double()
    positives = torch.eye(5, dtype=torch.bool)
    positives[0, 1] = positives[1, 0] = True
    logits = scale * images @ texts.T + bias
    expected = functional.binary_cross_entropy_with_logits(logits, positives.double(), reduction="sum") / 5
    assert torch.allclose(sigmoid_loss(images, texts, scale, bias, positives), expected)


def test_it_falls_when_pairs_meet() -> None:
    images, texts = embeddings()
    scale, bias = torch.tensor(10.0).double(), torch.tensor(-5.0).double()
    eye = torch.eye(5, dtype=torch.bool)
    assert sigmoid_loss(images, images, scale, bias, eye) < sigmoid_loss(images, texts, scale, bias, eye)
