"""Plots of an evaluation. Each title has the size of the pool, without which recall says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from roco_search.evaluation.classification import Classification
from roco_search.evaluation.protocols import Ranking
from roco_search.figures import PALETTE, SEQUENTIAL, style
from roco_search.statistics.bootstrap import Metric
from roco_search.statistics.ranks import Direction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOUR: Mapping[Direction, str] = {"image-to-text": PALETTE[0], "text-to-image": PALETTE[1]}
_FURTHEST = 100  # ranks of the curve; few people look further


def draw_recall(rankings: Sequence[tuple[str, Sequence[Ranking]]]) -> Figure:
    """Draw recall at every k up to 100, any-match, of one model or two; chance is dotted.

    Parameters
    ----------
    rankings
        By the name of the model; each with both directions of the whole pool.
    """
    pool = rankings[0][1][-1].candidates  # images
    ks = np.arange(1, min(pool, _FURTHEST) + 1)
    with style() as figure:
        drawn = figure(figsize=(7.2, 3.6))
        axes = drawn.subplots()
        for (name, entries), dashes in zip(rankings, ("solid", "dashed"), strict=False):
            for ranking in entries:
                if ranking.matching == "any":
                    shares = (ranking.values[None, :] <= ks[:, None]).mean(axis=1)
                    label = f"{ranking.direction}, {name}" if len(rankings) > 1 else ranking.direction
                    axes.plot(ks, 100 * shares, label=label, color=_COLOUR[ranking.direction], linestyle=dashes)
        axes.plot(ks, 100 * ks / pool, color="#666666", linestyle="dotted", label="chance, strict")
        axes.set(xlabel="k", ylabel="recall@k, %", ylim=(0, 100), xlim=(1, ks[-1]))
        axes.set_xscale("log")
        ticks = [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= ks[-1]]
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.minorticks_off()
        axes.set_title(f"Recall@k among N = {_size(rankings[0][1])}, an identical caption counts as found")
        axes.legend(loc="upper left")
    return drawn


def draw_ranks(rankings: Sequence[Ranking]) -> Figure:
    """Draw how many queries have which rank, any-match, in bins that double."""
    pool = max(ranking.candidates for ranking in rankings)
    edges = [1]
    while edges[-1] <= pool:
        edges.append(edges[-1] * 2)
    names = [str(low) if low == last else f"{low}–{last}" for low, last in _bins(edges, pool)]
    shown = [ranking for ranking in rankings if ranking.matching == "any"]
    with style() as figure:
        drawn = figure(figsize=(7.2, 3.2))
        axes = drawn.subplots()
        places = np.arange(len(names))
        for number, ranking in enumerate(shown):
            counts, _ = np.histogram(ranking.values, edges)
            left = places + (number - (len(shown) - 1) / 2) * 0.4
            axes.bar(left, counts, 0.4, label=ranking.direction, color=_COLOUR[ranking.direction])
        axes.set_xticks(places, names, rotation=30 if len(names) > 9 else 0)
        axes.grid(visible=False, axis="x")
        axes.set(xlabel="rank of the right answer", ylabel="queries")
        axes.set_title(f"Ranks among N = {_size(rankings)}, an identical caption counts as found")
        axes.legend()
    return drawn


def _size(rankings: Sequence[Ranking]) -> str:
    sizes = {ranking.direction: len(ranking.values) for ranking in rankings}
    images, captions = sizes["image-to-text"], sizes["text-to-image"]
    return f"{images:,}" if images == captions else f"{images:,} images and {captions:,} captions"


def _bins(edges: Sequence[int], pool: int) -> list[tuple[int, int]]:
    return [(low, min(after - 1, pool)) for low, after in pairwise(edges)]


@dataclass(frozen=True, slots=True)
class Group:
    """What is drawn of a group: its size, a bar (0 to 1) for each series, and what chance would give."""

    name: str
    size: int
    bars: Mapping[str, Metric]
    chance: float | None = None


def draw_groups(title: str, groups: Sequence[Group], measure: str, chance: str = "chance") -> Figure:
    """Draw a bar with its interval for each group and series, and a black line for chance.

    Parameters
    ----------
    title
        What is shown.
    groups
        The groups, from top to bottom.
    measure, chance
        What the bars and the black lines are.
    """
    series = list(dict.fromkeys(name for group in groups for name in group.bars))
    thickness = 0.8 / len(series)
    with style() as figure:
        drawn = figure(figsize=(7.2, 1.2 + 0.26 * len(groups) * max(len(series), 1.4)))
        axes = drawn.subplots()
        for number, name in enumerate(series):
            rows = [(row, group.bars[name]) for row, group in enumerate(groups) if name in group.bars]
            values = np.array([[m.value, m.value - m.low, m.high - m.value] for _, m in rows]).T
            heights = np.array([row for row, _ in rows]) + (number - (len(series) - 1) / 2) * thickness
            axes.barh(
                heights, values[0], thickness, xerr=np.clip(values[1:], 0, None), color=PALETTE[number],
                error_kw={"elinewidth": 1, "ecolor": "#333333"}, label=name,
            )  # fmt: skip
        by_chance = [(row, group.chance) for row, group in enumerate(groups) if group.chance is not None]
        if by_chance:
            places = np.array([row for row, _ in by_chance])
            axes.vlines([share for _, share in by_chance], places - 0.45, places + 0.45, color="black", label=chance)
        axes.set_yticks(range(len(groups)), [f"{group.name}  (N = {group.size:,})" for group in groups])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel=measure, xlim=(0, 1.02))
        axes.set_title(title)
        if len(series) > 1 or by_chance:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return drawn


def draw_confusion(entry: Classification) -> Figure:
    """Draw the confusion matrix: rows are the truth, shares of a row are the colour, counts are written."""
    assert entry.measured.confusion is not None
    counts = np.array(entry.measured.confusion)
    # A class that no image has, and to which none was assigned, would be an empty row and column.
    used = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    counts = counts[np.ix_(used, used)]
    names = [label.name for label, there in zip(entry.classes.labels, used, strict=True) if there]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = 1.6 + 0.55 * len(names)
    with style() as figure:
        drawn = figure(figsize=(max(side + 2.2, 5.0), max(side + 0.6, 3.9)))
        axes = drawn.subplots()
        image = axes.imshow(shares, cmap=SEQUENTIAL, vmin=0, vmax=1)
        for row, column in np.ndindex(*counts.shape):
            if counts[row, column]:
                colour = "black" if shares[row, column] > 0.55 else "white"
                axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour)
        places = range(len(names))
        axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(places, [f"{name}  ({total:,})" for name, total in zip(names, totals[:, 0], strict=True)])
        axes.grid(visible=False)
        axes.set(xlabel="called", ylabel="truth (images)")
        accuracy = entry.measured.accuracy
        drawn.suptitle(
            f"{entry.classes.column}: accuracy {100 * accuracy.value:.1f} %, N = {entry.measured.images:,}",
            fontweight="bold", fontsize=11,
        )  # fmt: skip
        bar = drawn.colorbar(image, ax=axes, shrink=0.8)
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
    return drawn
