"""What a probe costs: teaching it with 2,000 images, and applying it to a library of any size, as processor time.

    scripts/probes/speed.py --scratch DIR [--rows N]

The library holds random vectors of the size of roco-mini's, and no file that exists: the shortcut control sees headers
alone, and each of the files it would open costs some milliseconds more.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from made import write_library

from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.probe.applying import apply, worth_labelling, write
from roco_search.probe.examples import Examples
from roco_search.probe.shelf import SHELF
from roco_search.probe.teaching.teach import teach

LABELLED = 2000
ALONE = """
import resource, sys
from roco_search.cli import answer
answer(sys.argv[1:])
used, status = resource.getrusage(resource.RUSAGE_SELF), open("/proc/self/status").read()
most = int(status.split("VmHWM:")[1].split()[0])
seconds = used.ru_utime + used.ru_stime
print(f"roco probe apply alone: {seconds:.2f} s of a processor, {most / 1e6:.2f} GB at most", file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    encoder = load_encoder("roco-mini")
    place = options.scratch / f"random-{options.rows}"
    write_library(place, options.rows, encoder)
    with Library.open(place) as library:
        ids = library.embedded()[:LABELLED]
        side = library.embeddings(ids) @ np.random.default_rng(0).normal(size=encoder.dim) > 0
        truth = side[:, None].astype(np.float64)
        examples = Examples(("fracture",), ids, truth, np.arange(LABELLED) // 2)
        timed("first look at the matrix", library.vectors)
        probe = timed(f"fit on {LABELLED:,} rows", lambda: teach(library, encoder, "speed", examples)).probe
        said = timed(f"apply to {options.rows:,} rows", lambda: apply(library, probe))
        timed("next", lambda: worth_labelling(library, probe, 0))
        SHELF.keep(library, probe, overwrite=True)
        for ending in (".npz", ".csv"):
            timed(f"write {ending}", lambda: write(library, probe, said, options.scratch / f"p{ending}"))  # noqa: B023
    command = [sys.executable, "-c", ALONE, "probe", "apply", "speed", "--library", str(place), "--json"]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stderr.strip())


def timed(what: str, work):  # type: ignore[no-untyped-def]
    began, processor = time.perf_counter(), time.process_time()
    found = work()
    print(f"{what:40} {time.process_time() - processor:8.2f} s of a processor, {time.perf_counter() - began:.2f} s")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{'':40} {own_memory():8.2f} GB of its own; {most:.2f} GB at most so far, mapped files included")
    return found


def own_memory() -> float:
    """Return the memory that is no mapped file, in GB."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1e6


if __name__ == "__main__":
    main()
