"""The layers of EfficientNet-Lite in torch alone, so that its image tower can be run without loading transformers.

Tan & Le, 2019, arXiv:1905.11946; the Lite variant was published with TensorFlow's TPU models.
"""

from __future__ import annotations

import math

import torch
from torch import nn

# (kernel, stride, expansion, channels in, channels out, repeats) of B0; Lite scales channels and repeats.
STAGES = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280


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


class EfficientNetLite(nn.Module):
    """Float ``(n, channels, height, width)`` with sides that are multiples of 32 in, ``(n, 1280, h / 32, w / 32)`` out.

    Parameters
    ----------
    width, depth
        1.0 and 1.0 are Lite0, 1.1 and 1.2 are Lite2.
    channels
        The number of channels of the images.
    eps
        The epsilon of batch norm.
    """

    def __init__(self, width: float = 1.0, depth: float = 1.0, channels: int = 3, eps: float = 1e-3) -> None:
        super().__init__()
        self.stem = ConvNorm(channels, STEM_CHANNELS, 3, eps=eps, stride=2)
        blocks: list[nn.Module] = []
        last = STEM_CHANNELS
        for stage, (kernel, stride, expansion, _, base, _) in enumerate(STAGES):
            out = scaled(base, width)
            for repeat in range(repeats(stage, depth)):
                blocks.append(InvertedResidual(last, out, kernel, stride if repeat == 0 else 1, expansion, eps))
                last = out
        self.blocks = nn.ModuleList(blocks)
        self.head = ConvNorm(last, HEAD_CHANNELS, 1, eps=eps)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Compute the features of a batch."""
        return features(self.stem, self.blocks, self.head, pixels)


def features(stem: nn.Module, blocks: nn.ModuleList, head: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Apply the layers in turn, channels last: a processor convolves them faster so."""
    hidden: torch.Tensor = stem(pixels.contiguous(memory_format=torch.channels_last))
    for block in blocks:
        hidden = block(hidden)
    out: torch.Tensor = head(hidden)
    return out


def scaled(base: int, width: float) -> int:
    """Scale a channel count by the width, to a multiple of 8 and never down by more than a tenth."""
    wanted = base * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def repeats(stage: int, depth: float) -> int:
    """Blocks in a stage. Lite leaves the first and the last stage at B0's depth."""
    base = STAGES[stage][5]
    return base if stage in (0, len(STAGES) - 1) else math.ceil(base * depth)
