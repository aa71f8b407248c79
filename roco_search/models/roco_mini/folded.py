"""The image tower of roco-mini for indexing, by torch alone: without transformers it loads far sooner.

Batch norm is folded into the convolutions in float32 before weights are rounded, so that bfloat16 is closer to float32
than autocast, which rounds the output of each convolution first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from roco_search.models.roco_mini.efficientnet_layers import EfficientNetLite

if TYPE_CHECKING:
    from roco_search.models.checkpoint import Checkpoint

_SETTINGS = {
    "width_coefficient": "width",
    "depth_coefficient": "depth",
    "num_channels": "channels",
    "batch_norm_eps": "eps",
}


class FoldedTower:
    """Embeds prepared images, float32 ``(n, 3, height, width)``, as float32 ``(n, dim)`` of unit norm.

    Parameters
    ----------
    checkpoint
        A model of roco-mini's architecture.
    dtype
        ``torch.float32`` or ``torch.bfloat16``: what the convolutions compute in.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        config = checkpoint.config["vision_config"]
        settings = {ours: config[theirs] for theirs, ours in _SETTINGS.items() if theirs in config}
        layers = EfficientNetLite(**settings).eval()

        def weight(name: str) -> torch.Tensor:
            with safe_open(checkpoint.tensors[name].file, "pt") as file:
                tensor: torch.Tensor = file.get_tensor(name)
            return tensor

        layers.load_state_dict({name: weight(f"vision_model.{name}") for name in layers.state_dict()})
        _fold(layers)
        self._dtype = dtype
        self._layers = layers.to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._projection = weight("visual_projection.weight").float().T

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Embed a batch."""
        with torch.inference_mode():
            given = torch.from_numpy(pixels).to(self._dtype, memory_format=torch.channels_last)
            out = self._layers(given).float().mean(dim=(2, 3)) @ self._projection
            return np.asarray(nn.functional.normalize(out, dim=-1))


def _fold(module: nn.Module) -> None:
    """Multiply each batch norm into the convolution before it."""
    before: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            before = name, child
        elif isinstance(child, nn.BatchNorm2d) and before:
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, nn.Identity())
        else:
            _fold(child)
