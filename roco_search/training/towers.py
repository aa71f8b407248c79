"""Which parameters of a dual encoder learn, and how fast: towers, their blocks, projections, adapters, temperature.

A tower is described by one word:

    all           everything in it
    last:4        its last four blocks, what comes after them, and its projection
    last:30%      the same by share, rounded up: four of twelve
    projection    only its projection into the shared space
    locked        nothing (LiT; Zhai et al. 2022, arXiv:2111.07991)
    lora:8        low-rank adapters of rank 8 in its blocks (Hu et al. 2021, arXiv:2106.09685), and its projection

The blocks of a tower are its longest list of modules. What is registered before that list (embeddings, a stem) is below
the first block, what is registered after it (norms, pooling) above the last.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from roco_search.errors import TrainingError
from roco_search.models.families import FAMILIES
from roco_search.training.settings import Settings

Kind = Literal["all", "last", "projection", "locked", "lora"]
TOWERS: Mapping[str, str] = {"image": "vision_model", "text": "text_model"}
TEMPERATURE = ("logit_scale", "logit_bias")


@dataclass(frozen=True, slots=True)
class TowerSpec:
    """How much of a tower learns. ``amount`` is a number of blocks, a share of them, or a rank."""

    kind: Kind
    amount: float = 0.0
    share: bool = False


def parse_tower(text: str) -> TowerSpec:
    """Read such a word. Raises `TrainingError` if it has another form."""
    if text in ("all", "projection", "locked"):
        return TowerSpec(text)  # type: ignore[arg-type]
    if match := re.fullmatch(r"(last|lora):(\d+)(%?)", text):
        kind, amount, percent = match[1], int(match[2]), bool(match[3])
        if amount > 0 and not (percent and (amount > 100 or kind == "lora")):
            return TowerSpec(kind, amount / 100 if percent else amount, percent)  # type: ignore[arg-type]
    raise TrainingError(
        f"{text!r} does not name what to train; write all, last:4, last:30%, projection, locked or lora:8."
    )


def set_trainable(model: nn.Module, settings: Settings) -> None:
    """Set ``requires_grad`` of every parameter. Low-rank adapters are added before, by `add_adapters`.

    Raises
    ------
    TrainingError
        If a tower has fewer blocks than are asked for, or nothing would learn.
    """
    model.requires_grad_(False)
    for tower, word in (("image", settings.image_tower), ("text", settings.text_tower)):
        spec = parse_tower(word)
        if spec.kind == "locked":
            continue
        into_space = projection(model, tower)
        blocks = block_count(model, tower)
        first = 0 if spec.kind == "all" else blocks + 1
        if spec.kind == "last":
            count = math.ceil(spec.amount * blocks) if spec.share else int(spec.amount)
            if count > blocks:
                raise TrainingError(f"The {tower} tower has {blocks} blocks, not {count}; write last:{blocks} or all.")
            first = blocks + 1 - count
        for name, parameter in model.named_parameters():
            adapter = spec.kind == "lora" and name.startswith(TOWERS[tower]) and "lora_" in name
            above = (at := depth(model, tower, name)) is not None and spec.kind != "projection" and at >= first
            if name.startswith(into_space) or adapter or (above and spec.kind != "lora"):
                parameter.requires_grad = "base_layer" not in name
    for name, parameter in model.named_parameters():
        if name in TEMPERATURE:
            parameter.requires_grad = settings.logit_scale
    if not any(parameter.requires_grad for _, parameter in tower_parameters(model)):
        raise TrainingError("Both towers are locked, so nothing would learn; unlock one of them.")


def tower_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the name and the parameter of everything but the temperature."""
    return ((name, p) for name, p in model.named_parameters() if name not in TEMPERATURE)


def projection(model: nn.Module, tower: str) -> str:
    """Return the prefix of the parameters of a tower's projection. Raises `TrainingError` where it has none."""
    names = [name for name, _ in model.named_parameters()]
    for family in FAMILIES.values():
        prefix = f"{family.image_projection if tower == 'image' else family.text_projection}."
        if any(name.startswith(prefix) for name in names):
            return prefix
    raise TrainingError(f"The {tower} tower has no projection into a shared space; choose a CLIP or SigLIP model.")


