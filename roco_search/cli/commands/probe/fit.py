"""``roco probe fit``: teach a probe with labelled images of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roco_search.cli.commands.probe.sources import (
    CaseOption,
    ColumnOption,
    LabelOption,
    LabelsOption,
    MarksOption,
    NegativeOption,
    PositiveOption,
    Sources,
    refuse_taken,
)
from roco_search.cli.options import DeviceOption, JsonOption, LibraryOption, QuietOption, checked_device
from roco_search.cli.output import print_json, say, short_path
from roco_search.cli.progress import ProgressBar
from roco_search.cli.terminal import Waiting


def fit(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the probe is called.", show_default=False)],
    labels: LabelsOption = None,
    label: LabelOption = None,
    label_column: ColumnOption = None,
    positive: PositiveOption = None,
    negative: NegativeOption = None,
    from_marks: MarksOption = None,
    case: CaseOption = None,
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
    sources = Sources(labels, label, label_column, positive, negative, from_marks, case)
    from roco_search.cli.render.probes import plain, show_claims
    from roco_search.library import Library, default_library_path
    from roco_search.models import load_encoder
    from roco_search.probe.shelf import SHELF
    from roco_search.probe.teaching.teach import teach

    with Waiting("Reading labels", quiet=quiet), Library.open(library or default_library_path()) as opened:
        if not overwrite:
            refuse_taken(opened, name)
        if report is not None:
            from roco_search.probe.report import check_place

            check_place(report)
        examples = sources.read(opened, name)
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
        SHELF.keep(opened, taught.probe, overwrite=overwrite)
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
