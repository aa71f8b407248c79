"""Does an image find its own case? Query by each image of a folder of cases, and count.

    python scripts/same_case.py CASES [--among FOLDER] [--model NAME] [-n 10]

Every sub-folder of CASES is a case; --among adds images that belong to none, to be told from them. For each image whose
case has another one, ``roco query IMAGE`` is asked for N hits as the command gives them: grouped by series,
near-duplicates folded. Printed are the share of images that find one of their own case, and the share that N rows drawn
blindly from all that the query could give would (hypergeometric, exact).
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import Counter
from pathlib import Path

from roco_search import Library, load_encoder
from roco_search.search import search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--among", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--model", default="roco-mini")
    parser.add_argument("-n", type=int, default=10, help="hits looked at")
    arguments = parser.parse_args()
    root = arguments.cases.resolve()
    encoder = load_encoder(arguments.model)
    with tempfile.TemporaryDirectory() as place, Library.create_or_open(Path(place) / "library") as library:
        library.index([root, *arguments.among], encoder)
        indexed = [Path(frame.path) for frame in library.frames.get(library.embedded().tolist()).values()]
        cases = Counter(path.parent for path in indexed if path.is_relative_to(root))
        asked = [path for path in indexed if cases[path.parent] > 1]
        found, chance = 0, 0.0
        for path in asked:
            rows = search(library, encoder, [path], n=len(indexed), group_by="series", fold=True)
            own = [Path(hit.path).parent == path.parent for hit in rows]
            found += any(own[: arguments.n])
            chance += by_chance(len(own), sum(own), arguments.n)
    share, expected = found / len(asked), chance / len(asked)
    print(f"{len(indexed)} images; {len(asked)} have another one of their case")
    print(f"own case in the first {arguments.n}: {found}/{len(asked)} = {share:.3f}")
    print(f"by chance: {expected:.3f}, so {share / expected:.1f} times as often")


def by_chance(others: int, own: int, drawn: int) -> float:
    """Chance that `drawn` of `others` images hold at least one of `own`."""
    drawn = min(drawn, others)
    return 1 - math.comb(others - own, drawn) / math.comb(others, drawn)


if __name__ == "__main__":
    main()
