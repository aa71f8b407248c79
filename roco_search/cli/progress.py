"""The one progress bar: drawn on standard error where that is a terminal, unless the person asked for quiet.

A training adds lines to it: evaluations and notes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from roco_search.cli.output import err, say
from roco_search.system.text import duration

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn, TaskID

    from roco_search.training.selection import ValidationResult


_LINE_EVERY_S = 30.0  # where no bar is shown
_SETTLED_S = 1.0  # an earlier pace means little


class ProgressBar:
    """A `roco_search.system.progress.Progress` for a person.

    Parameters
    ----------
    label
        What the bar is about.
    quiet
        Whether nothing is to be shown.
    counts_bytes
        Whether bytes are counted: they are shown as a size, with their speed.
    figures
        The figures to show beside the bar, by the names that `advance` gets, such as ``images_per_second``.
    unit
        What is counted; if it is given and there is no terminal, a line is printed every half minute.
    """

    def __init__(
        self,
        label: str,
        quiet: bool = False,
        *,
        counts_bytes: bool = False,
        figures: Sequence[str] = ("images_per_second",),
        unit: str | None = None,
    ) -> None:
        self._label, self._quiet, self._counts_bytes = label, quiet, counts_bytes
        self._figures, self._unit = figures, unit
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._total = self._first = self._done = 0
        self._started = self._said = 0.0

    def start(self, total: int, done: int = 0) -> None:
        """Show the bar, with `done` of `total` finished already."""
        self._total, self._first, self._done = total, done, done
        self._started = self._said = time.monotonic()
        if self._quiet or not sys.stderr.isatty():
            return
        from rich.progress import Progress

        self._bar = Progress(*self._columns(), console=err(), transient=True)
        self._bar.start()
        self._task = self._bar.add_task(self._label, total=total, completed=done, figures="")

    def _columns(self) -> list[ProgressColumn]:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        counted: list[ProgressColumn] = (
            [DownloadColumn(), TransferSpeedColumn()] if self._counts_bytes else [MofNCompleteColumn()]
        )
        figures = [] if self._counts_bytes else [TextColumn("{task.fields[figures]}")]
        return [TextColumn("{task.description}"), BarColumn(), *counted, *figures, TimeRemainingColumn()]

    def advance(self, count: int, **figures: float) -> None:
        """Count `count` more as finished, and show the requested figures."""
        self._done += count
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            shown = self._shown(figures) if now - self._started > _SETTLED_S else ""
            self._bar.update(self._task, completed=self._done, figures=shown)
        elif self._unit and not self._quiet and now - self._said > _LINE_EVERY_S and self._done > self._first:
            self._said = now
            left = (now - self._started) / (self._done - self._first) * (self._total - self._done)
            shown = self._shown(figures)
            say(f"{self._unit} {self._done:,} of {self._total:,}  {shown}  {duration(left)} left")

    def _shown(self, figures: dict[str, float]) -> str:
        return "  ".join(_shown(name, figures[name]) for name in self._figures if name in figures)

    def say(self, text: str) -> None:
        """Print a message above the bar, or by itself if there is no bar; nothing when quiet."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            say(text)

    def stop(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _shown(name: str, value: float) -> str:
    """Return a figure as "12.3 images/s" or "loss 0.693"."""
    words = name.replace("_", " ")
    if words.endswith(" per second"):
        return f"{value:,.1f} {words.removesuffix(' per second')}/s"
    return f"{words} {value:.3f}"


class TrainingProgress(ProgressBar):
    """A bar on a terminal, an occasional line elsewhere, nothing when quiet; evaluations and notes are lines."""

    def __init__(self, quiet: bool) -> None:
        super().__init__("Training", quiet, figures=("loss", "pairs_per_second"), unit="step")

    def validated(self, result: ValidationResult, best: bool) -> None:
        """Print what a validation found."""
        recalls = result.recalls
        self.say(
            f"step {result.step:,}: recall@10 among {result.pool:,}: image to text "
            f"{recalls['image-to-text recall@10']:.3f}, text to image {recalls['text-to-image recall@10']:.3f}; "
            f"mean recall {result.mean:.3f}{'  (kept)' if best else ''}"
        )

    def note(self, text: str) -> None:
        """Print something that the user should know."""
        self.say(text)
