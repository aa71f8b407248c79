"""An evaluation as one HTML page: the figures, plots, and the images that the model did best and worst on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from roco_search import __version__
from roco_search.datasets.pair import Pair, Picture
from roco_search.errors import ImageError, InputError
from roco_search.evaluation import wording
from roco_search.evaluation.classification import Classification
from roco_search.evaluation.embed import Embedded
from roco_search.evaluation.image_to_image import ImageToImage
from roco_search.evaluation.plots import Group, draw_confusion, draw_groups, draw_ranks, draw_recall
from roco_search.evaluation.protocols import Retrieval
from roco_search.evaluation.retrieval import RetrievalResult
from roco_search.evaluation.run import Evaluation
from roco_search.figures import data_uri, is_ours, page, render, svg, write_page
from roco_search.statistics.bootstrap import RESAMPLES
from roco_search.statistics.ranks import identities, rank_any

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
    pool = embedded.pool()
    identity = identities(pool.captions)
    count = len(pool.images)
    found, first = np.empty(count, np.int64), np.empty(count, np.int64)
    margin = np.empty(count, np.float64)
    for start in range(0, count, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, count))
        scores = pool.images[rows] @ pool.texts.T
        own = pool.owners[None, :] == rows[:, None]
        said = np.zeros((len(rows), identity.max() + 1), bool)
        for place, caption in np.argwhere(own):
            said[place, identity[caption]] = True
        same = said[:, identity]
        found[rows] = rank_any(scores, same)
        right, wrong = np.where(same, scores, -np.inf).max(axis=1), np.where(same, -np.inf, scores).max(axis=1)
        margin[rows], first[rows] = right - wrong, scores.argmax(axis=1)

    def example(row: int) -> CaptionExample:
        return CaptionExample(pool.pairs[row], int(found[row]), pool.captions[int(first[row])])

    order = np.lexsort((-margin, found)).tolist()
    shown = [pair.caption for pair in pool.pairs]
    best = [row for row in _each_once(order, shown) if found[row] == 1][:most]
    worst = [row for row in _each_once(order[::-1], shown) if found[row] > 1][:most]
    return [example(row) for row in best], [example(row) for row in worst]


def _each_once(order: Sequence[int], captions: Sequence[str]) -> list[int]:
    seen: dict[str, int] = {}
    for row in order:
        seen.setdefault(captions[row], row)
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


KIND = "evaluation report"
_SIDE = 320  # pixels: sharp at the 240 CSS pixels of a card

Block = tuple[Literal["h2", "h3", "note", "figure", "table", "cards"], Any]
"""One part of the page and its content: a text, a plot as SVG, (columns, rows), or a list of examples."""


def check_places(report_to: Path | None, plot_to: Path | None) -> None:
    """Refuse, before anything is measured, to write where it will not be possible.

    Raises
    ------
    InputError
        If a folder is missing, or the report would overwrite a file that is no report.
    """
    for path in (report_to, plot_to):
        if path is not None and not path.absolute().parent.is_dir():
            raise InputError(f"{path} cannot be written, as there is no folder {path.parent}; choose another path.")
    if report_to is not None and report_to.exists() and not is_ours(report_to, KIND):
        raise InputError(f"{report_to} exists and is not a roco {KIND}, so it is kept; choose another name.")


def write_report(path: Path, evaluation: Evaluation) -> None:
    """Write the page, readable by its owner alone, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written, or would overwrite a file that is not such a page.
    """
    write_page(path, KIND, report(evaluation))


def report(evaluation: Evaluation) -> str:
    """Return the page, in ASCII. The pictures of the examples are read again now."""
    data, model = evaluation.data, evaluation.encoders[0]
    conditions = "".join(f", {condition}" for condition in evaluation.conditions)
    title = f"{_name(model.name)} on {data.name}, {data.split}{conditions}"
    unreadable = evaluation.embedded[0].unreadable
    left_out = [f"{count:,} rows: {reason}" for reason, count in data.left_out.counts.items()]
    left_out += [f"{len(unreadable):,} images that could not be read"] if unreadable else []
    blocks: list[Block] = []
    if evaluation.retrieval is not None:
        blocks += _retrieval(evaluation, evaluation.retrieval)
    for entry in evaluation.classifications:
        blocks += _classification(evaluation, entry)
    for measured in evaluation.images:
        blocks += _images(evaluation, measured)
    body = render(
        "evaluation/report.html",
        title=title,
        n=f"{len(evaluation.embedded[0].pairs):,}",
        left_out=left_out,
        resamples=f"{RESAMPLES:,}",
        seed=evaluation.tasks.seed,
        fingerprints=", ".join(f"{_name(e.name)} {e.fingerprint[:12]}" for e in evaluation.encoders),
        version=__version__,
        blocks=blocks,
    )
    return page(KIND, title, body)


def _retrieval(evaluation: Evaluation, result: RetrievalResult) -> Iterable[Block]:
    names = [_name(encoder.name) for encoder in evaluation.encoders]
    yield "h2", wording.title("whole", result.whole, result)
    yield from _pool(names, result.whole)
    yield "note", wording.RULES
    yield "figure", svg(draw_recall(list(zip(names, result.rankings, strict=True))))
    yield "figure", svg(draw_ranks(result.rankings[0]))
    for protocol, entries in result.protocols.items():
        yield "h2", wording.title(protocol, entries, result)
        if protocol == "roco-v1":
            columns = wording.roco_v1_columns(names, entries[0].queries)
            yield "table", (columns, wording.roco_v1_rows(result, entries[0]))
            yield from (("note", note) for note in wording.ROCO_V1_NOTES)
        else:
            yield from _pool(names, entries)
    if evaluation.tasks.by is not None and result.groups:
        groups = [_recall_at_10(name, entries) for name, entries in result.groups.items()]
        by = str(evaluation.tasks.by)
        yield "h2", f"By {by}: each query among its own group; an identical caption counts as found"
        yield "figure", svg(draw_groups(f"Recall@10 by {by}", groups, "recall@10", "chance, strict"))
    best, worst = caption_examples(evaluation.embedded[0])
    n = f"{result.whole[0].candidates:,}"
    yield from _cards(f"Best examples: the caption came first among N = {n}", map(_caption, best))
    yield from _cards(f"Worst examples: the rank of the image’s own caption among N = {n}", map(_caption, worst))


def _pool(models: Sequence[str], entries: Sequence[Retrieval]) -> Iterable[Block]:
    columns = ["", *(f"{entry.direction}, {entry.matching}" for entry in entries)]
    yield "table", (columns, wording.figure_rows(entries))
    if len(models) > 1:
        yield "h3", f"{models[1]}, on the same pairs"
        yield "table", (columns, wording.figure_rows(entries, "against"))
        yield "h3", wording.compared(*models)
        yield "table", (columns, wording.figure_rows(entries, "difference"))


def _recall_at_10(name: str, entries: Sequence[Retrieval]) -> Group:
    bars = {str(entry.direction): entry.metrics["recall@10"] for entry in entries if entry.matching == "any"}
    return Group(name, entries[0].queries, bars, chance=min(1.0, 10 / entries[0].queries))


def _classification(evaluation: Evaluation, entry: Classification) -> Iterable[Block]:
    found = entry.measured
    yield "h2", f"Zero-shot {entry.classes.column}: {len(found.labels)} classes, N = {found.images:,}"
    names = {"accuracy": "accuracy", "mean_per_class_recall": "mean per-class recall", "macro_auc": "macro AUC"}
    models = [_name(encoder.name) for encoder in evaluation.encoders]
    rows = []
    for attribute, name in names.items():
        measured = [getattr(each, attribute) for each in (found, entry.against) if each is not None]
        gain = [] if entry.difference is None else [entry.difference.get(attribute)]
        cells = ["–" if metric is None else wording.rank(metric) for metric in measured]
        rows.append([name, *cells, *("–" if metric is None else wording.gained(metric) for metric in gain)])
    yield "table", (["", *models, *(["difference, paired bootstrap"] if entry.difference is not None else [])], rows)
    yield "figure", svg(draw_confusion(entry))
    areas = [Group(e.label, e.positives, {"AUC": e.auc}, chance=0.5) for e in found.labels if e.auc is not None]
    if areas:
        title = f"AUC of each class against the others, N = {found.images:,}"
        yield "figure", svg(draw_groups(title, areas, "AUC"))
    if entry.groups:
        groups = [Group(name, group.images, {"accuracy": group.accuracy}) for name, group in entry.groups.items()]
        yield "figure", svg(draw_groups(f"Accuracy by {evaluation.tasks.by}", groups, "accuracy"))
    best, worst = class_examples(entry, evaluation.embedded[0].pairs)
    yield from _cards("Surest right answers", map(_class, best))
    yield from _cards("Surest wrong answers", map(_class, worst))


def _images(evaluation: Evaluation, entry: ImageToImage) -> Iterable[Block]:
    yield "h2", wording.images_title(entry)
    models = [_name(encoder.name) for encoder in evaluation.encoders]
    yield "table", (wording.image_columns(entry, models), wording.image_rows(entry))
    if rows := wording.label_rows(entry):
        yield "table", ([entry.label.name, *wording.LABEL_COLUMNS], rows)


def _cards(title: str, cards: Iterable[dict[str, object]]) -> Iterable[Block]:
    if drawn := list(cards):
        yield "h2", title
        yield "cards", drawn


def _caption(example: CaptionExample) -> dict[str, object]:
    first = None if example.rank == 1 else example.first
    return {
        **_card(example.pair.picture),
        "bold": f"rank {example.rank:,}",
        "text": f" {example.pair.caption}",
        "first": first,
    }


def _class(example: ClassExample) -> dict[str, object]:
    truth = "" if example.truth == example.called else f", but is {example.truth}"
    bold = f"{example.called} {example.probability:.3f}"
    return {**_card(example.pair.picture), "bold": bold, "text": truth, "first": None}


def _card(source: Picture) -> dict[str, object]:
    from PIL import Image

    name = _name(source.name)
    try:
        image = Image.fromarray(source.read())
    except ImageError as error:
        return {"path": name, "image": None, "alt": str(error)}
    image.thumbnail((_SIDE, _SIDE))
    return {"path": name, "image": data_uri(image), "alt": name}


def _name(text: str) -> str:
    """Return the last part of a path: a report is passed on, and a whole path would show whose machine it was."""
    return Path(text).name