def block_list(model: nn.Module, tower: str) -> tuple[str, nn.ModuleList]:
    """Return the name and the list of a tower's blocks. Raises `TrainingError` where there is none."""
    lists = [
        (f"{TOWERS[tower]}.{name}", module)
        for name, module in model.get_submodule(TOWERS[tower]).named_modules()
        if isinstance(module, nn.ModuleList)
    ]
    if not lists:
        raise TrainingError(f"The {tower} tower is no stack of blocks; use all, projection or locked.")
    return max(lists, key=lambda found: len(found[1]))


def block_count(model: nn.Module, tower: str) -> int:
    """Return the number of blocks of a tower."""
    return len(block_list(model, tower)[1])


def depth(model: nn.Module, tower: str, parameter: str) -> int | None:
    """Return the depth of a parameter in a tower: 0 below the blocks, 1 … n in them, n + 1 above; None outside.

    Projections are above.
    """
    if parameter.startswith(projection(model, tower)):
        return block_count(model, tower) + 1
    if not parameter.startswith(TOWERS[tower] + "."):
        return None
    prefix, blocks = block_list(model, tower)
    if parameter.startswith(prefix + "."):
        return 1 + int(parameter.removeprefix(prefix + ".").split(".")[0])
    names = [name for name, _ in model.named_parameters()]
    first = next(i for i, name in enumerate(names) if name.startswith(prefix + "."))
    return 0 if names.index(parameter) < first else len(blocks) + 1


def parameter_groups(model: nn.Module, settings: Settings) -> list[dict[str, Any]]:
    """Group what learns by its learning rate and weight decay, for AdamW.

    The rate is ``learning_rate`` times the factor of the spec, times ``layer_decay`` for each block below the top.
    Vectors and scalars (biases, norms, the temperature) are not decayed.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = settings.learning_rate * _factor(model, name, settings)
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def _factor(model: nn.Module, name: str, settings: Settings) -> float:
    for tower, factor in (("image", settings.image_factor), ("text", settings.text_factor)):
        if name.startswith(projection(model, tower)):
            return settings.projection_factor
        if (at := depth(model, tower, name)) is not None:
            below = block_count(model, tower) + 1 - at
            return factor * float(settings.layer_decay**below)
    return settings.projection_factor


def set_train_mode(model: nn.Module, settings: Settings) -> None:
    """Set training mode, but evaluation mode for every batch norm and for a frozen tower.

    With the statistics of a batch, the embedding of an image depends on its neighbours; a batch that is processed in
    chunks would then no longer have the gradient of the whole. `gradcache.refuse_batch_statistics` refuses layers that
    have no stored statistics.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    for tower, word in (("image", settings.image_tower), ("text", settings.text_tower)):
        if parse_tower(word).kind in ("projection", "locked"):
            model.get_submodule(TOWERS[tower]).eval()  # it cannot adapt to dropout


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return the number of parameters that learn, and of all."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, learns in sizes if learns), sum(size for size, _ in sizes)


def add_adapters(model: nn.Module, settings: Settings) -> bool:
    """Add adapters to each tower that asks for them; return whether any does. Raises `TrainingError` without peft."""
    adapted = False
    for tower, word in (("image", settings.image_tower), ("text", settings.text_tower)):
        spec = parse_tower(word)
        if spec.kind == "lora":
            _inject(model, tower, int(spec.amount))
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
    # With alpha = rank the step size is unchanged, so that one learning rate suits every rank.
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=linear, init_lora_weights=True)
    inject_adapter_in_model(config, model.get_submodule(TOWERS[tower]))


def merge_adapters(model: nn.Module) -> nn.Module:
    """Return a copy of the model without adapters, their product added to the weights that they adapt."""
    from peft.tuners.lora import LoraLayer

    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            layer: Any = module
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.get_base_layer())
    return model
