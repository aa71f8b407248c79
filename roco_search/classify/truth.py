"""What images really show, from a table of annotations, and how well predictions agree with it.

The table is CSV, TSV, the JSON Lines of Hugging Face's ``imagefolder``, or whatever else `read_table` reads. It has a
column with the files, and their labels in one column or in a column of 0 and 1 for each label.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.classify.engine import Classifier, Prediction
from roco_search.classify.labels import Label, Mode, fold
from roco_search.datasets.files import with_slashes
from roco_search.datasets.tables import read_table
from roco_search.errors import InputError
from roco_search.statistics.classification import ZeroShot, evaluate_exclusive, evaluate_multi_label

PATH_COLUMNS = ("path", "file_name")
LABEL_COLUMNS = ("label", "labels")
_YES, _NO = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})
_UNKNOWN = frozenset({"", "-1", "-1.0", "nan", "none", "na", "n/a", "unknown"})
_NAMED = 6  # other truths, and missing files, named in a message
_MISSING = 0.1  # the share of a table's files that may be missing


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one line of the table says about one file."""

    line: int
    path: str
    cells: Mapping[str, Any]


@dataclass(slots=True)
class Matched:
    """The truth of some images.

    Attributes
    ----------
    values
        By real path, float ``(labels,)``: 1, 0, or NaN where the table does not say.
    other
        What else the table says of these images, and of how many: values that are none of the labels.
    left_out
        Images for which the table has none of the labels.
    missing
        Files that the table names and that are not among these images, or do not exist.
    """

    values: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    other: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Truth:
    """A table of truth for some labels.

    Parameters
    ----------
    path
        The table. It needs a column ``path`` or ``file_name``.
    labels
        The labels; their aliases count as they do.
    mode
        "exclusive": one label for each image. "multi-label": several values in a cell, between ``;`` or ``|`` or as
        a JSON list, or one column of 0 and 1 for each label.
    column
        Where the labels are; by default ``label`` or ``labels``.

    Raises
    ------
    InputError
        If the table cannot be read, or lacks its columns.
    """

    def __init__(self, path: Path, labels: Sequence[Label], mode: Mode, column: str | None = None) -> None:
        self.path, self._labels, self._mode = path, labels, mode
        self._index = {fold(name): i for i, label in enumerate(labels) for name in (label.name, *label.aliases)}
        self.rows, columns = _read(path)
        self._column, self._own_columns = self._find_columns(columns, column)

    def _find_columns(self, columns: list[str], wanted: str | None) -> tuple[str | None, list[str]]:
        has = f"it has {', '.join(columns)}"
        if wanted is not None:
            if wanted not in columns:
                raise InputError(f"The truth {self.path} has no column {wanted!r}; {has}. Name one as `column`.")
            return wanted, []
        for name in LABEL_COLUMNS:
            if name in columns:
                return name, []
        folded = {fold(name): name for name in columns}
        own = [
            next((folded[fold(name)] for name in (label.name, *label.aliases) if fold(name) in folded), None)
            for label in self._labels
        ]
        if self._mode == "multi-label" and any(own):
            if missing := [label.name for label, name in zip(self._labels, own, strict=True) if name is None]:
                raise InputError(
                    f"The truth {self.path} has no column for {', '.join(map(repr, missing))}; {has}. Add it, or leave "
                    "that label out."
                )
            return None, [name for name in own if name is not None]
        raise InputError(f"The truth {self.path} has no column 'label'; {has}. Name one of them as `column`.")

    def files(self) -> list[str]:
        """Return the files of the table as paths; those that do not exist are relative to the table."""
        return [next((path for path in self.places(row) if _exists(path)), self.places(row)[0]) for row in self.rows]

    def match(
        self,
        images: Iterable[str],
        folders: Sequence[Path] = (),
        *,
        ignore_other: bool = False,
        allow_missing: bool = False,
    ) -> Matched:
        """Find the truth of images.

        Parameters
        ----------
        images
            Real paths.
        folders
            To which the table's paths may be relative, besides its own folder and the current one.
        ignore_other
            Leave out images whose true label is not among the labels, instead of refusing them.
        allow_missing
            Measure on what is there although more than a tenth of the table's files are not.

        Raises
        ------
        InputError
            If the table covers none of the images, gives a value that is not among the labels, or more than a tenth
            of its files are missing.
        """
        wanted = set(images)
        found: dict[str, Annotation] = {}
        result = Matched()
        refused: Counter[str] = Counter()
        for row in self.rows:
            image = next((path for path in self.places(row, folders) if path in wanted), None)
            if image is None or not _exists(image):
                result.missing.append(row.path)
            if image is None:
                continue
            value, other = self._value(row)
            if image in found:
                self._check_repeated(row, found[image], value, result.values.get(image))
                continue
            found[image] = row
            result.other.update(other)
            if value is None:
                result.left_out.append(image)
                refused.update(other)
            else:
                result.values[image] = value
        self._check(found, result, refused, ignore_other)
        if not allow_missing and len(result.missing) > _MISSING * len(self.rows):
            raise InputError(
                f"{self.say_missing(result)}; correct the paths, name the folder with the images, or measure without "
                "them by `allow_missing`."
            )
        return result

    def say_missing(self, matched: Matched) -> str:
        """Return the beginning of a sentence that counts and names the files of the table that are missing."""
        count, rows = len(matched.missing), len(self.rows)
        named = ", ".join(matched.missing[:_NAMED]) + (", …" if count > _NAMED else "")
        match = "matches" if count == 1 else "match"
        return f"{count:,} of the {rows:,} rows of the truth {self.path} {match} no image ({named})"

    def _check_repeated(
        self,
        row: Annotation,
        first: Annotation,
        value: npt.NDArray[np.float64] | None,
        before: npt.NDArray[np.float64] | None,
    ) -> None:
        same = value is before if value is None or before is None else np.array_equal(value, before, equal_nan=True)
        if not same:
            raise InputError(
                f"{self.path}, line {row.line}: {row.path} was in line {first.line} already, with something else; "
                "remove one of them."
            )

    def _check(
        self, found: Mapping[str, Annotation], result: Matched, refused: Counter[str], ignore_other: bool
    ) -> None:
        if not found:
            raise InputError(
                f"The truth {self.path} says nothing of these images; its paths must be absolute, or relative to "
                "itself or to a given folder."
            )
        if refused and not ignore_other:
            raise InputError(
                f"The truth {self.path} has {named_counts(refused)}, none of which is among the labels; add them to "
                "the labels, or leave such images out with `ignore_other`."
            )
        if self._mode == "multi-label" and result.other and not any((v == 1).any() for v in result.values.values()):
            raise InputError(
                f"The truth {self.path} has {named_counts(result.other)}, none of which is among the labels; write the "
                "labels as it does, or choose another `column`."
            )
        if not result.values:
            raise InputError(
                f"The truth {self.path} has none of the labels for any of these images; check the labels and `column`."
            )

    def places(self, row: Annotation, folders: Sequence[Path] = ()) -> list[str]:
        """Return the real paths that a row may mean."""
        return possible_places(row.path, (self.path.parent, *folders, Path()))

    def _value(self, row: Annotation) -> tuple[npt.NDArray[np.float64] | None, list[str]]:
        """Return the truth of a row, or None where it has none of the labels, and what else it says."""
        if self._column is None:
            value = np.array([self._zero_or_one(row, name) for name in self._own_columns])
            return (None if np.isnan(value).all() else value), []
        said = split_cell(row.cells.get(self._column), self._index)
        known = {self._index[fold(text)] for text in said if fold(text) in self._index}
        other = [text for text in said if fold(text) not in self._index]
        if not said or (not known and self._mode == "exclusive"):
            return None, other
        if len(known) > 1 and self._mode == "exclusive":
            names = " and ".join(repr(self._labels[i].name) for i in sorted(known))
            raise InputError(
                f"{self.path}, line {row.line}: {names} both, but labels exclude each other here; use `multi_label`."
            )
        value = np.zeros(len(self._labels))
        value[list(known)] = 1
        return value, other

    def _zero_or_one(self, row: Annotation, column: str) -> float:
        if (value := zero_or_one(row.cells.get(column))) is not None:
            return value
        raise InputError(f"{self.path}, line {row.line}: column {column!r} is neither 0 nor 1 nor empty; write one.")


