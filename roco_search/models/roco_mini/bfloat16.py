"""The image tower of roco-mini for indexing, in bfloat16 by torch alone: without transformers it loads far sooner.

Batch norm is folded into the convolutions in float32 before the weights are rounded, so that it is closer to float32
than autocast, which rounds the output of each convolution first.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from roco_search.models.roco_mini.efficientnet_layers import EfficientNetLite
from roco_search.system.process import cores

if TYPE_CHECKING:
    from roco_search.models.checkpoint import Checkpoint

CORES = cores()
LEAST = 4  # Images in a part, at least.
_SETTINGS = {
    "width_coefficient": "width",
    "depth_coefficient": "depth",
    "num_channels": "channels",
    "batch_norm_eps": "eps",
}


class Bfloat16Tower:
    """Embeds prepared images, float32 ``(n, 3, height, width)``, as float32 ``(n, dim)`` of unit norm."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        config = checkpoint.config["vision_config"]
        settings = {ours: config[theirs] for theirs, ours in _SETTINGS.items() if theirs in config}
        layers = EfficientNetLite(**settings).eval()

        def weight(name: str) -> torch.Tensor:
            with safe_open(checkpoint.tensors[name].file, "pt") as file:
                tensor: torch.Tensor = file.get_tensor(name)
            return tensor

        layers.load_state_dict({name: weight(f"vision_model.{name}") for name in layers.state_dict()})
        _fold(layers)
        self._layers = layers.to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._projection = weight("visual_projection.weight").float().T

        self._workers = ThreadPoolExecutor(CORES, "roco-embed", initializer=torch.set_num_threads, initargs=(1,))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Embed a batch."""
        if len(pixels) < LEAST * CORES:  # on many cores torch divides an image better than we divide a batch
            return self._embed(pixels)
        return np.concatenate(list(self._workers.map(self._embed, np.array_split(pixels, CORES))))

    def _embed(self, pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            hidden = self._layers(torch.from_numpy(pixels).to(torch.bfloat16))
            out = hidden.float().mean(dim=(2, 3)) @ self._projection
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
