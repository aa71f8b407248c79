"""A `roco_search.system.progress.Progress` that remembers what it was told."""

from __future__ import annotations


class Meter:
    def __init__(self) -> None:
        self.total = self.done = 0
        self.counts: list[int] = []
        self.figures: list[dict[str, float]] = []
        self.stopped = False

    def start(self, total: int, done: int = 0) -> None:
        self.total, self.done = total, done

    def advance(self, count: int, **figures: float) -> None:
        self.done += count
        self.counts.append(count)
        self.figures.append(figures)

    def stop(self) -> None:
        self.stopped = True
