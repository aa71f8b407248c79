"""What captions add: precision by kind of query over an imagefolder that is indexed with its captions.

    scripts/bench captions --pairs PAIRS [--half fit|judge]

Prints the precision among the first ten (or as many as there are) by pictures alone, by captions alone, and by both;
and of both, that among as many as there are images whose captions hold all that is asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "relevance"))
from embedding import listed
from judging import KINDS, answers, half, precision, queries

from roco_search import Library, load_encoder
from roco_search.search.captions import SEEN, asked_of, said_by_captions
from roco_search.search.understanding import understand
from roco_search.search.weighing import weigh

HELD = 0.99  # The share of a query that a caption affirms from which it holds all of it.
COLUMNS = ("pictures", "captions", "both", "held")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", default="roco-mini")
    parser.add_argument("--half", choices=("fit", "judge"), default="judge")
    parser.add_argument("--library", type=Path, default=Path("build/relevance/captioned"))
    parser.add_argument("--queries", action="store_true", help="also print each query that is answered badly")
    args = parser.parse_args()
    encoder = load_encoder(args.model, "cpu", "fast", engine="onnxruntime")
    told = {row["file"]: row for row in listed((args.pairs / "dev").resolve())}
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in COLUMNS}
    args.library.parent.mkdir(parents=True, exist_ok=True)
    with Library.create_or_open(args.library) as library:
        library.index([args.pairs / "dev"], encoder, captions=True)
        ids = library.embedded()
        rows = [told[frame.path] for frame in library.frames.get(ids.tolist()).values()]
        judged = np.flatnonzero([half(row) == (args.half == "judge") for row in rows])
        for asked in queries():
            right = answers(asked, rows)[judged]
            if not right.any():
                continue
            understood = understand(asked.text, library.captions.words)
            captions = said_by_captions(library, understood)
            said = np.zeros(len(ids), np.float32)
            if captions is not None:
                # The whole of a query that only names what a picture shows counts for less than that of any other.
                whole = 1 if any(one.needed for one in asked_of(understood)[0]) else SEEN
                said[np.searchsorted(ids, captions.ids)] = captions.values / whole
            weighing = weigh(library, encoder, understood, () if captions is None else (captions,))
            alone = replace(weighing, evidence=replace(weighing.evidence, extras=()))
            for name, one in (("both", weighing), ("pictures", alone), ("captions", weighing.by_extras_alone())):
                vector, bias = one.ranking
                order = np.argsort(-(library.embeddings() @ vector + bias)[judged], kind="stable")
                found[name][asked.kind].append(precision(order, right))
                holding = int((right & (said[judged] >= HELD)).sum())
                if name == "both" and holding:
                    found["held"][asked.kind].append(float(right[order[: min(10, holding)]].mean()))
            if args.queries and found["both"][asked.kind][-1] < 0.7:
                print(f"{found['both'][asked.kind][-1]:.2f}  {asked.text}")
    print(f"{'':12}" + "".join(f"{name:>10}" for name in COLUMNS))
    for kind in KINDS:
        print(f"{kind:12}" + "".join(f"{np.mean(found[name][kind]):10.3f}" for name in COLUMNS))
    means = [np.mean([np.mean(found[name][kind]) for kind in KINDS]) for name in COLUMNS]
    print(f"{'mean':12}" + "".join(f"{mean:10.3f}" for mean in means))


if __name__ == "__main__":
    main()
