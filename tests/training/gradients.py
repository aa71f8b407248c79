"""Gradients as tests compare them."""

from __future__ import annotations

import torch
from torch import nn


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    """Take the gradients out of a model."""
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def worst(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Return the largest relative difference of a parameter's gradient.

    The bias of an attention key has no influence on the softmax, so its gradient is zero but for rounding: one below
    1e-12 of the whole gradient is measured against that.
    """
    assert found.keys() == expected.keys()
    whole = torch.cat([tensor.flatten() for tensor in expected.values()]).norm()
    sizes = {name: tensor.norm() if tensor.norm() > 1e-12 * whole else whole for name, tensor in expected.items()}
    return max(((found[name] - expected[name]).norm() / size).item() for name, size in sizes.items())


def difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Return the relative difference of two whole gradients."""
    assert found.keys() == expected.keys()
    one, other = (torch.cat([tensors[name].double().flatten() for name in expected]) for tensors in (found, expected))
    return ((one - other).norm() / other.norm()).item()
