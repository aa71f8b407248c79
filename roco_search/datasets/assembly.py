"""Rows become pairs; a row that cannot become one is left out and counted with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from roco_search.datasets.licences import Licence, check_codes, parse_codes, parse_licence
from roco_search.datasets.pair import DataSet, LeftOut, Pair, PairSet, Row, SharedCaptions, fold_text, weigh_captions
from roco_search.errors import InputError, RocoError

MISSING = "the image is missing"
EMPTY = "the caption is empty"
NO_LICENCE = "no licence is stated"
OTHER_LICENCE = "under another licence than asked for"


@dataclass(frozen=True, slots=True)
class Split:
    """The pairs of one split, with the name of each pair's row, which does not depend on where the data set is."""

    pairs: list[Pair] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def as_pair_set(self, data: DataSet, split: str) -> PairSet:
        """Return it as the rest of roco takes it."""
        return PairSet(self.pairs, data.name, data.layout, split, self.left_out)


def check_choices(
    rows: Sequence[Row], data: DataSet, *, licences: Sequence[str] = (), caption_columns: Sequence[str] = ()
) -> None:
    """Refuse licences and caption columns that no row has. Raises `InputError`, which lists those there are."""
    check_codes(licences, rows, data.label)
    known = dict.fromkeys(name for row in rows for name in row.columns)
    for name in caption_columns:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"{data.label} has no column {name!r} to take captions from; {has}. Name one of these.")


def assemble(
    rows: Sequence[Row],
    *,
    licences: Sequence[str] = (),
    caption_columns: Sequence[str] = (),
    need_captions: bool = True,
) -> Split:
    """Make pairs of the rows of one split, in their order. The captions of one image are true of all its pairs.

    Parameters
    ----------
    rows
        The rows.
    licences
        Keep only rows under one of these.
    caption_columns
        Columns that are captions too. A row without a caption of its own takes the first of them as its own.
    need_captions
        Leave out rows without a caption; otherwise it is the empty text.
    """
    wanted = parse_codes(licences)
    split = Split()
    for row in rows:
        captions = _captions(row, caption_columns) or ({} if need_captions else {"": 1.0})
        if reason := _fault(row, captions, wanted):
            split.left_out.add(reason, row.name)
            continue
        assert row.picture is not None
        columns = row.columns
        if row.licence is not None and "licence" not in columns and "license" not in columns:
            columns = {**columns, "licence": row.licence}
        split.pairs.append(Pair(row.picture, next(iter(captions)), captions, columns, row.case, row.image))
        split.names.append(row.name)
    _share_captions(split.pairs)
    return split


def _share_captions(pairs: list[Pair]) -> None:
    """List the captions of the other rows of an image too, with the weight 0: they are true of it, not drawn for it."""
    places: dict[str, list[int]] = {}
    for place, pair in enumerate(pairs):
        places.setdefault(pair.image, []).append(place)
    for same in places.values():
        if len(same) > 1:
            every = dict.fromkeys((caption for place in same for caption in pairs[place].captions), 0.0)
            for place in same:
                own = pairs[place].captions
                if len(own) < len(every):
                    pairs[place] = replace(pairs[place], captions=SharedCaptions(own, every))


def refuse_empty(split: Split, data: DataSet, name: str, kind: type[RocoError]) -> None:
    """Refuse a split without a single pair. Raises `kind`, with the reasons."""
    if split.pairs:
        return
    counts = split.left_out.counts
    if not counts:
        raise kind(f"The split {name} of {data.label} is empty; copy or export it again.")
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in counts.most_common())
    example = split.left_out.examples[counts.most_common(1)[0][0]][0]
    raise kind(
        f"The split {name} of {data.label} ({data.layout}) has no pair of an image and a caption: {reasons}; the first "
        f"is {example}. Correct that, or choose other data."
    )


def _captions(row: Row, extra: Sequence[str]) -> dict[str, float]:
    """Return the captions of a row with their weights; empty where it has none."""
    captions = row.captions or [text for name in extra if (text := fold_text(row.columns.get(name)))]
    return weigh_captions(captions, row.columns, extra) if captions else {}


def _fault(row: Row, captions: dict[str, float], wanted: Sequence[Licence]) -> str:
    """Return why a row is no pair; empty if it is one."""
    if not captions:
        return row.fault or EMPTY
    if wanted:
        stated = parse_licence(row.licence)
        if stated is None:
            return NO_LICENCE
        if not any(licence.allows(stated) for licence in wanted):
            return OTHER_LICENCE
    return MISSING if row.picture is None else ""
