"""Whether a space that labels teach makes similar images more alike in the labels: a table of ``manual/teach.md``.

    scripts/probes/spaces.py PAIRS --library DIR

Each task of `measure` is taught with all labels of ``PAIRS/dev``, as `roco probe space` does it: P@10 before and after,
measured among cases of which the map had seen none.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from measure import TASKS, of_pairs, read

from roco_search.errors import InputError
from roco_search.models import load_encoder
from roco_search.probe.teaching.spaces import teach_space


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--library", type=Path, required=True)
    options = parser.parse_args()
    print("| images | labels | model's own | space | gain | kept |\n|---|---|---|---|---|---|")
    with of_pairs(options.library, options.pairs.resolve()) as library:
        encoder = load_encoder(library.active().model)
        for task in TASKS:
            found = read(library, encoder, options.pairs.resolve(), task)
            whole, dev = found.examples, found.dev
            examples = replace(whole, ids=whole.ids[dev], truth=whole.truth[dev], cases=whole.cases[dev])
            try:
                claim = teach_space(library, "measured", examples).claim
            except InputError as error:
                print(f"{task.name}: {error}", file=sys.stderr)
                continue
            gain = f"{claim.gain[0]:+.3f} ({claim.gain[1]:+.3f} to {claim.gain[2]:+.3f})"
            kept = "yes" if claim.better else "no"
            print(
                f"| {task.name} | {', '.join(whole.names)} | {claim.before[0]:.3f} | {claim.after[0]:.3f} | {gain} | "
                f"{kept} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
