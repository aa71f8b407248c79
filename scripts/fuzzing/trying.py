"""The command line of a fuzzer, and what it prints: a line of counts, then what failed."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

Try = Callable[[str, int, int, int, Path], tuple[Counter[str], list[str]]]
"""Tries the inputs of a kind, with a seed, from one number to before another, in a folder of its own; returns how often
each outcome was, and what failed."""


def main(about: str | None, kinds: Sequence[str], tried: Try, inputs: int = 2000) -> None:
    """Run a fuzzer, and exit with 1 if anything failed.

    Parameters
    ----------
    about
        The docstring of its module.
    kinds
        The kinds of input that it knows; with a single one, none is named on the command line.
    tried
        Tries them.
    inputs
        How many inputs unless `--inputs` says so.
    """
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    if len(kinds) > 1:
        parser.add_argument("kind", choices=kinds)
    else:
        parser.set_defaults(kind=kinds[0])
    parser.add_argument("--inputs", "--count", type=int, default=inputs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, default=None, help="try the input of this number alone")
    args = parser.parse_args()
    first, last = (0, args.inputs) if args.only is None else (args.only, args.only + 1)
    with tempfile.TemporaryDirectory() as folder:
        counted, failures = tried(args.kind, args.seed, first, last, Path(folder))
    counts = ", ".join(f"{count:,} {name}" for name, count in counted.most_common())
    print(f"{last - first:,} {args.kind}, seed {args.seed}: {counts}; {len(failures)} failures")
    for failure in failures[:30]:
        print(failure)
    raise SystemExit(1 if failures else 0)