def _can_be_a_path(text: str) -> bool:
    """Whether a file can have this name at all: JSON can write NUL, and halves of characters."""
    with suppress(ValueError):
        return b"\0" not in os.fsencode(text)
    return False


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - the one of pathlib raises where a name is too long


def possible_places(text: str, bases: Sequence[Path]) -> list[str]:
    """Return the real paths that a path of a table may mean, relative to some folders unless it is absolute."""
    paths = [Path(path) for path in dict.fromkeys((text, with_slashes(text)))]
    if paths[0].is_absolute():
        return [os.path.realpath(paths[0])]
    return [os.path.realpath(base / path) for path in paths for base in bases]


def split_cell(cell: Any, whole: Container[str] = ()) -> list[str]:
    """Return the values of a cell: a list, or a text with ``;`` or ``|`` between them unless it is `whole` (folded)."""
    if isinstance(cell, list):
        texts = [str(entry) for entry in cell]
    else:
        text = "" if cell is None else str(cell)
        texts = [text] if fold(text) in whole else re.split(r"[;|]", text)
    return list(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))


def zero_or_one(cell: Any) -> float | None:
    """Return what a cell says of its column: 1, 0, NaN where it is not known, or None where it is no such cell."""
    text = str(cell if cell is not None else "").strip().lower()
    return 1.0 if text in _YES else 0.0 if text in _NO else float("nan") if text in _UNKNOWN else None


