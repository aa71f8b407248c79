"""Several processes, on one machine or many, that together train one model as one process would.

``accelerate launch`` and ``torchrun`` give each process its number in environment variables. Each embeds its part
of the batch; the features are gathered, every process computes the same loss of the whole batch, and each pushes the
gradient of its own part through its towers. The sum of the gradients is then that of the whole batch, to rounding.
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
class World:
    """The processes of a run. ``rank`` is this one's number; the process of rank 0 writes files and prints."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Return which of `count` rows are this process's: contiguous, and as even as possible."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def gather_rows(self, own: torch.Tensor, counts: Sequence[int]) -> tuple[torch.Tensor, slice]:
        """Return the rows of all processes, ``counts`` of each, and which are this one's; no gradient passes."""
        padded = own.new_zeros((max(counts), *own.shape[1:]))
        padded[: len(own)] = own
        received = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(received, padded)
        start = sum(counts[: self.rank])
        rows = torch.cat([rows[:count] for rows, count in zip(received, counts, strict=True)])
        return rows, slice(start, start + len(own))

    def gather_objects(self, own: Any) -> list[Any]:
        """Return the value that each process contributes, by rank."""
        if self.size == 1:
            return [own]
        said: list[Any] = [None] * self.size
        dist.all_gather_object(said, own)
        return said

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter], shared: Sequence[torch.nn.Parameter]) -> None:
        """Add up the gradients of all processes. Those of ``shared`` parameters are the same everywhere already."""
        if self.size == 1:
            return
        known = {id(parameter) for parameter in shared}
        for parameter in parameters:
            if parameter.grad is None:  # no row of this process touched it, but one of another's may have
                parameter.grad = torch.zeros_like(parameter)
            if id(parameter) in known:
                parameter.grad /= self.size
            dist.all_reduce(parameter.grad)

    def agree(self, wish: bool) -> bool:
        """Whether any process wishes it."""
        return any(self.gather_objects(wish))


@contextmanager
def joined(device: str) -> Iterator[tuple[World, str]]:
    """Join the processes that were launched with this one; give the world and this process's device."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(), device
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
            f"This process is one of {size} but could not join the others; start them with accelerate launch or "
            "torchrun."
        ) from error
    try:
        yield World(dist.get_rank(), size), device
    finally:
        dist.destroy_process_group()
