"""GradCache gives the gradient of the whole batch, to the last bits of float64, for every parameter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from roco_search.errors import TrainingError
from roco_search.models.roco_mini.modeling import RocoMiniConfig, RocoMiniModel
from roco_search.training.gradcache import cached_backward, refuse_batch_statistics
from roco_search.training.losses import info_nce
from tests.training.gradients import gradients, worst

N = 12


class Towers(nn.Module):
    """Two small towers with a learned logit scale."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(7, 16), nn.GELU(), nn.Linear(16, 5))
        self.text = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 5))
        self.logit_scale = nn.Parameter(torch.tensor(2.0))


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(N, 7, dtype=torch.float64), torch.randn(N, 6, dtype=torch.float64)


def loss_of(model: nn.Module, positives: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    def loss(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        images, texts = (nn.functional.normalize(t, dim=-1) for t in (images, texts))
        scale = model.logit_scale
        assert isinstance(scale, torch.Tensor)
        return info_nce(images, texts, scale.exp(), positives)

    return loss


def chunks(tower: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor, size: int) -> list:  # type: ignore[type-arg]
    return [lambda part=part: tower(part) for part in inputs.split(size)]


def shared(n: int = N) -> torch.Tensor:
    """Identical captions: the first three texts are true of the first three images."""
    positives = torch.eye(n, dtype=torch.bool)
    positives[:3, :3] = True
    return positives


@pytest.mark.parametrize("size", [1, 4, 5, N])
def test_it_equals_the_true_batch(size: int, data: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    model = Towers().double()
    loss = loss_of(model, shared())
    expected_loss = loss(model.image(data[0]), model.text(data[1]))
    expected_loss.backward()
    expected = gradients(model)
    found_loss = cached_backward(chunks(model.image, data[0], size), chunks(model.text, data[1], size), loss)
    assert "logit_scale" in expected
    assert worst(gradients(model), expected) < 1e-12
    assert abs(found_loss - expected_loss) < 1e-12


def test_summing_the_losses_of_the_chunks_is_another_objective(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    model = Towers().double()
    loss_of(model, shared())(model.image(data[0]), model.text(data[1])).backward()
    expected = gradients(model)
    for start in range(0, N, 4):
        part = slice(start, start + 4)
        partial = loss_of(model, shared()[part, part])(model.image(data[0][part]), model.text(data[1][part]))
        (partial / 3).backward()
    assert worst(gradients(model), expected) > 0.01


def test_roco_mini_itself_trains_exactly_in_chunks() -> None:
    torch.manual_seed(0)
    text = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = RocoMiniConfig(
        text_config={**text, "intermediate_size": 24, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        projection_dim=16,
    )
    model = RocoMiniModel(config).double().train()
    refuse_batch_statistics(model)
    pixels, ids = torch.randn(6, 3, 32, 32, dtype=torch.float64), torch.randint(0, 30, (6, 5))

    def images(part: torch.Tensor) -> torch.Tensor:
        return model.get_image_features(part)[1]

    def texts(part: torch.Tensor) -> torch.Tensor:
        return model.get_text_features(part)[1]

    loss = loss_of(model, shared(6))
    loss(images(pixels), texts(ids)).backward()
    expected = gradients(model)
    for size in (2, 4):
        cached_backward(chunks(images, pixels, size), chunks(texts, ids, size), loss)
        assert worst(gradients(model), expected) < 1e-12


def test_a_locked_tower_needs_no_graph(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    model = Towers().double()
    model.text.requires_grad_(False)
    loss = loss_of(model, shared())
    loss(model.image(data[0]), model.text(data[1])).backward()
    expected = gradients(model)
    cached_backward(chunks(model.image, data[0], 4), chunks(model.text, data[1], 4), loss)
    assert worst(gradients(model), expected) < 1e-12


def test_batch_statistics_are_refused_with_the_reason() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    with pytest.raises(TrainingError, match="statistics of its batch"):
        refuse_batch_statistics(model.train())
    refuse_batch_statistics(model.eval())
    with pytest.raises(TrainingError, match="The layer 1"):
        refuse_batch_statistics(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval())
