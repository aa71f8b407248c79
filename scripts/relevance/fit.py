"""Fit what a hit's evidence weighs to a model, and write it beside the model's files: one command, a few minutes.

    python scripts/relevance/fit.py --pairs PAIRS [--model NAME] [--output FOLDER]

``PAIRS`` holds ``train`` and ``dev``. Heads (modality, body part, plane, findings) are learned from ``train``; weights
and thresholds from those cases of ``dev`` that are to fit with, and nothing is looked at of those to judge by.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from certain import certain_classes
from embedding import Pictures, drawn, embedded
from heads import fit_findings, fit_heads, labels
from judging import KINDS, Asked, answers, half, precision, queries
from scipy.optimize import minimize

from roco_search.library.vectors.facts import Facts, Header
from roco_search.models import load_encoder
from roco_search.models.encoder import Encoder
from roco_search.search.evidence import LINEAR, SENSED, Evidence, gather
from roco_search.search.senses import (
    ATTRIBUTES,
    BANK,
    FINDINGS,
    HEADS,
    Head,
    Senses,
    chance,
    classes,
    directory_of,
    nearest,
)
from roco_search.search.understanding import understand
from roco_search.search.weights import DEFAULT, FILE, FORMAT, Weights
from roco_search.vocabulary.concepts import elsewhere

PIECES = (*LINEAR, *SENSED)
OFFSETS = ("always", *SENSED, "finding", "excluded", "elsewhere")
PENALTY = 1e-4  # A tenth of it does no better.
TEXT = (1.0, 0.7, 0.5)
DIRECTIONS = (True, False)
FOLDS, SPLITS = 5, 3
EARNS = 0.002  # What the directions must bring: each is several more texts that every query has to embed.
# The share of queries that nothing answers which may reach each degree of a match.
FALSE = (0.02, 0.05, 0.2)

Floats = npt.NDArray[np.float64]


class Case(NamedTuple):
    """A query over pictures: the values of every piece and offset, float64 ``(n, pieces)``, and what answers it."""

    asked: Asked
    values: Floats
    right: npt.NDArray[np.bool_]


class Top(NamedTuple):
    """The best logit of a query over a library, when it was left out: in which fold of which split."""

    answered: bool
    logit: float
    fold: int
    split: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", default="roco-mini")
    parser.add_argument("--output", type=Path, default=None, help="default: beside the model's files")
    parser.add_argument("--cache", type=Path, default=Path("build/relevance"))
    args = parser.parse_args()
    encoder = load_encoder(args.model, "cpu", "fast", engine="onnxruntime")
    output = args.output or directory_of(encoder)
    assert output is not None
    train, dev, nothing = load(args.pairs, encoder, args.cache)
    fitting = select(dev, 0)
    both = np.concatenate([train.vectors, nothing.vectors])
    heads = fit_heads([*train.rows, *nothing.rows], both, fitting.rows, fitting.vectors)
    sure = certain_classes([*train.rows, *nothing.rows], both, heads)
    detected = fit_findings(train.rows, train.vectors)
    heads[FINDINGS] = detected.head
    weights = fit(encoder, heads, detected.kinds, fitting, verbose=True)
    write(output, encoder, heads, replace(weights, certain=detected.certain, certain_classes=sure))


def load(pairs: Path, encoder: Encoder, cache: Path) -> tuple[Pictures, Pictures, Pictures]:
    """Return the training pictures, the development pictures, and pictures of nothing."""
    return (
        embedded("train", pairs / "train", encoder, cache),
        embedded("dev", pairs / "dev", encoder, cache),
        drawn(encoder),
    )


def select(pictures: Pictures, which: int) -> Pictures:
    """Return the cases to fit with (0) or those to judge by (1)."""
    chosen = np.array([half(row) == which for row in pictures.rows])
    rows = [row for row, take in zip(pictures.rows, chosen, strict=True) if take]
    return Pictures(rows, pictures.vectors[chosen])


def write(output: Path, encoder: Encoder, heads: Mapping[str, Head], weights: Weights) -> None:
    """Write the heads in half precision, and the weights."""
    arrays: dict[str, Any] = {"fingerprint": np.array(encoder.fingerprint)}
    for name, head in heads.items():
        arrays |= {f"{name}_weights": head.weights.astype(np.float16), f"{name}_offsets": head.offsets}
    arrays |= {f"{name}_classes": np.array(list(classes(name))) for name in ATTRIBUTES}
    arrays[BANK] = bank_of(encoder)
    np.savez(output / HEADS, **arrays)
    content = {"format": FORMAT, "fingerprint": encoder.fingerprint, **weights.as_json()}
    (output / FILE).write_text(json.dumps(content, indent=1) + "\n")
    print(f"{output / FILE} and {output / HEADS} are written.")


def bank_of(encoder: Encoder) -> npt.NDArray[np.float16]:
    """Return the embeddings of texts of other worlds, float16 ``(texts, dim)``."""
    return np.concatenate([encoder.encode_texts([text]) for text in elsewhere()]).astype(np.float16)


def half_precision(heads: Mapping[str, Head]) -> dict[str, Head]:
    """Return heads as they will be read again."""
    return {
        name: Head(head.weights.astype(np.float16).astype(np.float32), head.offsets) for name, head in heads.items()
    }


def facts_of(pictures: Pictures, senses: Senses) -> Facts:
    """Return what is known of pictures without headers."""
    codes = np.zeros(len(pictures.rows), np.uint32)
    return Facts([Header(None, None, None, None)], codes, senses.judge(pictures.vectors))


def weighed(encoder: Encoder, keys: Mapping[str, Any], weights: Weights = DEFAULT) -> list[Evidence]:
    """Return the evidence of every query."""
    known = Weights(weights.pieces, weights.offsets, weights.thresholds, dict(keys))
    return [gather(understand(asked.text), encoder, known) for asked in queries()]


def cases(all_evidence: Sequence[Evidence], pictures: Pictures, facts: Facts) -> list[Case]:
    """Return every query over these pictures, with the values of the pieces of its evidence."""
    found = []
    for asked, evidence in zip(queries(), all_evidence, strict=True):
        right = answers(asked, pictures.rows)
        if asked.rule is not None and not right.any():
            continue
        values = np.zeros((len(pictures.rows), len(PIECES) + len(OFFSETS)))
        for place, name in enumerate(PIECES):
            if name in evidence.parts:
                values[:, place] = pictures.vectors @ evidence.parts[name]
            elif name in SENSED and (sensed := evidence.sensed(name, facts)) is not None:
                values[:, place] = sensed(slice(None))
        for place, name in enumerate(OFFSETS, start=len(PIECES)):
            values[:, place] = name == "always" or name in evidence.asked
        values[:, -1] = evidence.understood.elsewhere
        found.append(Case(asked, values, right))
    return found


def fit(
    encoder: Encoder, heads: Mapping[str, Head], keys: Mapping[str, Any], fitting: Pictures, *, verbose: bool = False
) -> Weights:
    """Return the weights, with the share of the text that does best on queries left out, without idle directions."""
    facts = facts_of(fitting, Senses(encoder, half_precision(heads)))
    every = cases(weighed(encoder, keys), fitting, facts)
    best: tuple[float, float, list[Top]] = (-1.0, 1.0, [])
    for text, directions in itertools.product(TEXT, DIRECTIONS):
        asked = every if directions else [without_directions(case) for case in every]
        learned = [stated(case, fitting) for case in asked]
        by_kind, area, tops = left_out(learned, asked, text)
        if verbose:
            kinds = ", ".join(f"{kind} {mean:.3f}" for kind, mean in zip(KINDS, by_kind, strict=True))
            print(
                f"text {text:g}, {'with' if directions else 'without'} directions: "
                f"cross-validated mean {np.mean(by_kind):.3f} ({kinds}), match AUC {area:.3f}"
            )
        value = float(np.mean(by_kind)) + area - EARNS * directions
        if value > best[0]:
            best, chosen = (value, text, tops), learned
    solved, (strong, fair, weak) = solve(chosen, best[1]), limits(best[2])
    if verbose:
        for answered in (True, False):
            shares = ", ".join(f"{share:.3f}" for share in reached(best[2], answered=answered))
            what = "something" if answered else "nothing"
            print(f"share of queries that {what} answers whose best hit is strong, fair, weak or better: {shares}")
    return Weights(
        dict(zip(PIECES, solved[: len(PIECES)].round(4).tolist(), strict=True)),
        dict(zip(OFFSETS, solved[len(PIECES) :].round(4).tolist(), strict=True)),
        (round(strong, 3), round(fair, 3), round(weak, 3)),
        dict(keys),
        round(chance(nearest(fitting.vectors, bank_of(encoder).astype(np.float32))), 4),
    )


def left_out(learned: Sequence[Case], asked: Sequence[Case], text: float) -> tuple[list[float], float, list[Top]]:
    """Return the mean precision by kind, the AUC, and the best logits, of queries left out.

    Every query is left out `SPLITS` times, each time with others.
    """
    scores, tops = [], []
    for split in range(SPLITS):
        folds = np.random.default_rng(split).permutation(np.arange(len(asked)) % FOLDS)
        for fold in range(FOLDS):
            solved = solve([case for case, of in zip(learned, folds, strict=True) if of != fold], text)
            for case in (case for case, of in zip(asked, folds, strict=True) if of == fold):
                total = case.values @ solved
                tops.append(Top(case.asked.rule is not None, float(total.max()), fold, split))
                if case.right.any():
                    scores.append((case.asked.kind, precision(np.argsort(-total, kind="stable"), case.right)))
    by_kind = [float(np.mean([score for kind, score in scores if kind == of])) for of in KINDS]
    return by_kind, auc(tops), tops


def limits(tops: Sequence[Top]) -> tuple[float, float, float]:
    """Return the logits that the shares in `FALSE` of the queries that nothing answers reach."""
    strong, fair, weak = np.quantile([top.logit for top in tops if not top.answered], 1 - np.array(FALSE))
    return float(strong), float(fair), float(weak)


def reached(tops: Sequence[Top], *, answered: bool) -> Floats:
    """Return the shares of queries that reach the limits which were set by the queries of the other folds."""
    found = []
    for split, fold in itertools.product(range(SPLITS), range(FOLDS)):
        least = limits([top for top in tops if top.split == split and top.fold != fold])
        held = [top for top in tops if (top.split, top.fold, top.answered) == (split, fold, answered)]
        found += [[top.logit >= one for one in least] for top in held]
    return np.asarray(np.mean(np.array(found, float), axis=0), np.float64)


def stated(case: Case, pictures: Pictures) -> Case:
    """Return a case without the pictures of which no column says whether they answer it: slices of an unnamed plane."""
    told = known(case.asked, pictures)
    return Case(case.asked, case.values[told], case.right[told])


def known(asked: Asked, pictures: Pictures) -> npt.NDArray[np.bool_]:
    """Return of which pictures the columns say whether they answer a query, bool ``(n,)``."""
    if asked.rule is None or "p" not in asked.rule:
        return np.ones(len(pictures.rows), bool)
    return np.array([labels(row)["plane"] is not None for row in pictures.rows]) | answers(asked, pictures.rows)


def without_directions(case: Case) -> Case:
    """Return a case in which what texts say of a finding's presence and absence counts for nothing."""
    values = case.values.copy()
    values[:, [PIECES.index("finding"), PIECES.index("excluded")]] = 0.0
    return Case(case.asked, values, case.right)


