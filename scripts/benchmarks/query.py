"""How long a query takes, cold and warm, at several sizes of library, and in how much memory; beside rclip if wanted.

scripts/bench query --against rclip
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from made import add_images, write_library
from measuring import Runs, in_turn, machine, run

from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.models.catalogue.registry import find
from roco_search.models.compiling.compiler import prepare

TEXT = "pleural effusion on a chest x-ray"
ROCO = [str(Path(sys.executable).with_name("roco"))]  # As a person starts it, and as rclip is started.


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", choices=("rclip",))
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scratch", type=Path, default=Path("build/bench"), help="where libraries are made and kept")
    parser.add_argument("--json", type=Path, default=None, help="also write what was measured to this file")
    args = parser.parse_args()
    scratch = args.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    result = measure(scratch, args.sizes, args.rounds, args.against)
    show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def measure(scratch: Path, sizes: list[int], rounds: int, against: str | None) -> dict[str, Any]:
    prepare(find("roco-mini"))
    encoder = load_encoder("roco-mini", "cpu")
    for size in sizes:
        write_library(scratch / f"library-{size}", size, encoder)
    kinds: dict[str, Callable[[Runs], object]] = {"roco --help": partial(run, [*ROCO, "--help"])}
    for size in sizes:
        library = str(scratch / f"library-{size}")
        command = [*ROCO, "query", TEXT, "--library", library]
        kinds[f"roco, cold, {size:,}"] = partial(run, command, env={"ROCO_SERVE": "off"})
    if against:
        from peer import Rclip

        peer = Rclip(scratch / "rclip")
        for size in sizes[:1]:
            peer.write_library(size)
            kinds[f"rclip, cold, {size:,}"] = partial(peer.query, size, TEXT)
    with served(scratch / f"library-{sizes[0]}"):
        warm = [*ROCO, "query", TEXT, "--library", str(scratch / f"library-{sizes[0]}")]
        kinds[f"roco, warm, {sizes[0]:,}"] = partial(run, warm)
        found = in_turn(kinds, rounds)
    updated = {f"{size:,}": update(scratch / f"library-{size}", size, encoder) for size in sizes}
    return {"machine": machine(), "runs": {name: runs.as_json() for name, runs in found.items()}, "update_s": updated}


@contextmanager
def served(library: Path) -> Iterator[None]:
    """Keep a library warm."""
    process = subprocess.Popen([*ROCO, "serve", "--library", str(library)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    process.stderr.readline()
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def update(place: Path, size: int, encoder: Any) -> float:
    """Return the seconds that a library takes to have a hundred images more in its matrix."""
    with Library.open(place) as library:
        add_images(place, 10**7 + library.active().count, 100, encoder)
        started = time.perf_counter()
        library.vectors()
        return time.perf_counter() - started


def show(result: dict[str, Any]) -> None:
    print(result["machine"])
    peer = next((runs for name, runs in result["runs"].items() if name.startswith("rclip")), None)
    print(f"{'':26} {'median':>8} {'best':>8} {'cpu':>8} {'peak':>8} {'private':>8}" + ("  of rclip's" if peer else ""))
    for name, runs in result["runs"].items():
        line = f"{name:26} {runs['median_s']:7.3f}s {runs['best_s']:7.3f}s {runs['cpu_s']:7.3f}s"
        line += f" {runs['peak_bytes'] / 2**20:5.0f}MiB {runs['private_bytes'] / 2**20:5.0f}MiB"
        print(line + (f"  {runs['median_s'] / peer['median_s']:.2f}" if peer else ""))
    for size, seconds in result["update_s"].items():
        print(f"100 images more in {size:>9}: {seconds:.2f} s")


if __name__ == "__main__":
    main()
