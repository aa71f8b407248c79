"""The columns of a data set: which of them is the image, the caption, the case, the licence, and conditions on them.

Data sets agree on few names, so each role has a list of names in the order in which they are preferred.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roco_search.datasets.pair import Row, fold_text, read_captions
from roco_search.errors import InputError

IMAGES = (
    *("file_name", "path", "filepath", "file_path", "image_path", "image_file_name", "filename", "image", "img"),
    *("image_name", "image_file", "img_path", "img_name", "file", "image_id"),
)
CAPTIONS = ("text", "caption", "captions", "title", "description", "report", "comment", "sentence")
CASES = (
    *("case", "case_id", "group", "group_id", "patient", "patient_id", "subject", "subject_id"),
    *("study", "study_id", "pmc_id", "pmcid", "article"),
)
LICENCES = ("licence", "license", "licence_code", "license_code", "cc", "attribution", "rights")
SPLITS = ("split", "subset", "partition")

Conditions = Mapping[str, Sequence[str]]
_LISTED = 12  # values that a message lists


def fold_name(name: str) -> str:
    """Return the form in which names of columns are compared: case, spaces and hyphens do not matter."""
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def find_column(columns: Iterable[str], names: Sequence[str]) -> str | None:
    """Return the column whose name comes first in `names`, or None."""
    known: dict[str, str] = {}
    for column in columns:
        known.setdefault(fold_name(column), column)
    return next((known[name] for name in names if name in known), None)


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a table that have a role; None where the table has no column for it."""

    image: str | None
    caption: str | None
    case: str | None
    licence: str | None
    split: str | None

    @classmethod
    def of(cls, columns: Iterable[str], image: str | None = None) -> Schema:
        """Find them by the names of the columns; `image` is the image's where it is known already."""
        columns = list(columns)
        image = image or find_column(columns, IMAGES)
        return cls(image, *(find_column(columns, names) for names in (CAPTIONS, CASES, LICENCES, SPLITS)))

    @property
    def fault(self) -> str:
        """Why rows have no caption; empty where a column has them."""
        return "" if self.caption else f"no column of captions, such as {CAPTIONS[0]!r} or {CAPTIONS[1]!r}"

    def captions(self, cells: Mapping[str, Any]) -> list[str]:
        """Return a row's captions, its own first; a list in the column ``captions`` adds to one of another column."""
        found = read_captions(cells.get(self.caption)) if self.caption else []
        if self.caption is not None and isinstance(more := cells.get("captions"), list | tuple):
            found += read_captions(more)
        return list(dict.fromkeys(found))

    def others(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row's cells without its image and its own caption."""
        return {name: value for name, value in cells.items() if name not in (self.image, self.caption)}

    def case_of(self, cells: Mapping[str, Any]) -> str | None:
        """Return a row's case."""
        return (fold_text(cells.get(self.case)) or None) if self.case else None

    def licence_of(self, cells: Mapping[str, Any]) -> str | None:
        """Return a row's licence as it is stated."""
        return (fold_text(cells.get(self.licence)) or None) if self.licence else None


def parse_conditions(where: Mapping[str, str] | Sequence[str]) -> dict[str, list[str]]:
    """Return the values that are asked of each column; one of them must hold, in every column.

    Raises
    ------
    InputError
        If one of them is not of the form ``column=value``.
    """
    given = [(name, value) for name, value in where.items()] if isinstance(where, Mapping) else map(_parse, where)
    found: dict[str, list[str]] = {}
    for name, value in given:
        found.setdefault(name, []).append(value)
    return found


def select_rows(rows: Sequence[Row], conditions: Conditions, label: str) -> list[Row]:
    """Return the rows that meet every condition, in their order.

    Parameters
    ----------
    rows, conditions
        The rows, and what `parse_conditions` returned.
    label
        How a message refers to the rows.

    Raises
    ------
    InputError
        If there is no such column, no row has such a value, or none meets all conditions together.
    """
    if not conditions:
        return list(rows)
    columns = {name: _column(name, rows, label) for name in conditions}
    for name, values in conditions.items():
        for value in values:
            if not any(_matches(row.columns.get(columns[name]), value) for row in rows):
                raise InputError(f"No row of {label} has {name}={value}; {_values(columns[name], rows)}.")
    found = [row for row in rows if _meets(row, conditions, columns)]
    if not found:
        together = " and ".join(f"{name}={' or '.join(values)}" for name, values in conditions.items())
        raise InputError(f"No row of {label} has {together} together; leave one of the conditions out.")
    return found


def _parse(condition: str) -> tuple[str, str]:
    name, separator, value = condition.partition("=")
    if not separator or not name.strip():
        raise InputError(f"{condition!r} is no condition; write it as COLUMN=VALUE, such as source=medpix2.")
    return name.strip(), value.strip()


def _meets(row: Row, conditions: Conditions, columns: Mapping[str, str]) -> bool:
    return all(
        any(_matches(row.columns.get(columns[name]), value) for value in values) for name, values in conditions.items()
    )


def _column(name: str, rows: Sequence[Row], label: str) -> str:
    known = dict.fromkeys(column for row in rows for column in row.columns)
    if name in known:
        return name
    if found := next((column for column in known if fold_name(column) == fold_name(name)), None):
        return found
    has = f"it has {', '.join(known)}" if known else "it has none"
    raise InputError(f"There is no column {name!r} in {label}; {has}. Name one of these.")


def _matches(value: Any, wanted: str) -> bool:
    """Whether a cell, or an entry of the list in it, is the value; case and white space do not matter."""
    if isinstance(value, list | tuple):
        return any(_matches(entry, wanted) for entry in value)
    if isinstance(value, float) and value.is_integer() and wanted == str(int(value)):
        return True
    return fold_text(value).casefold() == fold_text(wanted).casefold()


def _values(column: str, rows: Sequence[Row]) -> str:
    """Return what a message says of a column that does not have the value asked for."""
    counts: Counter[str] = Counter()
    for row in rows:
        value = row.columns.get(column)
        counts.update(filter(None, map(fold_text, value if isinstance(value, list | tuple) else [value])))
    if fold_name(column) in CASES:  # a value may be the number of a patient
        return f"the column has {len(counts):,} others; check the value"
    if not counts:
        return "the column is empty; leave the condition out"
    listed = ", ".join(f"{value} ({count:,})" for value, count in counts.most_common(_LISTED))
    more = f" and {len(counts) - _LISTED:,} more" if len(counts) > _LISTED else ""
    return f"name one of {listed}{more}"
