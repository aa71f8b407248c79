"""A frozen text tower is gone through once, and what comes out is what it would have been."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from roco_search.models.checkpoint import Checkpoint
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.training.settings import Settings
from roco_search.training.step import CachedTexts, Inputs, can_cache, text_features
from roco_search.training.towers import set_train_mode, set_trainable
from tests.models.checkpoints import FAMILIES
from tests.training.gradients import gradients, worst

CAPTIONS = ["chest x ray", "brain mri of the chest", "ct", "effusion"]


@pytest.mark.parametrize("family", ["clip", "siglip", "vision-text-dual-encoder"])
def test_features_and_gradients_are_those_of_the_whole_tower(family: str, tmp_path: Path) -> None:
    encoder = TorchEncoder(Checkpoint.open(family, FAMILIES[family](tmp_path / family)), "cpu", "fp32")
    settings = Settings(text_tower="projection")
    model = encoder.model.double()
    set_trainable(model, settings)
    set_train_mode(model, settings)
    assert can_cache(model, settings)
    calls: list[int] = []
    plain = partial(text_features, encoder, Inputs(encoder))

    def counted(texts: list[str]) -> torch.Tensor:
        calls.append(len(texts))
        return plain(texts)

    frozen = CachedTexts(model, [*CAPTIONS, *CAPTIONS], counted)  # type: ignore[arg-type]
    direction = torch.randn(3, encoder.dim).double()
    asked = [CAPTIONS[2], CAPTIONS[0], CAPTIONS[2]]
    expected = plain(asked)
    (expected * direction).sum().backward()
    wanted = gradients(model)
    for _ in range(2):
        found = frozen(asked)
        assert torch.allclose(found, expected, atol=1e-12)
        (found * direction).sum().backward()
        assert worst(gradients(model), wanted) < 1e-12
    assert calls == [4], "each caption once, in one go"


def test_a_tower_that_learns_is_not_frozen(tmp_path: Path) -> None:
    model = TorchEncoder(Checkpoint.open("clip", FAMILIES["clip"](tmp_path / "clip")), "cpu").model
    assert not any(can_cache(model, Settings(text_tower=word)) for word in ("all", "last:1", "lora:2"))
    assert can_cache(model, Settings(text_tower="locked"))
