"""Images found by images: how often what is nearest to an image carries its label.

Each image of a split is a query among all others (leave one out). Precision at 1, 5 and 10 is what the benchmark of
Denner et al. 2024 reports (arXiv:2403.06567). Beside it are whether any of the first ten is right, mean average
precision, and normalised discounted cumulative gain over the whole list (Järvelin and Kekäläinen 2002), with binary
relevance.

Images of the query's own case are left out, since they may be the next slice of it; unless the case is what is asked
for, or they are wanted. An image whose label no other has is no query. A candidate that scores as high as another and
is wrong is ranked before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from roco_search.datasets.pair import Pair
from roco_search.errors import InputError
from roco_search.evaluation.classes import MOST, Column, find_column
from roco_search.evaluation.embed import Embedded, Embeddings
from roco_search.statistics.bootstrap import Figure, Metric, Values, differences, estimate, metrics

KS = (1, 5, 10)
CASE = "case"
Cases = Literal["left out", "kept", "asked for", "not stated"]
"""What becomes of the images of a query's own case, where the data set states cases."""
_ROWS_AT_ONCE = 256

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """The column of labels, or None for the case that the data set states; and what becomes of images of one case."""

    name: str
    column: Column | None
    cases: Cases

    def of(self, pair: Pair) -> frozenset[str]:
        """Return the labels of a pair; several where the column holds lists."""
        if self.column is None:
            return frozenset({pair.case} if pair.case else ())
        value = pair.columns.get(self.column.name)
        if isinstance(value, list | tuple) and self.column.entry is None:
            return frozenset(" ".join(str(entry).split()) for entry in value if entry is not None) - {""}
        said = self.column.of(pair)
        return frozenset({said} if said else ())


@dataclass(frozen=True, slots=True, eq=False)
class ImageToImage:
    """What was measured for one column of labels.

    Attributes
    ----------
    label
        The column.
    images, queries, without
        The images with a label; those that were asked with; and those whose label no other candidate has.
    silent
        Images without a label; they are left out.
    metrics
        ``precision@k``, ``found@10``, ``map`` and ``ndcg`` with 95 % bootstrap intervals over the cases of the queries.
    chance
        What a random order gives, of ``precision@k`` and ``found@10``.
    by_label
        For each label the number of its queries, and their metrics; empty if there are more than `MOST`.
    against, difference
        The same of another model on the same images, and how much more this one has, by a paired bootstrap.
    """

    label: LabelColumn
    images: int
    queries: int
    without: int
    silent: int
    metrics: Mapping[str, Metric]
    chance: Mapping[str, float]
    by_label: Mapping[str, tuple[int, Mapping[str, Metric]]]
    against: Mapping[str, Metric] | None = None
    difference: Mapping[str, Metric] | None = None


def find_label(text: str, pairs: Sequence[Pair], *, same_case: bool = False) -> LabelColumn:
    """Find a column of labels; "case" is the case that the data set states, where no column has that name.

    Raises
    ------
    InputError
        If there is no such column, or nothing can be found by it.
    """
    stated = any(pair.case is not None for pair in pairs)
    if text.strip().casefold() == CASE and stated and not any(CASE in pair.columns for pair in pairs):
        column = None
    else:
        column = find_column(text, pairs)
    cases: Cases = "not stated" if not stated else "kept" if same_case else "left out"
    found = LabelColumn(text if column is None else str(column), column, cases)
    labels = [found.of(pair) for pair in pairs]
    if stated and all(said == ({pair.case} if pair.case else set()) for said, pair in zip(labels, pairs, strict=True)):
        found = replace(found, cases="asked for")
    images: dict[str, set[str]] = {}
    for said, pair in zip(labels, pairs, strict=True):
        for label in said:
            images.setdefault(label, set()).add(pair.image)
    if not any(len(shown) > 1 for shown in images.values()):
        raise InputError(f"No two images have the same label in {found.name!r}, so none can be found; choose another.")
    return found


