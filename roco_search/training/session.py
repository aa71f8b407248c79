"""The folder of a run: new, or with an interrupted run."""

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
from roco_search.training.checkpoint import latest
from roco_search.training.distributed import World, joined
from roco_search.training.outcome.card import read_facts
from roco_search.training.outcome.output import push
from roco_search.training.plan import Plan, measure
from roco_search.training.run import Outcome, Report, Run
from roco_search.training.settings import Settings


def choose_start(output: Path, resume: bool) -> Path | None:
    """Return the checkpoint to resume from, or None for a new run.

    Raises
    ------
    InputError
        If the folder holds something and the run is not to be resumed, so that nothing is overwritten.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; choose a folder for `output`.")
    if resume:
        return latest(output)
    if latest(output):
        raise InputError(
            f"{output} already contains a run; continue it with `resume=True`, or choose another `output`."
        )
    if output.exists() and any(output.iterdir()):
        raise InputError(f"{output} is not empty, and nothing in it is overwritten; choose another `output`.")
    return None


class Session:
    """One call of ``roco train``. Nothing is read before `plan` or `train`.

    Parameters
    ----------
    data, base, output
        What to learn from (see `open_training`), the model to start from (see `registry.find`), and the run's folder.
    settings, licences, where, caption_columns, device
        How.
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

    def plan(self) -> Plan | None:
        """Measure the first steps; None in every process but the first."""
        with self._run() as run:
            plan = measure(run)
            return plan if run.world.is_main else None

    def train(self, resume: bool, tensorboard: bool = False) -> Outcome | None:
        """Train to the end; None in every process but the first.

        Raises
        ------
        TrainingError, ModelError, InputError, StorageFull
        """
        start = choose_start(self._output, resume)
        with self._run(tensorboard) as run:
            if start is not None:
                run.resume(checkpoint.load(start))
                if run.world.is_main:
                    self._report.note(f"Continuing from step {run.progress.step:,}.")
            outcome = run.go()
            return outcome if run.world.is_main else None

    def push(self, repository: str) -> str:
        """Upload the model that came out; see `push.push`."""
        return push(self._output, repository)

    def facts(self, outcome: Outcome) -> dict[str, Any]:
        """Return the outcome and what the card says, for a machine."""
        return {**asdict(outcome), "model": read_facts(self._output)}

    @contextmanager
    def _run(self, tensorboard: bool = False) -> Iterator[Run]:
        checkpoint_of_base = registry.find(self._base)  # a name that leads nowhere is refused before data is read
        with joined(self._device) as (world, device):
            data = self._open(world)
            encoder = TorchEncoder(checkpoint_of_base, device, self._settings.precision)  # type: ignore[arg-type]
            report = self._report if world.is_main else _SilentReport()
            yield Run(encoder, data, self._settings, self._output, report, world=world, tensorboard=tensorboard)

    def _open(self, world: World) -> TrainingData:
        data = open_training(
            self._data,
            licences=self._licences,
            where=self._where,
            caption_columns=self._columns,
            seed=self._settings.seed,
            cases_apart=self._settings.cases_apart,
        )
        check_trainable(data.train.pairs)
        if world.is_main:
            for line in describe(data):
                self._report.note(line)
        return data


class _SilentReport(Silent):
    """The report of every process but the first."""

    def look(self, look: Any, best: bool) -> None: ...

    def note(self, text: str) -> None: ...
