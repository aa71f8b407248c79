"""What two rounds of marks do to the queries that begin badly: the figures of ``manual/teach.md``.

    scripts/probes/feedback.py PAIRS --library DIR [--split train --rows 6000 --right 25]

Each query of ``scripts/relevance/queries.yaml`` is asked of a library of ``PAIRS/dev``, or of a random part of the
training images, among which more is left to be found when twenty are marked (``--right``: at least so many). Of those
whose precision among the first ten is below 0.6, the ten hits of a page are marked by the query's rule, the next page
is ranked with that and marked too, and then precision is measured twice: among all pictures, as a person sees a query
asked again; and among those that nobody marked, against the same pages without learning. The depth is ten, or as many
as there are. What the marks found is then no longer among the unmarked, so that these are harder the more was found:
therefore the right images of three pages, two of them marked, are also counted against those of the query's own three.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "relevance"))
from judging import KINDS, answers, half, queries

from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.probe.feedback.direction import learned
from roco_search.probe.ranking import base_vector
from roco_search.search import read, search
from roco_search.search.terms import Term

TOP, ROUNDS, BAD = 10, 2, 0.6
FIGURES = ("before", "after", "rest before", "rest after", "found before", "found after")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--half", choices=("fit", "judge", "all"), default="all")
    parser.add_argument("--split", choices=("dev", "train"), default="dev")
    parser.add_argument("--rows", type=int, help="only so many of the images, drawn at random")
    parser.add_argument("--right", type=int, default=1, help="only queries with at least so many right answers")
    options = parser.parse_args()
    folder = options.pairs.resolve() / options.split
    if not (options.library / "library.db").exists():
        with Library.create_or_open(options.library) as made:
            made.index([folder], load_encoder("roco-mini"))
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]
    if options.half != "all":
        rows = [row for row in rows if half(row) == (options.half == "judge")]
    if options.rows:
        rows = [rows[place] for place in np.random.default_rng(3).permutation(len(rows))[: options.rows]]
    with Library.open(options.library) as library:
        encoder = load_encoder(library.active().model, "cpu", "fast", engine="onnxruntime")
        ids = {str(folder / row["file_name"]): row for row in rows}
        known = [library.frames.of_file(path)[0].id for path in ids]
        among = np.array(sorted(known), np.int64)
        found = [judged(library, encoder, asked, ids, among) for asked in queries() if asked.rule]
        report([one for one in found if one and one["right"] >= options.right])


def judged(library: Library, encoder: Any, asked: Any, rows: dict[str, Any], among: Any) -> dict[str, Any] | None:
    right = {path for path, fits in zip(rows, answers(asked, list(rows.values())), strict=True) if fits}
    if not right:
        return None
    terms = [Term(asked.text)]
    understood = read(library, terms)

    def page(n: int = TOP, **more: Any) -> list[str]:
        hits = search(library, encoder, terms, understood=understood, among=among, n=n, fold=False, **more)
        return [hit.path for hit in hits]

    def share(paths: list[str], of: set[str]) -> float:
        depth = min(TOP, len(of))
        return sum(path in of for path in paths[:depth]) / depth if depth else float("nan")

    begun = share(page(), right)
    if begun >= BAD:
        return None
    base = base_vector(library, encoder, terms, understood)
    marked: dict[str, int] = {}
    for _ in range(ROUNDS):
        marked |= {path: library.frames.of_file(path)[0].id for path in _next(page, library, base, marked, right)}
    yes, no = _sides(marked, right)
    toward = learned(library, base, yes, no)
    rest = right - set(marked)
    fresh = page(toward=toward, without=np.array(sorted(marked.values()), np.int64))
    return {
        "text": asked.text,
        "kind": asked.kind,
        "right": len(right),
        "yes": len(yes),
        "before": begun,
        "after": share(page(toward=toward), right),
        "rest before": share([path for path in page(60) if path not in marked], rest),
        "rest after": share(fresh, rest),
        "found before": sum(path in right for path in page((ROUNDS + 1) * TOP)),
        "found after": len(yes) + sum(path in right for path in fresh),
    }


def _next(page: Any, library: Library, base: Any, marked: dict[str, int], right: set[str]) -> list[str]:
    yes, no = _sides(marked, right)
    seen = np.array(sorted(marked.values()), np.int64)
    return list(page(toward=learned(library, base, yes, no) if marked else None, without=seen))


def _sides(marked: dict[str, int], right: set[str]) -> tuple[list[int], list[int]]:
    yes = [frame for path, frame in marked.items() if path in right]
    return yes, [frame for path, frame in marked.items() if path not in right]


def report(found: list[dict[str, Any]]) -> None:
    for one in found:
        print(
            f"{one['kind']:10} {one['before']:.2f} -> {one['after']:.2f}  unmarked {one['rest before']:.2f} -> "
            f"{one['rest after']:.2f}  ({one['yes']} yes of {one['right']}) {one['text']}"
        )
    print(f"\n{len(found)} queries begin below {BAD}")
    for kind in (*KINDS, "all"):
        some = [one for one in found if kind in {one["kind"], "all"}]
        if some:
            means = {name: _mean([one[name] for one in some]) for name in FIGURES}
            print(f"{kind:10} {len(some):3}  " + "  ".join(f"{name} {value:.3f}" for name, value in means.items()))


def _mean(values: list[float]) -> float:
    there = [value for value in values if not np.isnan(value)]
    return float(np.mean(there)) if there else float("nan")


if __name__ == "__main__":
    main()
