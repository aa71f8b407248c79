"""An evaluation as one HTML page: the figures, the plots, and the images that went best and worst.

What the page says is collected here as blocks; ``report.html`` writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from roco_search import __version__
from roco_search.datasets.pair import Picture
from roco_search.errors import ImageError, InputError
from roco_search.evaluation import wording
from roco_search.evaluation.classification import Classification
from roco_search.evaluation.examples import CaptionExample, ClassExample, caption_examples, class_examples
from roco_search.evaluation.plots import Group, draw_confusion, draw_groups, draw_ranks, draw_recall
from roco_search.evaluation.protocols import Retrieval
from roco_search.evaluation.retrieval import RetrievalResult
from roco_search.evaluation.run import Evaluation
from roco_search.figures import data_uri, is_ours, page, render, svg, write_page
from roco_search.statistics.bootstrap import RESAMPLES

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
        If it cannot be written, or would overwrite a file that is no such page.
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
    n = result.whole[0].candidates
    yield from _cards(f"Best examples: the caption came first among N = {n:,}", map(_caption, best))
    yield from _cards(f"Worst examples: the rank of the image’s own caption among N = {n:,}", map(_caption, worst))


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
    return Group(name, entries[0].queries, bars, chance=min(1.0, 10 / entries[0].candidates))


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
