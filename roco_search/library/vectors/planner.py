"""Exact or approximate: chosen by what each has cost so far in this process.

The exact search costs nothing to begin with and time in proportion to the library; the graph has to be read and hashed
first and then answers in a millisecond. How many queries will come is not known. So the graph is loaded when exact
searches have taken as long as loading it would: the total is then never more than twice that of who had known (the
ski-rental rule; Karlin et al. 1988). A process
that answers once never loads it, a warm one on a large library soon does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Literal

LOAD_RATE = 300e6
"""Bytes of a graph that are hashed and loaded in a second: 220 MB took 0.44 s to load and 0.15 s to hash."""

Way = Literal["exact", "approximate"]


@dataclass(slots=True)
class Choice:
    """What both ways have cost in this process, in seconds.

    Attributes
    ----------
    exact_spent, exact_count
        All unfiltered exact searches so far, counted by queries.
    graph_spent, graph_count
        The same of the graph, without its loading.
    clock
        Seconds, for the measurements.
    """

    exact_spent: float = 0.0
    exact_count: int = 0
    graph_spent: float = 0.0
    graph_count: int = 0
    clock: Callable[[], float] = field(default=perf_counter)

    def choose(self, graph: Path, *, loaded: bool, current: Callable[[], bool]) -> Way:
        """Return the way for the next query.

        Parameters
        ----------
        graph
            Where the graph lies.
        loaded
            Whether this process has it already.
        current
            Tells whether the file is of these vectors; asked for only when it matters.
        """
        if not self.exact_count:
            return "exact"
        if loaded:
            if not self.graph_count:
                return "approximate"
            faster = self.graph_spent / self.graph_count < self.exact_spent / self.exact_count
            return "approximate" if faster else "exact"
        try:
            cost = graph.stat().st_size / LOAD_RATE
        except OSError:
            return "exact"
        return "approximate" if self.exact_spent >= cost and current() else "exact"

    def measured(self, way: Way, seconds: float, queries: int) -> None:
        """Note what a search has cost."""
        if way == "exact":
            self.exact_spent += seconds
            self.exact_count += queries
        else:
            self.graph_spent += seconds
            self.graph_count += queries
