"""The gradient of a large contrastive batch in the memory of a small one.

A contrastive loss compares every image of a batch with every text, so its gradient cannot be summed over smaller
batches: each would see fewer negatives, and the sum would be the gradient of another objective. GradCache (Gao,
Zhang, Han and Callan 2021, arXiv:2101.06983, section 3) is exact instead:

1. embed all chunks without a graph;
2. compute the loss of the whole batch on those embeddings, and its gradient with respect to each of them;
3. embed each chunk again, now with a graph, and push its cached gradient through.

It holds as long as an example's embedding depends neither on its neighbours nor on when it is computed. Batch
normalisation on batch statistics breaks that, which `refuse_batch_statistics` says; dropout does not, because `rowwise`
draws its masks by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from roco_search.errors import TrainingError

Encode = Callable[[], torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Backward = Callable[[torch.Tensor], None]
Gather = Callable[[torch.Tensor, int], tuple[torch.Tensor, slice]]


def cached_backward(
    images: Sequence[Encode],
    texts: Sequence[Encode],
    loss: Loss,
    *,
    backward: Backward = torch.Tensor.backward,
    gather: Gather | None = None,
) -> torch.Tensor:
    """Accumulate the gradient of ``loss(all images, all texts)`` into the parameters, chunk by chunk.

    Parameters
    ----------
    images, texts : one function a chunk; each call embeds the chunk, float ``(chunk, dim)``, with the graph if
        gradients are enabled. Each is called twice, and has to return the same both times.
    loss : takes the embeddings of the whole batch in order, returns a scalar. Parameters that it uses itself,
        such as the logit scale, get their gradient here, once.
    backward : runs the backward pass of the loss, where it has to be scaled first (fp16).
    gather : where several processes share the batch: takes the features of this one and 0 for images or 1 for texts,
        returns those of all, and which rows are this one's. The chunks are then this process's own.

    Returns
    -------
    The loss, detached.
    """
    towers = [[_Chunk.embed(encode) for encode in tower] for tower in (images, texts)]
    own = [torch.cat([chunk.features for chunk in tower]) for tower in towers]
    gathered = [gather(features, i) if gather else (features, slice(None)) for i, features in enumerate(own)]
    leaves = [features.requires_grad_() for features, _ in gathered]
    value = loss(*leaves)
    backward(value)
    for tower, leaf, (_, rows) in zip(towers, leaves, gathered, strict=True):
        assert leaf.grad is not None
        sizes = [len(chunk.features) for chunk in tower]
        for chunk, gradient in zip(tower, leaf.grad[rows].split(sizes), strict=True):
            chunk.replay(gradient)
    return value.detach()


def refuse_batch_statistics(model: nn.Module) -> None:
    """Raise `TrainingError` where a layer would normalise by its batch: chunks would then change the result."""
    for name, module in model.named_modules():
        uses_batch = module.training or getattr(module, "running_mean", None) is None
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and uses_batch:
            raise TrainingError(
                f"The layer {name} normalises by the statistics of its batch, so a batch cannot be processed in parts "
                "without changing the result; freeze the statistics (module.eval()) or train with `micro_batch` "
                "equal to `batch_size`."
            )


@dataclass(frozen=True, slots=True)
class _Chunk:
    encode: Encode
    features: torch.Tensor

    @classmethod
    def embed(cls, encode: Encode) -> _Chunk:
        with torch.no_grad():
            return cls(encode, encode())

    def replay(self, gradient: torch.Tensor) -> None:
        features = self.encode()
        if features.requires_grad:  # a locked tower has nothing to learn
            torch.autograd.backward(features, gradient.to(features.dtype))
