"""Low-rank adapters in a tower's blocks, by peft; merged into the weights when the model is saved."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from roco_search.errors import TrainingError

from .parts import TOWERS, block_list, parse
from .settings import Settings


def adapt(model: nn.Module, settings: Settings) -> bool:
    """Put adapters into each tower that asks for them; whether any does. Raises `TrainingError` without peft."""
    adapted = False
    for tower, word in (("image", settings.image_tower), ("text", settings.text_tower)):
        part = parse(word)
        if part.kind == "lora":
            _inject(model, tower, int(part.amount))
            adapted = True
    return adapted


def _inject(model: nn.Module, tower: str, rank: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise TrainingError(
            "Low-rank adapters need peft, which is not installed; run pip install 'roco-search[train]'."
        ) from None
    prefix, blocks = block_list(model, tower)
    linear = [
        f"{prefix.removeprefix(TOWERS[tower] + '.')}.{name}"
        for name, module in blocks.named_modules()
        if isinstance(module, nn.Linear)
    ]
    if not linear:
        raise TrainingError(
            f"The {tower} tower has no linear layers in its blocks, so it takes no adapters; use last:2 or all."
        )
    # alpha = rank leaves the step size alone, so that one learning rate serves every rank.
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=linear, init_lora_weights=True)
    inject_adapter_in_model(config, model.get_submodule(TOWERS[tower]))


def merged(model: nn.Module) -> nn.Module:
    """Return a copy without adapters, their product added to the weights they stand beside."""
    from peft.tuners.lora import LoraLayer

    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            layer: Any = module
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.get_base_layer())
    return model
