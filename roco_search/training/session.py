"""One call of ``roco train``: opens the data and the model, then plans, trains or resumes, and uploads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roco_search.datasets import TrainingData, check_trainable, open_training
from roco_search.datasets.report import describe
from roco_search.errors import InputError
from roco_search.models import Device
from roco_search.models.catalogue import registry
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.system.progress import Silent
from roco_search.training import checkpoint
from roco_search.training.distributed import ProcessGroup, process_group
from roco_search.training.outcome.card import read_facts
from roco_search.training.outcome.output import push
from roco_search.training.plan import TrainingPlan, measure
from roco_search.training.run import Report, Run, RunResult
from roco_search.training.settings import Settings


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
        with self._run() as run:
            plan = measure(run)
            return plan if run.group.is_main else None

    def train(self, resume: bool, tensorboard: bool = False) -> RunResult | None:
        """Train to the end. Returns None in every process but the first.

        Raises
        ------
        TrainingError, ModelError, InputError, StorageFull
        """
        start = choose_start(self._output, resume)
        with self._run(tensorboard) as run:
            if start is not None:
                run.resume(checkpoint.load(start))
                if run.group.is_main:
                    self._report.note(f"Continuing from step {run.state.step:,}.")
            result = run.train()
            return result if run.group.is_main else None

    def push(self, repository: str) -> str:
        """Upload the trained model to the hub and return its address; see `hub.upload.push`."""
        return push(self._output, repository)

    def facts(self, result: RunResult) -> dict[str, Any]:
        """Return the result and the facts of the card, for JSON."""
        return {**asdict(result), "model": read_facts(self._output)}

    @contextmanager
    def _run(self, tensorboard: bool = False) -> Iterator[Run]:
        checkpoint_of_base = registry.find(self._base)  # an unknown name is refused before data is read
        with process_group(self._device) as (group, device):
            data = self._open(group)
            encoder = TorchEncoder(checkpoint_of_base, device, self._settings.precision)  # type: ignore[arg-type]
            report = self._report if group.is_main else _SilentReport()
            yield Run(encoder, data, self._settings, self._output, report, group=group, tensorboard=tensorboard)

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


def choose_start(output: Path, resume: bool) -> Path | None:
    """Return the checkpoint to resume from, or None for a new run.

    Raises
    ------
    InputError
        If the folder is not empty and the run is not to be resumed; nothing is ever overwritten.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; choose a folder for `output`.")
    if resume:
        return checkpoint.latest(output)
    if checkpoint.latest(output):
        raise InputError(
            f"{output} already contains a run; continue it with `resume=True`, or choose another `output`."
        )
    if output.exists() and any(output.iterdir()):
        raise InputError(f"{output} is not empty, and nothing in it is overwritten; choose another `output`.")
    return None


class _SilentReport(Silent):
    """The report of every process but the first."""

    def validated(self, result: Any, best: bool) -> None: ...

    def note(self, text: str) -> None: ...
