"""``roco probe space``: teach the library what similar is to mean."""

from __future__ import annotations

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
from roco_search.cli.options import JsonOption, LibraryOption, QuietOption
from roco_search.cli.output import FAILED, print_json, say
from roco_search.cli.terminal import Waiting


def space(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the space is called.", show_default=False)],
    labels: LabelsOption = None,
    label: LabelOption = None,
    label_column: ColumnOption = None,
    positive: PositiveOption = None,
    negative: NegativeOption = None,
    from_marks: MarksOption = None,
    case: CaseOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a probe or space of the same name.")] = False,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of every division into halves.")] = 0,
    library: LibraryOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Teach a space in which similar means similar in what your labels say; roco similar --space NAME uses it.

    The labels give a linear map of the stored vectors. It is kept only if, of the ten nearest images, more have the
    same label than without it, on cases that it had not seen; either way, the figures are printed. The exit code is 1
    if it is not kept.

    Example: `roco probe space alike --labels kinds.csv`
    """
    sources = Sources(labels, label, label_column, positive, negative, from_marks, case)
    from roco_search.cli.render.probes import plain, show_space
    from roco_search.library import Library, default_library_path
    from roco_search.probe.shelf import SHELF
    from roco_search.probe.teaching.spaces import teach_space

    with Waiting("Teaching the space", quiet=quiet), Library.open(library or default_library_path()) as opened:
        if not overwrite:
            refuse_taken(opened, name)
        examples = sources.read(opened, name)
        taught = teach_space(opened, name, examples, seed=seed)
        if taught.claim.better:
            SHELF.keep(opened, taught, overwrite=overwrite)
    if json:
        print_json(plain(taught) | {"kept": taught.claim.better})
    else:
        show_space(taught)
    if not taught.claim.better:
        say(f"{name} is not kept: the gain is no more than chance may bring. More labels may help.")
        raise typer.Exit(FAILED)
    if not quiet:
        say(f"The space {name} is kept; use it with `roco similar IMAGE --space {name}`.")