def measure_image_to_image(found: Sequence[Embedded], label: LabelColumn, seed: int = 0) -> ImageToImage:
    """Measure how well images find images of the same label.

    Parameters
    ----------
    found
        What a model makes of pairs, or two models of the same pairs.
    label
        The labels.
    seed
        The seed of the bootstrap.

    Raises
    ------
    InputError
        If no image has another one of its label among its candidates.
    """
    first: dict[str, int] = {}
    said: dict[str, frozenset[str]] = {}
    for row, pair in enumerate(found[0].pairs):
        first.setdefault(pair.image, row)
        said[pair.image] = said.get(pair.image, frozenset()) | label.of(pair)
    rows = np.array([row for image, row in first.items() if said[image]], np.int64)
    pairs = [found[0].pairs[row] for row in rows.tolist()]
    labels = [said[pair.image] for pair in pairs]
    cases = _numbers([pair.image if pair.case is None else f"case {pair.case}" for pair in pairs])
    names, belongs = _belonging(labels)
    left_out = cases if label.cases == "left out" else np.arange(len(rows))
    measured = [_measure(embedded.images[rows], belongs, left_out) for embedded in found]
    asked = np.isfinite(measured[0].values[:, 0])
    if not asked.any():
        raise InputError(
            f"No image has another one of its {label.name!r} outside of its own case; use `same_case=True`, or choose "
            "another column."
        )
    values = [entry.values[asked] for entry in measured]
    clusters = _numbers(cases[asked].tolist())
    own, *others = (estimate(part, FIGURES, seed, clusters=clusters) for part in values)
    result = ImageToImage(
        label,
        len(rows),
        int(asked.sum()),
        int((~asked).sum()),
        len(first) - len(rows),
        metrics(own),
        {name: float(np.mean(column[asked])) for name, column in measured[0].chance.items()},
        _by_label(names, belongs[asked], values[0], clusters, seed),
    )
    if not others:
        return result
    return replace(result, against=metrics(others[0]), difference=differences(own, others[0]))


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """The figures of each query, float64 ``(n, figures)``, NaN for what is none; and what chance gives each."""

    values: Floats
    chance: Mapping[str, Floats]


def _measure(images: Embeddings, belongs: Bools, left_out: npt.NDArray[np.int64]) -> _Measured:
    """Rank all images by each image. ``left_out`` is equal for images that are no candidates of each other."""
    count = len(images)
    values = np.full((count, len(_NAMES)), np.nan)
    chance = {name: np.full(count, np.nan) for name in (*(f"precision@{k}" for k in KS), f"found@{KS[-1]}")}
    discounts = 1 / np.log2(np.arange(2, count + 2))
    shared = belongs.astype(np.float32)
    for start in range(0, count, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, count))
        candidate = left_out[rows, None] != left_out[None, :]
        candidate[np.arange(len(rows)), rows] = False
        right = (shared[rows] @ shared.T > 0) & candidate
        scores = np.where(candidate, images[rows] @ images.T, -np.inf)
        order = np.lexsort((right, -scores), axis=-1)  # of equal scores the wrong one first
        found = np.take_along_axis(right, order, axis=1)
        relevant, size = right.sum(axis=1), candidate.sum(axis=1)
        for row, hits, total, pool in zip(rows.tolist(), found, relevant.tolist(), size.tolist(), strict=True):
            if not total:
                continue
            places = np.flatnonzero(hits)  # of the right ones, from 0
            first = [np.count_nonzero(places < k) / min(k, pool) for k in KS]
            precision = float(np.mean(np.arange(1, total + 1) / (places + 1)))
            gain = float(discounts[places].sum() / discounts[:total].sum())
            values[row] = [*first, float(places[0] < KS[-1]), precision, gain]
            for k in KS:
                chance[f"precision@{k}"][row] = total / pool
            chance[f"found@{KS[-1]}"][row] = 1 - _none_of(pool, total, KS[-1])
    return _Measured(values, chance)


_NAMES = (*(f"precision@{k}" for k in KS), f"found@{KS[-1]}", "map", "ndcg")


def _mean_of(column: int, values: Values) -> Values:
    return np.asarray(np.nanmean(values[..., column], axis=-1))


FIGURES: Mapping[str, Figure] = {name: partial(_mean_of, column) for column, name in enumerate(_NAMES)}


def _none_of(pool: int, right: int, drawn: int) -> float:
    """Return the chance that none of the ``right`` of a pool is among the first ``drawn`` of a random order."""
    drawn = min(drawn, pool)
    if right + drawn > pool:
        return 0.0
    return float(np.prod([(pool - right - place) / (pool - place) for place in range(drawn)]))


def _belonging(labels: Sequence[frozenset[str]]) -> tuple[list[str], Bools]:
    """Return the names of all labels, and which image has which, bool ``(images, labels)``."""
    names = sorted({name for said in labels for name in said})
    places = {name: place for place, name in enumerate(names)}
    belongs = np.zeros((len(labels), len(names)), bool)
    for row, said in enumerate(labels):
        belongs[row, [places[name] for name in said]] = True
    return names, belongs


def _numbers(keys: Sequence[str] | Sequence[int]) -> npt.NDArray[np.int64]:
    known: dict[str | int, int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], np.int64)


def _by_label(
    names: Sequence[str], belongs: Bools, values: Floats, clusters: npt.NDArray[np.int64], seed: int
) -> dict[str, tuple[int, Mapping[str, Metric]]]:
    found: dict[str, tuple[int, Mapping[str, Metric]]] = {}
    for place, name in enumerate(names if len(names) <= MOST else ()):
        inside = belongs[:, place]
        if inside.any():
            own = _numbers(clusters[inside].tolist())
            found[name] = int(inside.sum()), metrics(estimate(values[inside], FIGURES, seed, clusters=own))
    return found
