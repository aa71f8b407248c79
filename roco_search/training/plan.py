"""What a run will cost, measured in its first steps. Nothing is written."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import torch

from roco_search.training.run import Run
from roco_search.training.towers import count_parameters

MEASURED_STEPS = 3


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The size and cost of a run that has not begun.

    Attributes
    ----------
    steps, steps_per_epoch, batch_size, micro_batch
        The numbers of steps, and of pairs in a batch and in memory at once.
    learning, parameters
        The number of parameters that learn, and of all.
    objective, precision, device
        What ``auto`` was resolved to.
    memory_bytes
        The most memory that the first steps took: of the GPU where there is one, else of the process.
    checkpoint_bytes
        The size of a checkpoint on the disk; two are kept.
    step_seconds, total_seconds
        Of a step after the first, and of all steps at that pace, without validation.
    waited
        The share of that time in which the steps waited for data, in [0, 1].
    """

    steps: int
    steps_per_epoch: int
    batch_size: int
    micro_batch: int
    learning: int
    parameters: int
    objective: str
    precision: str
    device: str
    memory_bytes: int
    checkpoint_bytes: int
    step_seconds: float
    total_seconds: float
    waited: float


def measure(run: Run) -> TrainingPlan:
    """Take a few steps and discard them. The run cannot be used afterwards."""
    device = run.encoder.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = waited = 0.0
    steps = 0
    for batch in run.batches.run(0, min(1 + MEASURED_STEPS, run.total)):
        run.take_step(batch)
        if not started:  # the first step allocates and compiles
            started, waited = time.perf_counter(), run.batches.waited
            continue
        steps += 1
    spent = time.perf_counter() - started
    seconds = spent / steps if steps else 0.0
    learning, parameters = count_parameters(run.model)
    return TrainingPlan(
        run.total,
        run.sampler.steps_per_epoch,
        run.sampler.count,
        min(run.settings.micro_batch, run.sampler.count),
        learning,
        parameters,
        run.objective.name,
        run.encoder.precision,
        str(device),
        peak_memory(device),
        learning * 4 * (4 if run.settings.averaging else 3),  # weights, two moments, and the average
        seconds,
        seconds * run.total,
        (run.batches.waited - waited) / spent if steps else 0.0,
    )


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: of the tensors on a GPU, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
