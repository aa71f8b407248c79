"""How ``roco eval`` prints an evaluation: tables in which every figure has its pool, its direction and its rule."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from roco_search.cli.output import print_line, print_rows, say, short_path
from roco_search.cli.render.classification import interval, show_evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roco_search.evaluation.classification import Classification
    from roco_search.evaluation.image_to_image import ImageToImage
    from roco_search.evaluation.protocols import Retrieval
    from roco_search.evaluation.retrieval import RetrievalResult
    from roco_search.evaluation.run import Evaluation

NAMED = 10  # unreadable images named one by one


def show(found: Evaluation) -> None:
    """Print everything that was measured."""
    conditions = "".join(f", {condition}" for condition in found.conditions)
    pairs = found.embedded[0].pairs
    images = len({pair.image for pair in pairs})
    of_images = f" of {images:,} images" if images < len(pairs) else ""
    print_line(f"{found.data.name}, split {found.data.split}{conditions}: {len(pairs):,} pairs{of_images}")
    for encoder, role in zip(found.encoders, ("model", "against"), strict=False):
        print_line(f"{role:<8} {encoder.name}  ({encoder.fingerprint[:12]})")
    if found.retrieval is not None:
        _retrieval(found, found.retrieval)
    for entry in found.classifications:
        _classification(found, entry)
    for measured in found.images:
        _images(found, measured)


def tell_left_out(found: Evaluation) -> None:
    """Print what is not in the figures, and why."""
    known = found.data.left_out
    for reason, count in known.counts.items():
        say(f"Note: {count:,} rows are left out: {reason} (such as {', '.join(known.examples.get(reason, ()))}).")
    unreadable = found.embedded[0].unreadable
    for entry in unreadable[:NAMED]:
        say(f"Not readable: {short_path(entry.name)}: {entry.reason}")
    if len(unreadable) > NAMED:
        say(f"Not readable: {len(unreadable) - NAMED:,} more; --json lists them all.")
    for classification in found.classifications:
        classes = classification.classes
        if classes.other:
            from roco_search.classify.truth import named_counts

            say(f"Note: {sum(classes.other.values()):,} images are left out: {named_counts(Counter(classes.other))}.")
        if classes.silent:
            say(f"Note: {classes.silent:,} images are left out; {str(classes.column)!r} is empty for them.")
    for measured in found.images:
        if measured.silent:
            say(f"Note: {measured.silent:,} images are left out; {measured.label.name!r} is empty for them.")
        if measured.without:
            say(f"Note: {measured.without:,} images are no queries; no other candidate has their label.")
    if found.retrieval is not None and found.retrieval.without_choice:
        groups = ", ".join(found.retrieval.without_choice)
        say(f"Note: not measured, because there is only one caption or image: {groups}.")


def _retrieval(found: Evaluation, result: RetrievalResult) -> None:
    from roco_search.evaluation import wording

    models = [encoder.name for encoder in found.encoders]
    _title(wording.title("whole", result.whole, result))
    _pool(models, result.whole)
    print_line(wording.RULES)
    for protocol, entries in result.protocols.items():
        _title(wording.title(protocol, entries, result))
        if protocol == "roco-v1":
            columns = wording.roco_v1_columns(models, entries[0].queries)
            print_rows(columns, wording.roco_v1_rows(result, entries[0]), right=columns[2:])
            for note in wording.ROCO_V1_NOTES:
                print_line(note)
        else:
            _pool(models, entries)
    if found.tasks.by is not None:
        _groups(str(found.tasks.by), result)


def _pool(models: Sequence[str], entries: Sequence[Retrieval]) -> None:
    """Print one table for the model; with a second one, one for that and one for the difference too."""
    from roco_search.evaluation import wording

    columns = ["", *(f"{entry.direction}, {entry.matching}" for entry in entries)]
    print_rows(columns, wording.figure_rows(entries), right=columns[1:])
    if len(models) > 1:
        _title(f"{models[1]}, on the same pairs")
        print_rows(columns, wording.figure_rows(entries, "against"), right=columns[1:])
        _title(wording.compared(*models))
        print_rows(columns, wording.figure_rows(entries, "difference"), right=columns[1:])


def _groups(by: str, result: RetrievalResult) -> None:
    from roco_search.evaluation import wording

    _title(f"By {by}: each query among its own group; an identical caption counts as found; {wording.INTERVALS}")
    shown = [(direction, k) for direction in ("image-to-text", "text-to-image") for k in ("recall@1", "recall@10")]
    rows = []
    for name, entries in result.groups.items():
        figures = {str(entry.direction): entry.metrics for entry in entries if entry.matching == "any"}
        cells = [wording.percent(figures[direction][k]) for direction, k in shown]
        rows.append([name, f"{entries[0].queries:,}", *cells])
    columns = ["N", *(f"{direction} {k}" for direction, k in shown)]
    print_rows([by, *columns], rows, right=columns)


def _classification(found: Evaluation, entry: Classification) -> None:
    classes = ", ".join(label.name for label in entry.classes.labels)
    _title(f"Zero-shot {entry.classes.column}, {len(entry.classes.labels)} classes, N = {entry.measured.images:,}")
    print_line(f"classes: {classes}")
    show_evaluation(entry.measured, "table")
    if entry.against is not None and entry.difference is not None:
        print_line(f"\n{found.encoders[0].name} against {found.encoders[1].name} on the same images, paired bootstrap:")
        from roco_search.evaluation.wording import gained

        rows = [
            [name.replace("_", " "), interval(own), interval(getattr(entry.against, name)), gained(gain)]
            for name, gain in entry.difference.items()
            if (own := getattr(entry.measured, name)) is not None
        ]
        columns = [encoder.name for encoder in found.encoders]
        print_rows(["", *columns, "difference"], rows, right=[*columns, "difference"])
    if entry.groups:
        print_line("")
        rows = [
            [name, f"{group.images:,}", interval(group.accuracy), interval(group.macro_auc)]
            for name, group in entry.groups.items()
        ]
        print_rows([str(found.tasks.by), "N", "accuracy", "macro AUC"], rows, right=["N", "accuracy", "macro AUC"])


def _images(found: Evaluation, entry: ImageToImage) -> None:
    from roco_search.evaluation import wording

    _title(wording.images_title(entry))
    columns = wording.image_columns(entry, [encoder.name for encoder in found.encoders])
    print_rows(columns, wording.image_rows(entry), right=columns[1:])
    if rows := wording.label_rows(entry):
        print_line("")
        columns = [entry.label.name, *wording.LABEL_COLUMNS]
        print_rows(columns, rows, right=columns[1:])


def _title(text: str) -> None:
    print_line(f"\n{text}")
