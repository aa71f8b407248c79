"""Exact or approximate: decided by what each has cost so far in this process.

The exact search costs nothing to begin with, and then time in proportion to the library. The graph has to be hashed
and loaded first, and then answers in a millisecond. How many queries will follow is unknown. So the graph is loaded
when exact searches have taken as long as loading it would: the total is then at most twice the optimum in hindsight
(ski rental; Karlin et al. 1988). A process that answers one query never loads it, a warm one on a large library soon
does.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

LOAD_RATE = 300e6
"""Bytes of a graph that are hashed and loaded in a second: 220 MB took 0.44 s to load and 0.15 s to hash."""

Mode = Literal["auto", "exact", "approximate"]


@dataclass(slots=True)
class Cost:
    """What the searches of one kind have cost in this process: seconds, and the number of queries."""

    seconds: float = 0.0
    queries: int = 0

    @property
    def per_query(self) -> float:
        """Seconds per query; 0 before the first."""
        return self.seconds / max(self.queries, 1)


class Planner:
    """Measures exact and approximate searches, and decides between them.

    Parameters
    ----------
    graph
        Path of the graph's file.
    is_current
        Whether that file is of the vectors that are searched; called only when it matters.
    clock
        Returns seconds.

    Attributes
    ----------
    exact, approximate
        The costs of unfiltered searches so far. Loading the graph is not part of them.
    graph_loaded
        Whether the graph is in memory already.
    """

    def __init__(self, graph: Path, is_current: Callable[[], bool], clock: Callable[[], float] = perf_counter) -> None:
        self.exact = Cost()
        self.approximate = Cost()
        self.graph_loaded = False
        self.clock = clock
        self._graph = graph
        self._is_current = is_current

    def prefers_graph(self) -> bool:
        """Whether the next search should be approximate."""
        if not self.exact.queries:
            return False
        if self.graph_loaded:
            return not self.approximate.queries or self.approximate.per_query < self.exact.per_query
        return self.exact.seconds >= self._loading_seconds() and self._is_current()

    def _loading_seconds(self) -> float:
        try:
            return self._graph.stat().st_size / LOAD_RATE
        except OSError:
            return math.inf

    @contextmanager
    def measured(self, *, approximate: bool, queries: int) -> Iterator[None]:
        """Add the time of one search to its costs, unless the graph is loaded in it."""
        counts = self.graph_loaded or not approximate
        started = self.clock()
        yield
        if counts:
            cost = self.approximate if approximate else self.exact
            cost.seconds += self.clock() - started
            cost.queries += queries
