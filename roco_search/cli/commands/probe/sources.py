"""What ``roco probe fit`` and ``space`` learn from: the same options, read in one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roco_search.cli.output import call_flags
from roco_search.cli.usage import refuse

if TYPE_CHECKING:
    from roco_search.library import Library
    from roco_search.probe.examples import Examples

LabelsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|DIR",
        help="A table of paths and labels (CSV, TSV, JSON Lines, Parquet), an imagefolder, or class-named folders.",
        show_default=False,
    ),
]
LabelOption = Annotated[
    list[str] | None, typer.Option(metavar="LABEL", help="Learn only this label. Repeatable.", show_default=False)
]
ColumnOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The column that holds the labels.", show_default="label")
]
PositiveOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE", help="An image that shows NAME, or a list of such paths. Repeatable.", show_default=False
    ),
]
NegativeOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE", help="An image that does not, or a list of such paths. Repeatable.", show_default=False
    ),
]
MarksOption = Annotated[
    str | None,
    typer.Option(metavar="SESSION", help="Learn from the marks of 'query --mark'.", show_default=False),
]
CaseOption = Annotated[
    str | None,
    typer.Option(
        metavar="series|study|folder|file|COLUMN",
        help="What is never divided between learning and measuring [default: all that is known].",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Sources:
    """What the options above say, in their order."""

    labels: Path | None
    label: Sequence[str] | None
    column: str | None
    positive: Sequence[Path] | None
    negative: Sequence[Path] | None
    marks: str | None
    case: str | None

    def __post_init__(self) -> None:
        """Refuse none and several sources of labels, and name the flags of what `read` may refuse."""
        ways = (("--labels", self.labels), ("--positive", self.positive), ("--from-marks", self.marks))
        given = [flag for flag, value in ways if value]
        if not given:
            refuse("Nothing to learn from is given; name a table with --labels.")
        if len(given) > 1:
            refuse(f"{' and '.join(given)} are two sources of labels; choose one of them.")
        if bool(self.positive) != bool(self.negative):
            refuse("--positive needs --negative, and the reverse: a head learns the difference.")
        call_flags(column="--label-column", labels="--label")

    def read(self, opened: Library, name: str) -> Examples:
        """Return the examples of the one source that is given. Raises `InputError`."""
        from roco_search.probe.examples import from_labels, from_lists, from_marks

        if self.marks is not None:
            from roco_search.probe.feedback.sessions import SHELF

            yes, no = SHELF.read(opened, self.marks).ids(opened)
            return from_marks(opened, name, yes, no, case=self.case)
        if self.labels is not None:
            return from_labels(opened, self.labels, labels=tuple(self.label or ()), column=self.column, case=self.case)
        return from_lists(opened, name, self.positive or [], self.negative or [], case=self.case)


def refuse_taken(opened: Library, name: str) -> None:
    """Refuse a name that cannot be, or that a probe or a space has, before anything is measured."""
    from roco_search.probe.shelf import SHELF

    if SHELF.place(opened, name).exists():
        refuse(f"There is a probe or space {name!r} already; use --overwrite to replace it, or choose another name.")
