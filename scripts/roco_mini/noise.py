"""Dropout and stochastic depth for the image tower while it is trained; the finished model has neither.

Huang et al., 2016, arXiv:1603.09382; the rates grow with depth, as in EfficientNet's own training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import dropout

from roco_search.models.roco_mini.efficientnet_layers import InvertedResidual


def add_noise(tower: nn.Module, depth: float, features: float) -> None:
    """Leave out each residual branch with up to ``depth``, each pooled feature with ``features`` probability."""
    blocks = [block for block in tower.modules() if isinstance(block, InvertedResidual)]
    for number, block in enumerate(blocks):
        if block.shortcut:
            block.register_forward_hook(_leave_out(depth * (number + 1) / len(blocks)))
    tower.register_forward_hook(_drop(features))


def _leave_out(rate: float) -> Any:
    def hook(block: nn.Module, inputs: tuple[torch.Tensor], out: torch.Tensor) -> torch.Tensor:
        if not block.training or not torch.is_grad_enabled():
            return out
        hidden = inputs[0]
        kept = (torch.rand(len(hidden), 1, 1, 1) >= rate).float() / (1 - rate)
        return hidden + (out - hidden) * kept

    return hook


def _drop(rate: float) -> Any:
    def hook(tower: nn.Module, inputs: Any, out: Any) -> Any:
        if tower.training and torch.is_grad_enabled():
            out.pooler_output = dropout(out.pooler_output, rate)
        return out

    return hook
