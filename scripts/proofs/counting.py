"""What the proofs share: their arguments, an end in time, one line of counts, and the exit code.

Each proof counts what it did and notes what went wrong. It prints one line, then the first of the failures, and exits
with 1 if there was any. A seed makes a run again.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # the tests' files are used too
SHOWN = 30  # failures


@dataclass
class Proof:
    """One run of a proof."""

    seed: int
    count: int
    folder: Path
    minutes: float = 20.0
    sizes: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def fail(self, what: str) -> None:
        """Note what went wrong."""
        self.failures.append(what)

    @property
    def over(self) -> bool:
        """Whether the time is up: what is under way may be finished, but nothing else is begun."""
        return time.monotonic() - self.started > 60 * self.minutes

    def line(self, name: str) -> str:
        """Return the one line of counts."""
        counted = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        seconds = time.monotonic() - self.started
        ended = ", ended by the clock" if self.over else ""
        notes = "".join(f"; {note}" for note in self.notes)
        return f"{name}, seed {self.seed}: {counted}; {len(self.failures)} failures{notes}; {seconds:.0f} s{ended}"


def run(name: str, about: str | None, count: int, what: str, prove: Callable[[Proof], None], **sizes: int) -> None:
    """Parse the command line, run a proof in a folder of its own, print its line, and exit.

    Parameters
    ----------
    name
        Of the script.
    about
        Its docstring, of which the first line is shown.
    count
        The number that is run by default.
    what
        What `count` is a number of.
    prove
        Does it.
    sizes
        Other numbers that an option may change, by the option's name, with their defaults; see `Proof.sizes`.
    """
    parser = argparse.ArgumentParser(prog=f"scripts/{name}", description=(about or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=count, help=f"the number of {what} (default: {count:,})")
    parser.add_argument("--seed", type=int, default=0, help="the seed of everything random (default: 0)")
    parser.add_argument("--minutes", type=float, default=19.0, help="begin nothing new after so many (default: 19)")
    for size, usual in sizes.items():
        words = size.replace("_", " ")
        parser.add_argument(
            f"--{words.replace(' ', '-')}", type=int, default=usual, help=f"the number of {words} (default: {usual:,})"
        )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=f"roco-{name}-") as folder:
        proof = Proof(args.seed, args.count, Path(folder), args.minutes, {size: getattr(args, size) for size in sizes})
        prove(proof)
        print(proof.line(name), flush=True)
    print(f"{date.today().isoformat()}, {len(os.sched_getaffinity(0))} cores, {platform.machine()}", flush=True)
    for failure in proof.failures[:SHOWN]:
        print(failure)
    raise SystemExit(1 if proof.failures else 0)
