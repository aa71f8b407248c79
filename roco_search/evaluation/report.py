"""An evaluation as one HTML page: the figures, plots, and the images that went best and worst."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

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
from roco_search.figures import escape, is_ours, page, picture, svg, write_page
from roco_search.statistics.bootstrap import RESAMPLES

KIND = "evaluation report"
_SIDE = 320  # pixels: sharp at the 240 CSS pixels of a card


def check_places(report_to: Path | None, plot_to: Path | None) -> None:
    """Refuse, before anything is measured, to write where it will not be possible.

    Raises
    ------
    InputError
        If a folder is missing, or the report would overwrite what is no report.
    """
    for path in (report_to, plot_to):
        if path is not None and not path.absolute().parent.is_dir():
            raise InputError(f"{path} cannot be written, as there is no folder {path.parent}; give another place.")
    if report_to is not None and report_to.exists() and not is_ours(report_to, KIND):
        raise InputError(f"{report_to} exists and is no {KIND} of roco, so it is kept; give another name.")


def write_report(path: Path, evaluation: Evaluation) -> None:
    """Write the page, readable by its owner alone, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written, or would overwrite what is not such a page.
    """
    write_page(path, KIND, report(evaluation))


def report(evaluation: Evaluation) -> str:
    """Return the page, ASCII alone. The pictures of the examples are read again now."""
    data, model = evaluation.data, evaluation.encoders[0]
    conditions = "".join(f", {condition}" for condition in evaluation.conditions)
    title = f"{_name(model.name)} on {data.name}, {data.split}{conditions}"
    n, unreadable = len(evaluation.embedded[0].pairs), evaluation.embedded[0].unreadable
    left_out = [f"{count:,} rows: {reason}" for reason, count in data.left_out.counts.items()]
    left_out += [f"{len(unreadable):,} images that could not be read"] if unreadable else []
    fingerprints = ", ".join(f"{_name(e.name)} {e.fingerprint[:12]}" for e in evaluation.encoders)
    head = f"""<header>
