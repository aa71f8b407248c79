"""What is special about each family of dual encoders that can be loaded: one row for each ``model_type``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Family:
    """One family.

    Attributes
    ----------
    image_projection, text_projection
        The layers that project into the shared space: beside the towers (CLIP), or the head of a tower (SigLIP).
    max_tokens
        The length of a text if ``config.json`` does not give it.
    pads_to_max
        The text tower pools the last position, so that every text has to fill all of them.
    any_image_size
        The image tower is convolutional and takes images of every size that is a multiple of 32 pixels.
    module
        The architecture is this package's own, and this module registers it with transformers.
    embedded
        It is roco-mini: its texts are tokenised without transformers, and it has a bf16 image tower.
    """

    image_projection: str = "visual_projection"
    text_projection: str = "text_projection"
    max_tokens: int = 77
    pads_to_max: bool = False
    any_image_size: bool = False
    module: str | None = None
    embedded: bool = False


_SIGLIP = Family("vision_model.head", "text_model.head", max_tokens=64, pads_to_max=True)

FAMILIES: Mapping[str, Family] = {
    "clip": Family(),
    "siglip": _SIGLIP,
    "siglip2": _SIGLIP,
    "vision-text-dual-encoder": Family(),
    "open_clip": Family(module="roco_search.models.open_clip.modeling"),
    "roco_mini": Family(any_image_size=True, module="roco_search.models.roco_mini.modeling", embedded=True),
}
"""By transformers' ``model_type``, in the order in which they are named to people."""

UNUSED_POSITIONS: Mapping[str, int] = {"roberta": 2, "xlm-roberta": 2, "camembert": 2}
"""Text towers that count positions from the padding index on, and how many of their positions that leaves unused."""


def text_length(config: Mapping[str, Any]) -> int:
    """Return the number of positions that the text tower of a ``config.json`` can use."""
    text = {**(config.get("text_config") or {}), **(config.get("text_config_dict") or {})}
    positions = int(text.get("max_position_embeddings", FAMILIES[config["model_type"]].max_tokens))
    return positions - UNUSED_POSITIONS.get(str(text.get("model_type", "")), 0)


def register(model_type: str) -> None:
    """Make transformers know an architecture, if it is this package's own."""
    if module := FAMILIES[model_type].module:
        import_module(module).register()
