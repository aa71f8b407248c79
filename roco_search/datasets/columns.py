"""Which column of a table is the image, the caption, the case, the licence: data sets agree on few names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roco_search.datasets.pair import Row, fold_text, read_captions
from roco_search.errors import InputError

IMAGES = ("file_name", "path", "filepath", "file_path", "image_path", "image_file_name", "filename", "image", "img")
CAPTIONS = ("text", "caption", "captions", "title", "description", "report")
CASES = (
    *("case", "case_id", "group", "group_id", "patient", "patient_id", "subject", "subject_id"),
    *("study", "study_id", "pmc_id", "pmcid", "article"),
)
LICENCES = ("licence", "license", "licence_code", "license_code", "cc", "attribution", "rights")
SPLITS = ("split", "subset", "partition")


def fold_name(name: str) -> str:
    """Return the form in which names of columns are compared: case, spaces and hyphens do not matter."""
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def pick(columns: Iterable[str], names: Sequence[str]) -> str | None:
    """Return the column whose name comes first among `names`, or None."""
    known: dict[str, str] = {}
    for column in columns:
        known.setdefault(fold_name(column), column)
    return next((known[name] for name in names if name in known), None)


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns of a table that are more than a column; None where the table has none for it."""

    image: str | None
    caption: str | None
    case: str | None
    licence: str | None
    split: str | None

    @classmethod
    def of(cls, columns: Iterable[str], image: str | None = None) -> Roles:
        """Find them by the names of the columns. A caption is found even if it has the name of something else."""
        columns = list(columns)
        image = image or pick(columns, IMAGES)
        return cls(image, *(pick(columns, names) for names in (CAPTIONS, CASES, LICENCES, SPLITS)))

    @property
    def fault(self) -> str:
        """Why rows have no caption; empty where there is a column for it."""
        return "" if self.caption else f"no column of captions, such as {CAPTIONS[0]!r} or {CAPTIONS[1]!r}"

    def captions(self, cells: dict[str, Any]) -> list[str]:
        """Return a row's captions, its own first; a list named ``captions`` adds to a caption of another name."""
        found = read_captions(cells.get(self.caption)) if self.caption else []
        if self.caption is not None and isinstance(more := cells.get("captions"), list | tuple):
            found += read_captions(more)
        return list(dict.fromkeys(found))

    def others(self, cells: dict[str, Any]) -> dict[str, Any]:
        """Return a row without its image and its own caption."""
        return {name: value for name, value in cells.items() if name not in (self.image, self.caption)}

    def case_of(self, cells: dict[str, Any]) -> str | None:
        """Return a row's case."""
        return (fold_text(cells.get(self.case)) or None) if self.case else None

    def licence_of(self, cells: dict[str, Any]) -> str | None:
        """Return a row's licence as it is stated."""
        return (fold_text(cells.get(self.licence)) or None) if self.licence else None


Conditions = Mapping[str, Sequence[str]]
_NAMED = 12  # values that a message lists


def parse_conditions(where: Mapping[str, str] | Sequence[str]) -> dict[str, list[str]]:
    """Read conditions: the values of each column, of which one must hold; every column must.

    Raises
    ------
    InputError
        If one of them is not of the form ``column=value``.
    """
    given = [(name, value) for name, value in where.items()] if isinstance(where, Mapping) else map(_split, where)
    found: dict[str, list[str]] = {}
    for name, value in given:
        found.setdefault(name, []).append(value)
    return found


def _split(condition: str) -> tuple[str, str]:
    name, separator, value = condition.partition("=")
    if not separator or not name.strip():
        raise InputError(f"{condition!r} is no condition; write it as COLUMN=VALUE, such as source=medpix2.")
    return name.strip(), value.strip()


def choose(rows: Sequence[Row], conditions: Conditions, place: str) -> list[Row]:
    """Return the rows that meet every condition, in their order.

    Raises
    ------
    InputError
        If the data set has no such column, no row has such a value, or none meets all conditions together.
    """
    if not conditions:
        return list(rows)
    names = {name: _column(name, rows, place) for name in conditions}
    for name, values in conditions.items():
        for value in values:
            if not any(_is(row.columns.get(names[name]), value) for row in rows):
                raise InputError(f"No row of {place} has {name}={value}; {_values(names[name], rows)}.")
    found = [
        row
        for row in rows
        if all(any(_is(row.columns.get(names[name]), value) for value in values) for name, values in conditions.items())
    ]
    if not found:
        told = " and ".join(f"{name}={' or '.join(values)}" for name, values in conditions.items())
        raise InputError(f"No row of {place} has {told} together; leave one of the conditions out.")
    return found


def _column(name: str, rows: Sequence[Row], place: str) -> str:
    known = dict.fromkeys(column for row in rows for column in row.columns)
    if name in known:
        return name
    if found := next((column for column in known if fold_name(column) == fold_name(name)), None):
        return found
    has = f"it has {', '.join(known)}" if known else "it has none"
    raise InputError(f"There is no column {name!r} in {place}; {has}. Name one of these.")


def _is(value: Any, asked: str) -> bool:
    """Whether a cell is, or a list in it has, the value asked for; case and white space do not matter."""
    if isinstance(value, list | tuple):
        return any(_is(entry, asked) for entry in value)
    if isinstance(value, float) and value.is_integer() and asked == str(int(value)):
        return True
    return fold_text(value).casefold() == fold_text(asked).casefold()


def _values(column: str, rows: Sequence[Row]) -> str:
    counts: Counter[str] = Counter()
    for row in rows:
        value = row.columns.get(column)
        counts.update(filter(None, map(fold_text, value if isinstance(value, list | tuple) else [value])))
    if fold_name(column) in CASES:  # may be the number of a patient
        return f"the column has {len(counts):,} others; check the value"
    if not counts:
        return "the column is empty; leave the condition out"
    told = ", ".join(f"{value} ({count:,})" for value, count in counts.most_common(_NAMED))
    more = f" and {len(counts) - _NAMED:,} more" if len(counts) > _NAMED else ""
    return f"name one of {told}{more}"
