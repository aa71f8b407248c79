"""The images that a model did best and worst on: a mean hides what a look at ten pictures shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roco_search.datasets.pair import Pair
from roco_search.evaluation.classification import Classification
from roco_search.evaluation.embed import Embedded
from roco_search.statistics.ranks import identities, rank_of

MOST = 8
_ROWS_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class CaptionExample:
    """An image, the rank of its caption (any-match), and the caption that the model put first."""

    pair: Pair
    rank: int
    first: str


@dataclass(frozen=True, slots=True)
class ClassExample:
    """An image, the name of its class, the one the model gave, and the probability of that."""

    pair: Pair
    truth: str
    called: str
    probability: float


def caption_examples(embedded: Embedded, most: int = MOST) -> tuple[list[CaptionExample], list[CaptionExample]]:
    """Return the best and the worst images, image-to-text over the whole pool.

    The best stand out most from the best wrong caption, the worst have the worst rank. A caption is shown once.
    """
    identity = identities(embedded.captions)
    found = np.empty(len(identity), np.int64)
    margin = np.empty(len(identity), np.float64)
    first = np.empty(len(identity), np.int64)
    for start in range(0, len(identity), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(identity)))
        scores = embedded.images[rows] @ embedded.texts.T
        same = identity[rows, None] == identity[None, :]
        found[rows] = rank_of(scores, scores[np.arange(len(rows)), rows], same, "any")
        right, wrong = np.where(same, scores, -np.inf).max(axis=1), np.where(same, -np.inf, scores).max(axis=1)
        margin[rows], first[rows] = right - wrong, scores.argmax(axis=1)

    def example(row: int) -> CaptionExample:
        return CaptionExample(embedded.pairs[row], int(found[row]), embedded.pairs[int(first[row])].caption)

    order = np.lexsort((-margin, found)).tolist()
    best = [row for row in _each_once(order, identity.tolist()) if found[row] == 1][:most]
    worst = [row for row in _each_once(order[::-1], identity.tolist()) if found[row] > 1][:most]
    return [example(row) for row in best], [example(row) for row in worst]


def _each_once(order: Sequence[int], identity: Sequence[int]) -> list[int]:
    seen: dict[int, int] = {}
    for row in order:
        seen.setdefault(identity[row], row)
    return list(seen.values())


def class_examples(
    entry: Classification, pairs: Sequence[Pair], most: int = MOST
) -> tuple[list[ClassExample], list[ClassExample]]:
    """Return the surest right answers, the classes taking turns, and the surest wrong ones."""
    names = [label.name for label in entry.classes.labels]
    called = entry.probabilities.argmax(axis=1)
    sure = entry.probabilities.max(axis=1)
    right = called == entry.truth
    order = np.argsort(-sure, kind="stable")

    def example(place: int) -> ClassExample:
        pair = pairs[int(entry.rows[place])]
        return ClassExample(pair, names[entry.truth[place]], names[called[place]], float(sure[place]))

    turns: list[tuple[int, int]] = []  # which of its class an image is, and the image
    count = [0] * len(names)
    for place in order.tolist():
        if right[place]:
            turns.append((count[entry.truth[place]], place))
            count[entry.truth[place]] += 1
    best = [place for _, place in sorted(turns, key=lambda turn: turn[0])][:most]
    worst = [place for place in order.tolist() if not right[place]][:most]
    return [example(place) for place in best], [example(place) for place in worst]
