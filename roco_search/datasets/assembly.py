"""Rows become pairs: what was asked for is chosen, and what cannot be a pair is left out and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from roco_search.datasets.licences import Licence, check_asked, parse_asked, parse_licence
from roco_search.datasets.pair import DataSet, LeftOut, Pair, PairSet, Row, fold_text, weigh
from roco_search.errors import InputError, RocoError

MISSING = "the image is missing"
EMPTY = "the caption is empty"
NO_LICENCE = "no licence is stated"
OTHER_LICENCE = "under another licence than asked for"


@dataclass(frozen=True, slots=True)
class Split:
    """Pairs of one split, and beside each the name of its row, which does not depend on where the data set lies."""

    pairs: list[Pair] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def as_pair_set(self, data: DataSet, split: str) -> PairSet:
        """Return it as the rest of roco takes it."""
        return PairSet(self.pairs, data.name, data.layout, split, self.left_out)


def check_choices(
    rows: Sequence[Row], data: DataSet, *, licences: Sequence[str] = (), caption_columns: Sequence[str] = ()
) -> None:
    """Refuse licences and columns of captions that none of the rows has. Raises `InputError`, which names what is."""
    check_asked(licences, rows, data.place)
    known = dict.fromkeys(name for row in rows for name in row.columns)
    for name in caption_columns:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"{data.place} has no column {name!r} to take captions from; {has}. Name one of these.")


def assemble(rows: Sequence[Row], *, licences: Sequence[str] = (), caption_columns: Sequence[str] = ()) -> Split:
    """Make pairs of rows, in their order.

    Parameters
    ----------
    rows
        Of one split.
    licences
        Keep only rows under one of these.
    caption_columns
        Columns that are captions too; of a row without a caption of its own, the first of them is its own.
    """
    asked = parse_asked(licences)
    split = Split()
    for row in rows:
        captions = weigh_row(row, caption_columns)
        reason = _fault(row, captions, asked)
        if reason:
            split.left_out.add(reason, row.name)
            continue
        assert row.picture is not None
        columns = row.columns
        if row.licence is not None and "licence" not in columns and "license" not in columns:
            columns = {**columns, "licence": row.licence}
        split.pairs.append(Pair(row.picture, next(iter(captions)), captions, columns, row.case))
        split.names.append(row.name)
    return split


def weigh_row(row: Row, extra: Sequence[str]) -> dict[str, float]:
    """Return the captions of a row with their weights; empty where it has none."""
    captions = row.captions or [text for name in extra if (text := fold_text(row.columns.get(name)))]
    return weigh(captions, row.columns, extra) if captions else {}


def _fault(row: Row, captions: dict[str, float], asked: Sequence[Licence]) -> str:
    if not captions:
        return row.fault or EMPTY
    if asked:
        stated = parse_licence(row.licence)
        if stated is None:
            return NO_LICENCE
        if not any(licence.allows(stated) for licence in asked):
            return OTHER_LICENCE
    return MISSING if row.picture is None else ""


def refuse_empty(split: Split, data: DataSet, name: str, kind: type[RocoError]) -> None:
    """Refuse a split of which nothing is left. Raises `kind`, with the reasons."""
    if split.pairs:
        return
    counts = split.left_out.counts
    if not counts:
        raise kind(f"The split {name} of {data.place} is empty; copy or export it again.")
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in counts.most_common())
    example = split.left_out.examples[counts.most_common(1)[0][0]][0]
    raise kind(
        f"The split {name} of {data.place} ({data.layout}) has no pair of an image and a caption: {reasons}; the first "
        f"is {example}. Put that right, or choose other data."
    )