def named_counts(counts: Counter[str]) -> str:
    """Return "'glioma' (35), 'meningioma' (36) and 2 more"."""
    shown = ", ".join(f"{name!r} ({count:,})" for name, count in counts.most_common(_NAMED))
    return shown + (f" and {len(counts) - _NAMED:,} more" if len(counts) > _NAMED else "")


def _read(path: Path) -> tuple[list[Annotation], list[str]]:
    if not path.exists():
        raise InputError(f"There is no truth file {path}; check the path.")
    table = read_table(path)
    name = next((name for name in PATH_COLUMNS if name in table.columns), None)
    columns = [column for column in table.columns if column not in {name, ""}]
    if name is None:
        raise InputError(
            f"The truth {path} has no column 'path' or 'file_name'; it has {', '.join(columns)}. Rename the one with "
            "the files."
        )
    rows = []
    for line, cells in table.rows:
        file = str(cells.get(name) or "").strip()
        if not file or not _can_be_a_path(file):
            raise InputError(f"{path}, line {line}: no file in column {name!r}; name one or remove the line.")
        rows.append(Annotation(line, file, cells))
    return rows, columns


def measure(
    classifier: Classifier,
    predictions: Sequence[Prediction],
    matched: Matched,
    thresholds: Mapping[str, float] | None = None,
) -> ZeroShot:
    """Measure predictions whose files have a truth.

    Parameters
    ----------
    classifier
        The classifier that made the predictions.
    predictions
        Of one frame of each file; those of which the truth says nothing do not count.
    matched
        The truth.
    thresholds
        Multi-label: the probability from which on each label is given; 0.5 without.

    Raises
    ------
    InputError
        If nothing is left to measure.
    """
    names = [label.name for label in classifier.labels]
    rows, truths = [], []
    for prediction in predictions:
        if prediction.path in matched.values:
            found = {entry.label: entry.probability for entry in prediction.labels}
            rows.append([found[name] for name in names])
            truths.append(matched.values[prediction.path])
    probabilities = np.array(rows, np.float64).reshape(-1, len(names))
    truth = np.array(truths, np.float64).reshape(-1, len(names))
    if classifier.mode == "exclusive":
        return evaluate_exclusive(probabilities, truth.argmax(axis=1), names)
    limits = None if thresholds is None else [thresholds[name] for name in names]
    return evaluate_multi_label(probabilities, truth, names, thresholds=limits)
