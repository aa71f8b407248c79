"""How ``roco train`` tells of a run while it goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from roco_search.cli.output import err, say

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from roco_search.training.validation import ValidationResult

_LINE_EVERY_S = 30.0  # where nobody watches a bar


class Told:
    """A bar on a terminal, a line now and then elsewhere, nothing when quiet; looks and notes are lines."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._total, self._first, self._started, self._said = 0, 0, 0.0, 0.0

    def begin(self, first: int, total: int) -> None:
        """Steps ``first`` to ``total`` are next."""
        self._first, self._total = first, total
        self._started = self._said = time.monotonic()
        if self._quiet or not sys.stderr.isatty():
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("Training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=err(),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=total, completed=first, told="")

    def step(self, line: Mapping[str, Any]) -> None:
        """A step is done."""
        told = f"loss {line['loss']:.3f}  {line['pairs_per_second']:.1f} pairs/s"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=line["step"], told=told)
        elif not self._quiet and time.monotonic() - self._said > _LINE_EVERY_S:
            self._said = time.monotonic()
            done = line["step"] - self._first
            left = (self._said - self._started) / done * (self._total - line["step"])
            say(f"step {line['step']:,} of {self._total:,}  {told}  {duration(left)} left")
        if self._bar is not None and line["step"] == self._total:
            self.end()

    def validated(self, result: ValidationResult, best: bool) -> None:
        """The model was validated."""
        if not self._quiet:
            recalls = result.recalls
            self._say(
                f"step {result.step:,}: recall@10 among {result.pool:,}: image to text "
                f"{recalls['image-to-text recall@10']:.3f}, text to image {recalls['text-to-image recall@10']:.3f}; "
                f"mean recall {result.mean:.3f}{'  (best, kept)' if best else ''}"
            )

    def note(self, text: str) -> None:
        """Something that a person should know."""
        if not self._quiet:
            self._say(text)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            say(text)


def duration(seconds: float) -> str:
    """Return "1 h 20 min", "3 min 5 s" or "12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def size(count: int) -> str:
    """Return "1.2 GB" or "512 MB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
