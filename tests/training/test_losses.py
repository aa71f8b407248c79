"""InfoNCE and the sigmoid loss against their definitions."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from torch.nn import functional

from roco_search.training.losses import info_nce, sigmoid_loss


def unit(random: np.random.Generator, n: int) -> np.ndarray:
    vectors = random.normal(size=(n, 5))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def loss(images: np.ndarray, texts: np.ndarray, scale: float, positives: np.ndarray) -> float:
    return info_nce(
        torch.from_numpy(images), torch.from_numpy(texts), torch.tensor(scale), torch.from_numpy(positives)
    ).item()


@given(st.integers(0, 10_000), st.integers(1, 9), st.floats(0.5, 100))
def test_with_one_caption_an_image_it_is_clips_loss(seed: int, n: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    images, texts = unit(random, n), unit(random, n)
    logits = scale * images @ texts.T
    expected = -(np.diag(log_softmax(logits, 1)).mean() + np.diag(log_softmax(logits, 0)).mean()) / 2
    np.testing.assert_allclose(loss(images, texts, scale, np.eye(n, dtype=bool)), expected, rtol=1e-6, atol=1e-9)


@given(st.integers(0, 10_000), st.integers(2, 9))
def test_shared_captions_share_the_target_evenly(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    images, texts = unit(random, n), unit(random, n)
    positives = random.random((n, n)) < 0.4
    np.fill_diagonal(positives, True)
    logits = 20 * images @ texts.T
    rows, columns = log_softmax(logits, 1), log_softmax(logits, 0)
    expected = -np.mean([rows[i, positives[i]].mean() + columns[positives[:, i], i].mean() for i in range(n)]) / 2
    np.testing.assert_allclose(loss(images, texts, 20, positives), expected, rtol=1e-6)


def test_two_images_of_one_caption_do_not_push_it_away() -> None:
    """With the caption marked as shared, the best embedding has no gradient left; unmarked, it still has."""
    images = torch.eye(3, dtype=torch.float64)[[0, 0, 1]]
    texts = images.clone().requires_grad_()
    scale = torch.tensor(100.0, dtype=torch.float64)
    shared = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    (with_shared,) = torch.autograd.grad(info_nce(images, texts, scale, shared), texts)
    (without,) = torch.autograd.grad(info_nce(images, texts, scale, torch.eye(3, dtype=torch.bool)), texts)
    assert with_shared.abs().max() < 1e-9
    assert info_nce(images, texts, scale, torch.eye(3, dtype=torch.bool)) > 0.4
    assert without.shape == with_shared.shape


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
