"""``roco probe fit``: teach a probe with labelled images of the library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roco_search.cli.options import DeviceOption, JsonOption, LibraryOption, QuietOption, checked_device
from roco_search.cli.output import print_json, say, short_path
from roco_search.cli.progress import ProgressBar
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse

if TYPE_CHECKING:
    from roco_search.library import Library
    from roco_search.probe.examples import Examples


def fit(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the probe is called.", show_default=False)],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="A table of paths and labels (CSV, TSV, JSON Lines, Parquet), an imagefolder, or class-named folders.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="Learn only this label. Repeatable.", show_default=False),
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column that holds the labels.", show_default="label")
    ] = None,
    positive: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="An image that shows NAME, or a list of such paths. Repeatable.", show_default=False
        ),
    ] = None,
    negative: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="An image that does not, or a list of such paths. Repeatable.", show_default=False
        ),
    ] = None,
    from_marks: Annotated[
        str | None,
        typer.Option(metavar="SESSION", help="Learn from the marks of 'query --mark'.", show_default=False),
    ] = None,
    case: Annotated[
        str | None,
        typer.Option(
            metavar="series|study|folder|file|COLUMN",
            help="What is never divided between learning and measuring [default: all that is known].",
            show_default=False,
        ),
    ] = None,
    sensitivity: Annotated[
        float, typer.Option(min=0.5, max=1.0, metavar="X", help="What the rule-out threshold is to reach.")
    ] = 0.95,
    specificity: Annotated[
        float, typer.Option(min=0.5, max=1.0, metavar="X", help="What the rule-in threshold is to reach.")
    ] = 0.95,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write an HTML page of the figures.", show_default=False)
    ] = None,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Open no file for the shortcut control; it sees headers alone.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a probe of the same name.")] = False,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of every division into folds.")] = 0,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Teach a probe from labelled images of the library, and measure what it may claim.

    No image is embedded again: a small head is fitted on stored vectors. It starts from what the model says of the
    label's words, so that five examples a class already help. Every figure is measured on cases that the head had not
    seen, beside the model's own answer, and beside two controls.

    Example: `roco probe fit sign --labels labels.csv`
    """
    checked = checked_device(device)
    sources = (("--labels", labels), ("--positive", positive), ("--from-marks", from_marks))
    given = [flag for flag, value in sources if value]
    if not given:
        refuse("Nothing to learn from is given; name a table with --labels.")
    if len(given) > 1:
        refuse(f"{' and '.join(given)} are two sources of labels; choose one of them.")
    if bool(positive) != bool(negative):
        refuse("--positive needs --negative, and the reverse: a head learns the difference.")
    from roco_search.cli.render.probes import plain, show_claims
    from roco_search.library import Library, default_library_path
    from roco_search.models import load_encoder
    from roco_search.probe import shelf
    from roco_search.probe.teaching import teach

    with Waiting("Reading labels", quiet=quiet), Library.open(library or default_library_path()) as opened:
        if not overwrite and name in shelf.names(opened):
            refuse(f"There is a probe {name!r} already; use --overwrite to replace it, or choose another name.")
        if report is not None:
            from roco_search.probe.report import check_place

            check_place(report)
        if from_marks is not None:
            examples = _marked(opened, name, from_marks, case)
        else:
            examples = _examples(opened, name, labels, label, label_column, positive, negative, case)
        encoder = load_encoder(opened.active().model, checked)
        taught = teach(
            opened,
            encoder,
            name,
            examples,
            sensitivity=sensitivity,
            specificity=specificity,
            pictures=not no_pictures,
            seed=seed,
            progress=ProgressBar("Teaching", quiet),
        )
        shelf.keep(opened, taught.probe, overwrite=overwrite)
    if not quiet:
        for note in taught.notes:
            say(f"Note: {note}")
    if report is not None:
        from roco_search.probe.report import write_report

        write_report(report, taught.probe)
        say(f"{short_path(report)} is written.")
    if json:
        print_json(plain(taught.probe))
    else:
        show_claims(taught.probe)


def _examples(
    opened: Library,
    name: str,
    labels: Path | None,
    label: list[str] | None,
    label_column: str | None,
    positive: list[Path] | None,
    negative: list[Path] | None,
    case: str | None,
) -> Examples:
    from roco_search.probe.examples import from_labels, from_lists

    if labels is not None:
        return from_labels(opened, labels, labels=tuple(label or ()), column=label_column, case=case)
    return from_lists(opened, name, positive or [], negative or [], case=case)


def _marked(opened: Library, name: str, session: str, case: str | None) -> Examples:
    from roco_search.probe import sessions
    from roco_search.probe.examples import from_marks

    yes, no = sessions.read(opened, session).ids(opened)
    return from_marks(opened, name, yes, no, case=case)
