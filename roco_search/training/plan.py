"""What a run will cost, from its first steps: nothing is written."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import torch

from roco_search.training import towers as parts
from roco_search.training.run import Run

MEASURED_STEPS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """A run before it begins.

    Attributes
    ----------
    steps, steps_per_epoch, batch_size, micro_batch
        Its shape.
    learning, parameters
        How many parameters learn, and how many there are.
    objective, precision, device
        What ``auto`` came to.
    memory_bytes
        The most memory that the first steps took: of the GPU where there is one, else of the process.
    checkpoint_bytes
        The size of a checkpoint on the disk; two are kept.
    step_seconds, total_seconds
        Of a step after the first, and of all steps at that pace; evaluations on the validation split are added to that.
    waited
        Share of that time in which the step waited for data.
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


def measure(run: Run) -> Plan:
    """Take a few steps and throw them away. The run cannot be gone through afterwards."""
    device = run.encoder.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = waited = 0.0
    steps = 0
    for batch in run.batches.run(0, min(1 + MEASURED_STEPS, run.total)):
        run._step(batch)
        if not started:  # the first step allocates and compiles
            started, waited = time.perf_counter(), run.batches.waited
            continue
        steps += 1
    spent = time.perf_counter() - started
    seconds = spent / steps if steps else 0.0
    learning, parameters = parts.counted(run.model)
    return Plan(
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
    """Return the most bytes that were in use: on a GPU by tensors, else by the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