<h1>{escape(title)}</h1>
<p>N = {n:,}. {"Left out: " + escape("; ".join(left_out)) + "." if left_out else "Nothing was left out."}</p>
<p>Intervals are 95 % bootstrap intervals ({RESAMPLES:,} resamples, seed {evaluation.tasks.seed}). Models by
fingerprint: {escape(fingerprints)}. roco {__version__}.</p>
<p>This page contains some of the images, and file names can name patients: keep it as you keep the scans.</p>
</header>"""
    parts = [head]
    if evaluation.retrieval is not None:
        parts += _retrieval(evaluation, evaluation.retrieval)
    for entry in evaluation.classifications:
        parts += _classification(evaluation, entry)
    return page(KIND, title, "\n".join(parts))


def _retrieval(evaluation: Evaluation, result: RetrievalResult) -> Iterable[str]:
    names = [_name(encoder.name) for encoder in evaluation.encoders]
    yield f"<h2>{escape(wording.title('whole', result.whole, result))}</h2>"
    yield from _pool(names, result.whole)
    yield f'<p class="quiet">{escape(wording.RULES)}</p>'
    yield _figure(svg(draw_recall(list(zip(names, result.rankings, strict=True)))))
    yield _figure(svg(draw_ranks(result.rankings[0])))
    for protocol, entries in result.protocols.items():
        yield f"<h2>{escape(wording.title(protocol, entries, result))}</h2>"
        if protocol == "roco-v1":
            columns = wording.roco_v1_columns(names, entries[0].queries)
            yield _table(columns, wording.roco_v1_rows(result, entries[0]))
            yield "\n".join(f'<p class="quiet">{escape(note)}</p>' for note in wording.ROCO_V1_NOTES)
        else:
            yield from _pool(names, entries)
    if evaluation.tasks.by is not None and result.groups:
        groups = [_recall_at_10(name, entries) for name, entries in result.groups.items()]
        by = str(evaluation.tasks.by)
        yield f"<h2>By {escape(by)}: each query among its own group; an identical caption counts as found</h2>"
        yield _figure(svg(draw_groups(f"Recall@10 by {by}", groups, "recall@10", "chance, strict")))
    best, worst = caption_examples(evaluation.embedded[0])
    n = result.whole[0].candidates
    yield from _cards(f"Best examples: the caption came first among N = {n:,}", map(_caption, best))
    yield from _cards(f"Worst examples: the rank of the image’s own caption among N = {n:,}", map(_caption, worst))


def _pool(models: Sequence[str], entries: Sequence[Retrieval]) -> Iterable[str]:
    columns = ["", *(f"{entry.direction}, {entry.matching}" for entry in entries)]
    yield _table(columns, wording.figure_rows(entries))
    if len(models) > 1:
        yield f"<h3>{escape(models[1])}, on the same pairs</h3>"
        yield _table(columns, wording.figure_rows(entries, "against"))
        yield f"<h3>{escape(wording.compared(*models))}</h3>"
        yield _table(columns, wording.figure_rows(entries, "difference"))


def _recall_at_10(name: str, entries: Sequence[Retrieval]) -> Group:
    bars = {str(entry.direction): entry.metrics["recall@10"] for entry in entries if entry.matching == "any"}
    return Group(name, entries[0].queries, bars, chance=min(1.0, 10 / entries[0].candidates))


def _classification(evaluation: Evaluation, entry: Classification) -> Iterable[str]:
    found = entry.measured
    column = str(entry.classes.column)
    yield f"<h2>Zero-shot {escape(column)}: {len(found.labels)} classes, N = {found.images:,}</h2>"
    names = {"accuracy": "accuracy", "mean_per_class_recall": "mean per-class recall", "macro_auc": "macro AUC"}
    models = [_name(encoder.name) for encoder in evaluation.encoders]
    rows = []
    for attribute, name in names.items():
        measured = [getattr(each, attribute) for each in (found, entry.against) if each is not None]
        gain = [] if entry.difference is None else [entry.difference.get(attribute)]
        cells = ["–" if metric is None else wording.rank(metric) for metric in measured]
        rows.append([name, *cells, *("–" if metric is None else wording.gained(metric) for metric in gain)])
    yield _table(["", *models, *(["difference, paired bootstrap"] if entry.difference is not None else [])], rows)
    yield _figure(svg(draw_confusion(entry)))
    areas = [Group(e.label, e.positives, {"AUC": e.auc}, chance=0.5) for e in found.labels if e.auc is not None]
    if areas:
        yield _figure(svg(draw_groups(f"AUC of each class against the others, N = {found.images:,}", areas, "AUC")))
    if entry.groups:
        groups = [Group(name, group.images, {"accuracy": group.accuracy}) for name, group in entry.groups.items()]
        yield _figure(svg(draw_groups(f"Accuracy by {evaluation.tasks.by}", groups, "accuracy")))
    best, worst = class_examples(entry, evaluation.embedded[0].pairs)
    yield from _cards("Surest right answers", map(_class, best))
    yield from _cards("Surest wrong answers", map(_class, worst))


def _cards(title: str, cards: Iterable[str]) -> Iterable[str]:
    if drawn := list(cards):
        yield f"<h2>{escape(title)}</h2>\n<ol>\n" + "\n".join(drawn) + "\n</ol>"


def _caption(example: CaptionExample) -> str:
    first = "" if example.rank == 1 else f"<br>first was: <i>{escape(example.first)}</i>"
    return _card(example.pair.picture, f"<b>rank {example.rank:,}</b> {escape(example.pair.caption)}{first}")


def _class(example: ClassExample) -> str:
    truth = "" if example.truth == example.called else f", but is {escape(example.truth)}"
    return _card(example.pair.picture, f"<b>{escape(example.called)} {example.probability:.3f}</b>{truth}")


def _card(source: Picture, facts: str) -> str:
    path = f'<span class="path">{escape(_name(source.name))}</span>'
    return f'<li><p class="picture">{_thumbnail(source)}</p><p class="facts">{facts} {path}</p></li>'


def _thumbnail(source: Picture) -> str:
    from PIL import Image

    try:
        image = Image.fromarray(source.read())
    except ImageError as error:
        return escape(str(error))
    image.thumbnail((_SIDE, _SIDE))
    return picture(image, _name(source.name))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th class="number">{escape(column)}</th>' if column else "<th></th>" for column in columns)
    body = "\n".join(
        f"<tr><td>{escape(row[0])}</td>"
        + "".join(f'<td class="number">{escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table>\n<tr>{head}</tr>\n{body}\n</table>"


def _figure(drawn: str) -> str:
    return f"<figure>{drawn}</figure>"


def _name(text: str) -> str:
    """Return the last part of a path: a report is passed on, and a path tells whose machine it was."""
    return Path(text).name
