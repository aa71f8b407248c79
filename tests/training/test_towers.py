"""What learns, in every family that can be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from roco_search.errors import TrainingError
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.roco_mini.modeling import RocoMiniConfig, RocoMiniModel
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.training.settings import Settings
from roco_search.training.towers import (
    TOWERS,
    add_adapters,
    block_count,
    depth,
    merge_adapters,
    parameter_groups,
    parse_tower,
    projection,
    set_train_mode,
    set_trainable,
)
from tests.models.checkpoints import FAMILIES


@pytest.fixture(params=[*FAMILIES, "roco-mini"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> nn.Module:
    if request.param == "roco-mini":
        return small_roco_mini()
    checkpoint = Checkpoint.open(request.param, FAMILIES[request.param](tmp_path / "model"))
    return TorchEncoder(checkpoint, "cpu").model


def small_roco_mini() -> RocoMiniModel:
    torch.manual_seed(0)
    text = {"vocab_size": 9, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"width_coefficient": 0.25, "depth_coefficient": 0.3}
    config = RocoMiniConfig(text_config={**text, "intermediate_size": 24}, vision_config=vision, projection_dim=16)
    return RocoMiniModel(config)


def learning(model: nn.Module, **settings: str) -> set[str]:
    set_trainable(model, Settings(**settings))  # type: ignore[arg-type]
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_everything_learns_by_default_and_the_temperature_can_be_frozen(model: nn.Module) -> None:
    assert learning(model) == {name for name, _ in model.named_parameters()}
    set_trainable(model, Settings(logit_scale=False))
    assert {n for n, p in model.named_parameters() if not p.requires_grad} <= {"logit_scale", "logit_bias"}


def test_a_locked_tower_does_not_move_at_all(model: nn.Module) -> None:
    found = learning(model, image_tower="locked")
    image = (TOWERS["image"], projection(model, "image"))
    assert not {name for name in found if name.startswith(image)}
    assert {name for name in found if name.startswith(TOWERS["text"])}
    with pytest.raises(TrainingError, match="nothing would learn"):
        learning(model, image_tower="locked", text_tower="locked")


def test_projections_alone(model: nn.Module) -> None:
    found = learning(model, image_tower="projection", text_tower="projection") - {"logit_scale", "logit_bias"}
    prefixes = tuple(projection(model, tower) for tower in TOWERS)
    assert found == {name for name, _ in model.named_parameters() if name.startswith(prefixes)}


def test_the_last_blocks_and_what_comes_after_them(model: nn.Module) -> None:
    found = learning(model, image_tower="last:1", text_tower="last:1")
    for tower in TOWERS:
        blocks = block_count(model, tower)
        places = {name: depth(model, tower, name) for name, _ in model.named_parameters()}
        assert set(places.values()) >= {0, 1, blocks, blocks + 1, None}
        for name, place in places.items():
            if place is not None:
                assert (name in found) == (place >= blocks), name


def test_the_originals_share_is_four_of_twelve() -> None:
    from transformers import CLIPConfig, CLIPModel

    tiny = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_hidden_layers": 12}
    text = {**tiny, "vocab_size": 5, "bos_token_id": 0, "eos_token_id": 1}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config={**tiny, "image_size": 8, "patch_size": 8}))
    found = learning(model, image_tower="last:30%", text_tower="last:30%")
    blocks = {int(name.split(".")[3]) for name in found if ".layers." in name}
    assert blocks == {8, 9, 10, 11}
    outside = {name.rpartition(".")[0] for name in found if ".layers." not in name} - {""}
    assert outside == {
        "vision_model.post_layernorm",
        "text_model.final_layer_norm",
        "visual_projection",
        "text_projection",
    }


def test_more_blocks_than_there_are(model: nn.Module) -> None:
    with pytest.raises(TrainingError, match="blocks, not 99; write last:"):
        learning(model, image_tower="last:99")


@pytest.mark.parametrize("word", ["", "last", "last:0", "last:101%", "lora:4%", "some", "last:-1"])
def test_a_word_of_another_form_is_refused(word: str) -> None:
    with pytest.raises(TrainingError, match="does not name what to train"):
        parse_tower(word)


def test_rates_fall_with_depth_and_vectors_are_not_decayed(model: nn.Module) -> None:
    settings = Settings(learning_rate=1.0, layer_decay=0.5, image_factor=2.0, projection_factor=8.0, weight_decay=0.3)
    set_trainable(model, settings)
    groups = parameter_groups(model, settings)
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert len(rate) == sum(1 for _ in model.parameters())
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.3 if parameter.ndim > 1 else 0.0), name
        for tower, factor in (("image", 2.0), ("text", 1.0)):
            place = depth(model, tower, name)
            if name.startswith(projection(model, tower)):
                assert rate[id(parameter)] == 8.0
            elif place is not None:
                assert rate[id(parameter)] == factor * 0.5 ** (block_count(model, tower) + 1 - place)


def test_batch_norm_keeps_its_statistics() -> None:
    model = small_roco_mini()
    set_train_mode(model, Settings())
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)
    assert all(module.training for module in model.modules() if isinstance(module, nn.Dropout))


def test_a_frozen_tower_drops_nothing_out(model: nn.Module) -> None:
    set_train_mode(model, Settings(text_tower="projection"))
    assert not model.text_model.training and model.vision_model.training  # type: ignore[union-attr]


def test_adapters_learn_alone_and_merge_into_the_weights(model: nn.Module) -> None:
    if isinstance(model, RocoMiniModel):
        with pytest.raises(TrainingError, match="no linear layers"):
            add_adapters(model, Settings(image_tower="lora:2"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = Settings(image_tower="locked", text_tower="lora:2", logit_scale=False)
    assert add_adapters(model, settings)
    set_trainable(model, settings)
    prefix = projection(model, "text")
    found = {name for name, p in model.named_parameters() if p.requires_grad}
    assert found and all("lora_" in name or name.startswith(prefix) for name in found)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    inputs = {"input_ids": torch.tensor([[1, 2, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    model.eval()
    whole = merge_adapters(model).eval()
    assert {name for name, _ in whole.named_parameters()} == {n for n in before if n in dict(whole.named_parameters())}
    assert whole.state_dict().keys() == before.keys()
    with torch.no_grad():
        adapted, merged = (text_features(m, inputs) for m in (model, whole))
    assert torch.allclose(adapted, merged, atol=1e-5)
    assert not torch.equal(merged, before_features(model, inputs))


def before_features(model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the model gives with its adapters off."""
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.enable_adapters(False)
    with torch.no_grad():
        return text_features(model, inputs)


def text_features(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return model.get_text_features(**inputs).pooler_output
