"""Which column of a table is the image, the caption, the case, the licence: data sets agree on few names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .captions import fold_text, read_captions

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
