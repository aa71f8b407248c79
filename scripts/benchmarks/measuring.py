"""Time and memory of whole processes, taken in turn so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Runs:
    """What was measured of one thing: seconds, processor seconds, and peaks in bytes."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int = 0
    private: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)

    def as_json(self) -> dict[str, float | list[float]]:
        return {
            "seconds": self.seconds,
            "median_s": self.median,
            "best_s": self.best,
            "cpu_s": statistics.median(self.cpu),
            "peak_bytes": self.peak,
            "private_bytes": self.private,
        }


def run(command: Sequence[str], into: Runs, *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end; its time, its peak memory and the peak of its private part (RssAnon) are noted."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watched = _Watched(process.pid)
    out, err = process.communicate()
    into.seconds.append(time.perf_counter() - started)
    watched.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    into.cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    into.peak, into.private = max(into.peak, watched.peak), max(into.private, watched.private)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:6])} failed: {err.strip()[-600:]}")
    return out


class _Watched:
    """Reads a process's memory every few milliseconds."""

    def __init__(self, pid: int) -> None:
        self.peak = self.private = 0
        self._file, self._over = Path(f"/proc/{pid}/status"), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.004):
            with suppress(OSError, ValueError, KeyError):
                facts = dict(line.split(":", 1) for line in self._file.read_text().splitlines())
                self.peak = max(self.peak, 1024 * int(facts["VmHWM"].split()[0]))
                self.private = max(self.private, 1024 * int(facts["RssAnon"].split()[0]))

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def in_turn(kinds: Mapping[str, Callable[[Runs], object]], rounds: int) -> dict[str, Runs]:
    """Measure each kind once per round, for the given number of rounds; a round before them warms the page cache."""
    found = {name: Runs() for name in kinds}
    for number in range(rounds + 1):
        for name, measure in kinds.items():
            measure(found[name] if number else Runs())
    return found


def machine() -> str:
    """Return the processor, its number of cores and what of it matters here."""
    told, flags = platform.processor() or platform.machine(), ""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                told = line.partition(":")[2].strip()
            if line.startswith("flags"):
                flags = line
    able = [name for name in ("avx512_bf16", "avx512_vnni", "amx_bf16") if name in flags]
    return f"{len(os.sched_getaffinity(0))} cores of an {told}" + (f" with {', '.join(able)}" if able else "")
