"""Several processes, on one machine or many, that together train one model as one process would.

``torchrun`` sets environment variables that number the processes. Each process embeds its shard of the batch, the
features are gathered, every process computes the same loss of the whole batch, and each propagates the gradient of its
own shard through its towers. The sum of the gradients is then that of the whole batch, up to rounding. On GPUs the
processes communicate through NCCL, on processors through Gloo.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from roco_search.errors import TrainingError


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes of a run. ``rank`` is the number of this one; the process of rank 0 writes files and reports."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def shard(self, count: int) -> slice:
        """Return which of ``count`` rows belong to this process: a contiguous range, as even as possible."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def gather_rows(self, own: torch.Tensor, counts: Sequence[int]) -> tuple[torch.Tensor, slice]:
        """Return the rows of all processes, ``counts`` of each, and which of them are its own; no gradient flows."""
        padded = own.new_zeros((max(counts), *own.shape[1:]))
        padded[: len(own)] = own
        received = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(received, padded)
        start = sum(counts[: self.rank])
        rows = torch.cat([rows[:count] for rows, count in zip(received, counts, strict=True)])
        return rows, slice(start, start + len(own))

    def gather_objects(self, own: Any) -> list[Any]:
        """Return what each process passed, by rank."""
        if self.size == 1:
            return [own]
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, own)
        return gathered

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter], shared: Sequence[torch.nn.Parameter]) -> None:
        """Sum the gradients of all processes. Those of ``shared`` parameters are the same in all of them already."""
        if self.size == 1:
            return
        known = {id(parameter) for parameter in shared}
        for parameter in parameters:
            if parameter.grad is None:  # no row of this process used it, but one of another process may have
                parameter.grad = torch.zeros_like(parameter)
            if id(parameter) in known:
                parameter.grad /= self.size
            dist.all_reduce(parameter.grad)

    def any(self, own: bool) -> bool:
        """Return whether any process passed True."""
        return any(self.gather_objects(own))


@contextmanager
def process_group(device: str) -> Iterator[tuple[ProcessGroup, str]]:
    """Join the processes that were launched with this one; yield their group and this process's device."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup(), device
        return
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    except (ValueError, RuntimeError) as error:
        raise TrainingError(
            f"This process is one of {size} but could not join the others; start them with torchrun."
        ) from error
    try:
        yield ProcessGroup(dist.get_rank(), size), device
    finally:
        dist.destroy_process_group()
