"""How far hits can be trusted: precision by kind of query, with each piece of evidence left out, and silence.

    scripts/bench relevance --pairs PAIRS [--half fit|judge]

Prints the precision among the first ten (or as many as there are) of the cosine of the words as typed, of all evidence,
and of all but one piece; and the AUC with which the best hit tells queries that something answers from the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1] / "relevance"))
from embedding import Pictures, embedded
from fit import facts_of, known, select
from judging import KINDS, answers, precision, queries

from roco_search.library.vectors.facts import Facts
from roco_search.models import load_encoder
from roco_search.search.certainty import Certainty
from roco_search.search.evidence import LINEAR, SENSED, Evidence, gather
from roco_search.search.senses import Senses, prompted_heads
from roco_search.search.understanding import understand
from roco_search.search.weighing import MATCHES, match
from roco_search.search.weights import DEFAULT, load

Scores = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", default="roco-mini")
    parser.add_argument("--half", choices=("fit", "judge"), default="judge")
    parser.add_argument("--cache", type=Path, default=Path("build/relevance"))
    parser.add_argument("--unfitted", action="store_true", help="as if no heads and weights came with the model")
    parser.add_argument("--queries", action="store_true", help="also print each query that is answered badly")
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    encoder = load_encoder(args.model, "cpu", "fast", engine="onnxruntime")
    pictures = select(embedded("dev", args.pairs / "dev", encoder, args.cache), 0 if args.half == "fit" else 1)
    facts = facts_of(pictures, Senses(encoder, prompted_heads(encoder) if args.unfitted else None))
    weights = DEFAULT if args.unfitted else load(encoder)
    evidence = [gather(understand(asked.text), encoder, weights) for asked in queries()]
    typed = encoder.encode_texts([asked.text for asked in queries()])

    def ranked(left_out: frozenset[str]) -> Callable[[int], Scores]:
        def score(number: int) -> Scores:
            one: Evidence = replace(evidence[number], left_out=left_out)
            sums = pictures.vectors @ one.vector + one.bias(facts, np.arange(len(pictures.rows)))
            return np.asarray(sums + one.offset, np.float32)

        return score

    rankings: dict[str, Callable[[int], Scores]] = {
        "cosine": lambda number: np.asarray(pictures.vectors @ typed[number]),
        "all": ranked(frozenset()),
        **{f"without {name}": ranked(frozenset({name})) for name in (*LINEAR, *SENSED)},
    }
    table = {name: judged(pictures, score, shown=args.queries and name == "all") for name, score in rankings.items()}
    table["all, stated"] = judged(pictures, rankings["all"], stated=True)
    show(table, len(pictures.rows))
    degrees(evidence, pictures, facts)
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n")


def judged(
    pictures: Pictures, score: Callable[[int], Scores], *, shown: bool = False, stated: bool = False
) -> dict[str, float]:
    """Return the mean precision by kind, the mean of the kinds, and the AUC of the best hit.

    With `stated`, pictures of which no column says whether they answer a query are left out of its ranking (Sakai
    2007): without it, an axial slice counts as wrong for "axial" where nobody wrote its plane down.
    """
    by_kind: dict[str, list[float]] = {kind: [] for kind in KINDS}
    answered, unanswered = [], []
    for number, asked in enumerate(queries()):
        scores, right = score(number), answers(asked, pictures.rows)
        if asked.rule is None:
            unanswered.append(float(scores.max()))
        elif right.any():
            answered.append(float(scores.max()))
            order = np.argsort(-scores, kind="stable")
            order = order[known(asked, pictures)[order]] if stated else order
            by_kind[asked.kind].append(precision(order, right))
            if shown and by_kind[asked.kind][-1] < 0.7:
                print(f"{asked.kind:9} {by_kind[asked.kind][-1]:.2f} of {right.sum():3} {asked.text}")
    means = {kind: float(np.mean(found)) for kind, found in by_kind.items()}
    area = np.mean([(yes > no) + 0.5 * (yes == no) for yes in answered for no in unanswered])
    return {**means, "mean": float(np.mean(list(means.values()))), "match AUC": float(area)}


def show(table: dict[str, dict[str, float]], count: int) -> None:
    """Print the table, a ranking a row."""
    columns = [*KINDS, "mean", "match AUC"]
    print(f"{count} pictures, {len(queries())} queries\n")
    print(f"{'':18}" + "".join(f"{name:>11}" for name in columns))
    for name, row in table.items():
        print(f"{name:18}" + "".join(f"{row[column]:11.3f}" for column in columns))


def degrees(all_evidence: Sequence[Evidence], pictures: Pictures, facts: Facts) -> None:
    """Print how often the best hit has at least each degree of a match, by kind of query.

    Each query that something answers is also asked of the library without its answers, and without the pictures of
    which no column says whether they are answers. What is left then is of the same kinds as the answers were.
    """
    kinds: dict[str, list[tuple[float, str]]] = {}
    for asked, evidence in zip(queries(), all_evidence, strict=True):
        right = answers(asked, pictures.rows)
        if asked.rule is None:
            kinds.setdefault(asked.kind, []).append(best_match(evidence, pictures, facts, ~right))
        elif right.any():
            kinds.setdefault(f"{asked.kind}, answered", []).append(
                best_match(evidence, pictures, facts, np.ones(len(right), bool))
            )
            left = known(asked, pictures) & ~right
            kinds.setdefault(f"{asked.kind}, answers removed", []).append(best_match(evidence, pictures, facts, left))
    print(f"\n{'share of queries':28}" + "".join(f"{name:>9}" for name in MATCHES))
    for kind in sorted(kinds, key=lambda name: name.rpartition(",")[2]):
        shares = [
            np.mean([MATCHES.index(of) <= place if of in MATCHES else False for _, of in kinds[kind]])
            for place in range(3)
        ]
        print(f"{kind:28}" + "".join(f"{share:9.2f}" for share in shares))


def best_match(evidence: Evidence, pictures: Pictures, facts: Facts, left: npt.NDArray[np.bool_]) -> tuple[float, str]:
    """Return the logit and the match of the best hit among some of the pictures."""
    here = Facts(facts.headers, facts.codes[left], facts.senses[:, left])
    logits = pictures.vectors[left] @ evidence.vector + evidence.bias(here, np.arange(left.sum())) + evidence.offset
    best = int(logits.argmax())
    doubts = Certainty(evidence, here).doubts(best, -1)
    return float(logits[best]), match(float(logits[best]), evidence.weights.thresholds, doubted=bool(doubts))


if __name__ == "__main__":
    main()