def solve(asked: Sequence[Case], text: float) -> Floats:
    """Return the weights of a logistic regression in which every query counts alike, answers as much as the rest.

    `text` is the share of its weight that the cosine to the whole query keeps: it tells queries apart better than it
    ranks the pictures of one, which is what the regression cannot know.
    """
    values = np.concatenate([case.values for case in asked])
    right = np.concatenate([case.right for case in asked]).astype(float)
    shares = []
    for case in asked:
        share = np.where(case.right, 0.5 / max(1, case.right.sum()), 0.5 / max(1, (~case.right).sum()))
        # Of what nothing answers, the best hits matter: those that would be shown.
        shares.append(share / share.sum())
    weights = np.concatenate(shares) / len(asked)
    scale = np.maximum(values.std(axis=0), 0.02)
    scale[len(PIECES) :] = 1.0
    scaled = values / scale
    free = np.r_[np.ones(len(PIECES)), np.full(len(OFFSETS), 0.1)]

    def loss(at: Floats) -> tuple[float, Floats]:
        logits = scaled @ at
        chance = 1 / (1 + np.exp(-np.clip(logits, -40, 40)))
        value = weights @ (np.logaddexp(0, logits) - right * logits) + PENALTY * free @ at**2
        return float(value), scaled.T @ (weights * (chance - right)) + 2 * PENALTY * free * at

    bounds = [(None, 0) if name == "excluded" else (0, None) for name in PIECES] + [(None, None)] * len(OFFSETS)
    solved = minimize(
        loss, np.zeros(scaled.shape[1]), jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 400}
    )
    return np.asarray(solved.x / scale * np.r_[text, np.ones(len(scale) - 1)])


def auc(tops: Sequence[Top]) -> float:
    """Return how well the best logit tells queries that something answers from those that nothing does."""
    yes, no = ([top.logit for top in tops if top.answered == side] for side in (True, False))
    return float(np.mean([(a > b) + 0.5 * (a == b) for a in yes for b in no]))


if __name__ == "__main__":
    main()
