"""How figures are written, for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from roco_search.evaluation.image_to_image import ImageToImage
from roco_search.evaluation.protocols import ROCO_TEST, ROCO_V1, SHUFFLE_SEED, SHUFFLES, SOURCE, Protocol, Retrieval
from roco_search.evaluation.retrieval import RetrievalResult
from roco_search.statistics.bootstrap import Metric

RULES = (
    "strict: any caption of the image, or the caption's own image, is right, and a tie with an identical caption is "
    "decided by the order of the data; any: everything with the identical caption is right. A tie with another caption "
    "is a miss in both."
)
INTERVALS = "95 % bootstrap intervals over the images"
ROCO_V1_NOTES = (
    f"Published: {SOURCE}, measured on the ROCO test set. The 6.02 % were first reported as recall@5.",
    "Batch-wise figures are not recall over the set. Other data, or another N, is not comparable with these.",
)
Which = Literal["metrics", "against", "difference"]
_RANKS = {"median_rank": "median rank", "mean_rank": "mean rank", "mrr": "MRR"}


def figure_rows(entries: Sequence[Retrieval], which: Which = "metrics") -> list[list[str]]:
    """Return a row for each figure, a column for each entry, the name of the figure first."""
    columns: list[Mapping[str, Metric]] = [getattr(entry, which) or {} for entry in entries]
    if which == "difference":
        return [[_RANKS.get(n, n), *(gained(c[n], 1 if n in _RANKS else 100) for c in columns)] for n in columns[0]]
    return [[_RANKS.get(n, n), *((rank if n in _RANKS else percent)(c[n]) for c in columns)] for n in columns[0]]


def title(protocol: Protocol, entries: Sequence[Retrieval], result: RetrievalResult) -> str:
    """Return the title of a protocol's figures, in which the size of the pool is never missing."""
    n = f"N = {size(entries)}"
    match protocol:
        case "whole":
            return f"Whole pool, each query among all {n}; {INTERVALS}"
        case "roco-v1":
            return f"Protocol roco-v1, {n}: contiguous batches of 32 in the order of the data, the last one short"
        case "shuffled-32":
            return (
                f"Protocol shuffled-32, {n}: image-to-text among 32 candidates, not among all; the mean over "
                f"{SHUFFLES} shuffles (seed {SHUFFLE_SEED}), an identical caption counts as found"
            )
        case "m3ae-2k":
            gone = f"; {len(result.missing):,} of its 2,000 pairs are not here, so it is not comparable"
            return f"Protocol m3ae-2k, each query among {n}{gone if result.missing else ''}"


def size(entries: Sequence[Retrieval]) -> str:
    """Return the size of a pool: "838", or "12 images and 60 captions" where an image has several."""
    queries = entries[0].queries
    others = next((entry.queries for entry in entries if entry.direction != entries[0].direction), queries)
    return f"{queries:,}" if queries == others else f"{queries:,} images and {others:,} captions"


def roco_v1_rows(result: RetrievalResult, batchwise: Retrieval) -> list[list[str]]:
    """Return, for each published figure, its name, direction and pool, what it is here, and what was published."""
    whole = {entry.direction: entry for entry in result.whole if entry.matching == "strict"}
    rows = []
    for figure in ROCO_V1:
        among_batch = figure.candidates < ROCO_TEST
        own = batchwise if among_batch else whole[figure.direction]
        name = f"{'batch-wise' if among_batch else 'global'} {figure.metric}"
        here = [found[figure.metric] for found in (own.metrics, own.against) if found is not None]
        published = f"{100 * figure.value:.2f} %"
        rows.append([name, figure.direction, "32" if among_batch else "all", *map(percent, here), published])
    return rows


def roco_v1_columns(models: Sequence[str], n: int) -> list[str]:
    """Return the columns of `roco_v1_rows`."""
    return ["", "direction", "among", *(f"{model}, N = {n:,}" for model in models), f"published, N = {ROCO_TEST:,}"]


_IMAGES = {"map": "mean average precision", "ndcg": "nDCG, whole list"}
_CASES = {
    "left out": "images of the query's own case are left out",
    "kept": "images of the query's own case are candidates too",
    "asked for": "what is asked for are images of the query's own case",
    "not stated": "the data states no cases",
}
MOST_LABELS = 30  # in a table; JSON has them all


def images_title(entry: ImageToImage) -> str:
    """Return the title of the figures of images found by images, with the size of the pool."""
    return (
        f"Image to image by {entry.label.name}, {entry.queries:,} queries among N = {entry.images:,} images; "
        f"{_CASES[entry.label.cases]}; 95 % bootstrap intervals over the "
        f"{'images' if entry.label.cases == 'not stated' else 'cases'}"
    )


def image_rows(entry: ImageToImage) -> list[list[str]]:
    """Return a row for each figure: its name, the figure, what chance gives, and those of another model."""
    rows = []
    for name, metric in entry.metrics.items():
        share = name not in _IMAGES
        form = percent if share else rank
        chance = f"{100 * entry.chance[name]:.1f} %" if name in entry.chance else "–"
        cells = [form(metric), chance]
        if entry.against is not None and entry.difference is not None:
            cells += [form(entry.against[name]), gained(entry.difference[name], 100 if share else 1)]
        rows.append([_IMAGES.get(name, name), *cells])
    return rows


def image_columns(entry: ImageToImage, models: Sequence[str]) -> list[str]:
    """Return the columns of `image_rows`."""
    return ["", models[0], "by chance", *([models[1], "difference, paired"] if entry.against is not None else [])]


def label_rows(entry: ImageToImage) -> list[list[str]]:
    """Return a row for each label: its name, the number of its queries, and three figures; none if there are many."""
    if len(entry.by_label) > MOST_LABELS:
        return []
    return [
        [name, f"{n:,}", percent(found["precision@1"]), percent(found["precision@10"]), rank(found["map"])]
        for name, (n, found) in entry.by_label.items()
    ]


LABEL_COLUMNS = ("queries", "precision@1", "precision@10", "average precision")


def percent(metric: Metric) -> str:
    """Return "10.3 % (6.2–14.9)"."""
    return f"{100 * metric.value:.1f} % ({100 * metric.low:.1f}–{100 * metric.high:.1f})"


def rank(metric: Metric) -> str:
    """Return "10.5 (8.0–12.5)", and of what is below 1 three places."""
    places = 1 if abs(metric.value) >= 1 else 3
    return f"{metric.value:.{places}f} ({metric.low:.{places}f}–{metric.high:.{places}f})"


def gained(metric: Metric, scale: int = 1) -> str:
    """Return "+1.5 (-0.5 to +3.6)" for a difference of shares in points (scale 100), "+0.015 (…)" for another."""
    value, low, high = (scale * number for number in (metric.value, metric.low, metric.high))
    places = 1 if scale == 100 or max(abs(low), abs(high)) >= 1 else 3
    return f"{value:+.{places}f} ({low:+.{places}f} to {high:+.{places}f})"


def compared(first: str, second: str) -> str:
    """Return the title of the differences between two models."""
    return f"{first} minus {second}, recall in points; paired bootstrap over the queries"
