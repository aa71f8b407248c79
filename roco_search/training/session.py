"""From what a person asked for to a run: its data, model and processes, where to begin, and what it will cost."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from roco_search.datasets import TrainingData, check_trainable, open_training
from roco_search.datasets.report import describe
from roco_search.errors import StorageFull
from roco_search.models import Device
from roco_search.models.catalogue import registry
from roco_search.models.legibility import is_illegible
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.system.progress import Silent, following
from roco_search.training import checkpoint
from roco_search.training.distributed import ProcessGroup, process_group
from roco_search.training.outcome.card import read_facts
from roco_search.training.outcome.output import push
from roco_search.training.report import Report, RunResult
from roco_search.training.run import Run
from roco_search.training.settings import Settings
from roco_search.training.start import Start, begin_to_prolong, choose_start
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
    last = run.start + min(1 + MEASURED_STEPS, run.total - run.start)
    with following(run.report, last - run.start) as report:
        for batch in run.batches.run(run.start, last):
            report.advance(1, **run.take_step(batch))
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


class Session:
    """One call of ``roco train``. Nothing is read before `plan` or `train`.

    Parameters
    ----------
    data, licences, where, caption_columns
        What to learn from; see `open_training`.
    base, output
        The model to start from (see `registry.find`), and the folder of the run.
    settings, device
        How and where to train.
    report
        Receives the progress and notes of the run.
    """

    def __init__(
        self,
        data: str,
        base: str,
        output: Path,
        settings: Settings,
        licences: Sequence[str],
        where: Sequence[str],
        caption_columns: Sequence[str],
        device: Device,
        report: Report,
    ) -> None:
        self._data, self._base, self._output, self._settings = data, base, output, settings
        self._licences, self._where, self._columns = licences, where, caption_columns
        self._device, self._report = device, report

    def plan(self) -> TrainingPlan | None:
        """Measure the first steps. Returns None in every process but the first."""
        with self._run(Start()) as run:
            plan = measure(run)
            return plan if run.group.is_main else None

    def train(self, resume: bool, tensorboard: bool = False, prolong: int = 0) -> RunResult | None:
        """Train to the end. Returns None in every process but the first.

        Parameters
        ----------
        resume
            Whether to continue a run that was broken off.
        tensorboard
            Whether to write a log for TensorBoard too.
        prolong
            The number of epochs by which to continue a finished run, on a fresh schedule; 0 is not to.

        Raises
        ------
        TrainingError, ModelError, InputError, StorageFull
        """
        if prolong:
            self._settings = replace(self._settings, epochs=prolong)
        start = choose_start(self._output, resume, prolong)
        if start.ended is not None:
            return self._ended(start.ended)
        try:
            with self._run(start, tensorboard) as run:
                if start.checkpoint is not None:
                    run.resume(checkpoint.load(start.checkpoint))
                if run.state.step and run.group.is_main:
                    self._report.note(f"Continuing from step {run.state.step:,}.")
                result = run.train()
                return result if run.group.is_main else None
        except StorageFull as error:
            again = "Free some space and run the same command again with `resume=True`."
            raise StorageFull(error.said, error.remedy or again) from error

    def _ended(self, facts: Mapping[str, Any]) -> RunResult | None:
        """Return the result of a run that has nothing left to do."""
        checkpoint.refuse_other_settings(facts["settings"], self._settings.to_dict())
        if os.environ.get("RANK", "0") != "0":
            return None
        ended = facts["ended"]
        self._report.note(f"This run ended at step {ended['step']:,}; `prolong=3` trains it for three epochs more.")
        return RunResult(**ended, seconds=0.0, waited=0.0, pairs=0, unreadable={})

    def push(self, repository: str) -> str:
        """Upload the trained model to the hub and return its address; see `hub.upload.push`."""
        return push(self._output, repository)

    def facts(self, result: RunResult) -> dict[str, Any]:
        """Return the result and the facts of the card, for JSON."""
        return {**asdict(result), "model": read_facts(self._output)}

    @contextmanager
    def _run(self, start: Start, tensorboard: bool = False) -> Iterator[Run]:
        base = registry.find(self._base)  # an unknown name is refused before data is read
        with process_group(self._device) as (group, device):
            data = self._open(group)
            group.any(False)  # every process has chosen where it starts before the first one changes that
            if start.base is not None:
                if group.is_main:
                    begin_to_prolong(self._output, start.base)
                group.any(False)
                base = registry.find(str(start.base))
            encoder = TorchEncoder(base, device, self._settings.precision)  # type: ignore[arg-type]
            report = self._report if group.is_main else _SilentReport()
            for line in about_captions(encoder, data) if group.is_main else ():
                self._report.note(line)
            yield Run(
                encoder,
                data,
                self._settings,
                self._output,
                report,
                group=group,
                tensorboard=tensorboard,
                start=start.step,
            )

    def _open(self, group: ProcessGroup) -> TrainingData:
        data = open_training(
            self._data,
            licences=self._licences,
            where=self._where,
            caption_columns=self._columns,
            seed=self._settings.seed,
            cases_apart=self._settings.cases_apart,
        )
        check_trainable(data.train.pairs)
        if group.is_main:
            for line in describe(data):
                self._report.note(line)
        return data


def about_captions(encoder: TorchEncoder, data: TrainingData) -> Iterator[str]:
    """Yield a sentence about captions that are too long for a model, and one about those that it cannot read."""
    captions = list({caption for pair in data.train.pairs for caption in pair.captions})
    cut, length = encoder.count_cut(captions)
    if cut:
        yield f"{cut:,} of {len(captions):,} captions are longer than {length} tokens; the model reads no more of them."
    unread = sum(is_illegible(encoder, caption) for caption in captions)
    if unread:
        yield f"{unread:,} of {len(captions):,} captions are in a script that the model's vocabulary has no words in."


class _SilentReport(Silent):
    """The report of every process but the first."""

    def validated(self, result: Any, best: bool) -> None: ...

    def note(self, text: str) -> None: ...
