"""Try inputs in turn in a forked child; when it dies or hangs, that input is to blame, and another child goes on."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator

Task = Callable[[int], str]
"""Tries the input of a number; returns what came of it in a word."""


def outcomes(task: Task, first: int, last: int, seconds: float = 60.0) -> tuple[Counter[str], list[str]]:
    """Try the inputs from ``first`` to before ``last``; return how often each outcome was, and what failed."""
    counted: Counter[str] = Counter()
    failures = []
    for number, outcome, about in tried(task, first, last, seconds):
        counted[outcome] += 1
        if outcome == "failed":
            failures.append(f"{number}: {about}")
    return counted, failures


def tried(task: Task, first: int, last: int, seconds: float) -> Iterator[tuple[int, str, str]]:
    """Yield the number of each input, its outcome, and what there is to say about a failed one."""
    following = first
    while following < last:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _go_on(task, following, last, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as answers:
            while following < last:
                ready, _, _ = select.select([answers], [], [], seconds)
                line = answers.readline() if ready else b""
                if not line.endswith(b"\n"):
                    os.kill(child, signal.SIGKILL)
                    how = "it took too long" if not ready else "it ended the process"
                    yield following, "failed", how
                    following += 1
                    break
                yield following, *json.loads(line)
                following += 1
        os.waitpid(child, 0)


def _go_on(task: Task, first: int, last: int, answers: int) -> None:
    try:
        for number in range(first, last):
            try:
                answer = (task(number), "")
            except BaseException as error:
                own = [entry for entry in traceback.extract_tb(error.__traceback__) if "roco_search" in entry.filename][
                    -1:
                ]
                answer = ("failed", f"{type(error).__name__}: {str(error)[:300]} {own}")
            os.write(answers, json.dumps(answer).encode() + b"\n")
    finally:
        sys.stderr.flush()
        os._exit(0)
