"""What somebody says of pictures of a library: labels from a table, from folders, or from lists of files.

A label belongs to a file, and so to the stored frame that is nearest its middle, as `roco classify` takes it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.classify.labels import Label, fold
from roco_search.classify.truth import LABEL_COLUMNS, PATH_COLUMNS, Truth, possible_places, split_cell, zero_or_one
from roco_search.datasets.columns import CASES, find_column
from roco_search.datasets.files import read_text
from roco_search.datasets.splits import known_split
from roco_search.datasets.tables import read_table
from roco_search.errors import InputError
from roco_search.library import Library, Selection, StoredFrame
from roco_search.library.directory import real_path
from roco_search.probe.cases import number_cases

LEAST = 3  # Images that a label needs on each side, and
LEAST_CASES = 2  # cases, or nothing could be held out.
MOST_LABELS = 50
_NAMED = 12  # labels that a message lists

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled pictures of a library.

    Attributes
    ----------
    names
        The labels.
    ids
        Frame ids, int64 ``(n,)``, each once.
    truth
        float64 ``(n, labels)``: 1, 0, or NaN where nothing is said.
    cases
        int64 ``(n,)``: equal numbers mean one case, from 0.
    missing
        The number of rows whose file the library does not have.
    left_out
        Labels with too few images or cases on one side, with the reason.
    """

    names: tuple[str, ...]
    ids: Ids
    truth: Floats
    cases: Ids
    missing: int = 0
    left_out: tuple[str, ...] = ()

    @property
    def exclusive(self) -> bool:
        """Whether each picture has exactly one label of several."""
        return len(self.names) > 1 and bool((self.truth.sum(axis=1) == 1).all() and np.isfinite(self.truth).all())

    def of(self, column: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return the rows of which a label is known, and whether they have it."""
        known = np.flatnonzero(np.isfinite(self.truth[:, column]))
        return known, self.truth[known, column] == 1


def from_labels(
    library: Library,
    source: Path,
    *,
    labels: Sequence[str] = (),
    column: str | None = None,
    case: str | None = None,
) -> Examples:
    """Return the examples of a table, or of a folder whose folders are named after what is in them.

    Parameters
    ----------
    library
        The library that has the images.
    source
        A table that `read_table` reads, with a column ``path`` or ``file_name``, and labels in one column or in a
        column of 0 and 1 for each; a folder with such a ``metadata`` table; or a folder of class-named folders.
    labels
        Which labels to learn; none for all that have enough images.
    column
        The table's column of labels; ``label`` or ``labels`` by default.
    case
        What no fold divides: see `number_cases`. None for everything that is known, a column of the table included.

    Raises
    ------
    InputError
        If nothing can be learned from it; the message says why.
    """
    if source.is_dir():
        tables = (source / f"metadata.{suffix}" for suffix in ("jsonl", "csv", "parquet"))
        table = next((path for path in tables if path.exists()), None)
        if table is None:
            return _from_folders(library, source, labels, case)
        source = table
    if not source.exists():
        raise InputError(f"There is no file of labels {source}; check the path.")
    names, column = _names_in(source, list({fold(name): name for name in labels}.values()), column)
    truth = Truth(source, [Label(name) for name in names], "multi-label", column)
    folders = [Path(root) for root in library.roots()]
    known: dict[str, StoredFrame] = {}
    for row in truth.rows:
        for place in truth.places(row, folders):
            if place not in known and (frames := library.frames.of_file(place)):
                known[place] = _middle(frames)
                break
    if not known:
        raise InputError(
            f"The library has none of the images that {source} names; index their folder with `roco index`, or correct "
            "the paths: they are relative to the table, or absolute."
        )
    matched = truth.match(known, folders, ignore_other=True, allow_missing=True)
    stated = _stated_cases(truth, matched.values, folders, case)
    missing = sum(not any(place in known for place in truth.places(row, folders)) for row in truth.rows)
    said = [(known[path], value) for path, value in matched.values.items()]
    return _checked(library, names, said, stated, case, missing, named=bool(labels))


def from_lists(
    library: Library, name: str, positive: Sequence[Path], negative: Sequence[Path], *, case: str | None = None
) -> Examples:
    """Return the examples of lists of files: texts with one path on each line, or images themselves.

    Raises
    ------
    InputError
        As `from_labels`; also if a file is on both sides.
    """
    said: dict[str, tuple[StoredFrame, Floats]] = {}
    missing = 0
    for files, value in ((positive, 1.0), (negative, 0.0)):
        for text, base in _listed(library, files):
            places = possible_places(text, (base, *map(Path, library.roots()), Path()))
            found = next((frames for place in places if (frames := library.frames.of_file(place))), None)
            if found is None:
                missing += 1
                continue
            frame = _middle(found)
            if frame.path in said and said[frame.path][1][0] != value:
                raise InputError(f"{frame.path} is among the positive and the negative images; remove one of them.")
            said[frame.path] = (frame, np.array([value]))
    return _checked(library, [name], list(said.values()), {}, case, missing, named=True)


def from_marks(
    library: Library, name: str, yes: Iterable[int], no: Iterable[int], *, case: str | None = None
) -> Examples:
    """Return the examples of marked frames, by id."""
    marks = {**dict.fromkeys(no, 0.0), **dict.fromkeys(yes, 1.0)}
    frames = library.frames.get(marks)
    said = [(frame, np.array([marks[frame.id]])) for frame in frames.values()]
    return _checked(library, [name], said, {}, case, len(marks) - len(frames), named=True)


def _from_folders(library: Library, folder: Path, labels: Sequence[str], case: str | None) -> Examples:
    root = real_path(folder)
    ids = library.embedded(library.frames.select(Selection(under=(root,))))
    if not len(ids):
        raise InputError(f"The library has no image under {folder}; index it with `roco index {folder}`.")
    files: dict[str, list[StoredFrame]] = {}
    for frame in library.frames.get(ids.tolist()).values():
        files.setdefault(frame.path, []).append(frame)
    of_file = {path: name for path in files if (name := _class_of(path, root))}
    wanted = {fold(name): name for name in labels}
    names = list(labels) or sorted(set(of_file.values()))
    if len(set(of_file.values())) < 2:
        raise InputError(
            f"{folder} has neither a metadata table nor two folders named after what is in them; name a table of "
            "labels."
        )
    said = []
    for path, name in of_file.items():
        value = np.zeros(len(names))
        shown = wanted.get(fold(name), name)
        if shown in names:
            value[names.index(shown)] = 1
        said.append((_middle(files[path]), value))
    return _checked(library, names, said, {}, case, 0, named=bool(labels))


def _class_of(path: str, root: str) -> str | None:
    """Return the outermost folder of a file below a root that is no split, in words."""
    parts = Path(os.path.relpath(path, root)).parts[:-1]
    name = next((part for part in parts if not known_split(part)), None)
    return None if name is None else " ".join(name.replace("_", " ").split())


def _names_in(source: Path, labels: Sequence[str], column: str | None) -> tuple[list[str], str | None]:
    """Return the labels of a table, and its column of labels; None where each label has a column of its own."""
    table = read_table(source)
    if column is not None and column not in table.columns:
        raise InputError(f"{source} has no column {column!r}; it has {', '.join(table.columns)}.")
    column = column or next((name for name in LABEL_COLUMNS if name in table.columns), None)
    if labels and column is None:
        _refuse_unknown(source, labels, table.columns)
        return list(labels), None
    if column is not None:
        counts = Counter(value for _, cells in table.rows for value in split_cell(cells.get(column)))
        if labels:
            _refuse_unknown(source, labels, [name for name, _ in counts.most_common()])
            return list(labels), column
        folded: dict[str, str] = {}
        for name, _ in counts.most_common():
            folded.setdefault(fold(name), name)
        return list(folded.values()), column
    cells_of = {name: [cells.get(name) for _, cells in table.rows] for name in table.columns if name}
    named = [name for name, cells in cells_of.items() if name not in PATH_COLUMNS and _is_zero_or_one(cells)]
    if not named:
        raise InputError(
            f"{source} has no column 'label' or 'labels' and no columns of 0 and 1; it has "
            f"{', '.join(table.columns)}. Name the one with the labels as `column`."
        )
    return named, None


def _refuse_unknown(source: Path, labels: Sequence[str], known: Sequence[str]) -> None:
    folded = {fold(name) for name in known}
    if unknown := next((name for name in labels if fold(name) not in folded), None):
        shown = ", ".join(known[:_NAMED]) + (f" and {len(known) - _NAMED:,} more" if len(known) > _NAMED else "")
        raise InputError(f"{source} has no label {unknown!r}; it has {shown or 'none'}. Name one of these as `labels`.")


def _is_zero_or_one(cells: Sequence[Any]) -> bool:
    values = [zero_or_one(cell) for cell in cells]
    return None not in values and {1.0, 0.0} <= set(values)


def _stated_cases(
    truth: Truth, matched: Mapping[str, Floats], folders: Sequence[Path], case: str | None
) -> dict[str, str]:
    """Return the case of each file by a column of the table, where it has one."""
    columns = list(dict.fromkeys(name for row in truth.rows for name in row.cells))
    if case in {"series", "study", "folder", "file"}:
        return {}
    column = case or find_column(columns, CASES)
    if column is None:
        return {}
    if column not in columns:
        raise InputError(
            f"{truth.path} has no column {column!r}; give `case` one of {', '.join(columns)}, or series, study, "
            "folder or file."
        )
    found: dict[str, str] = {}
    for row in truth.rows:
        value = row.cells.get(column)
        place = next((place for place in truth.places(row, folders) if place in matched), None)
        if place is not None and value not in (None, ""):
            found[place] = str(value)
    return found


def _listed(library: Library, files: Sequence[Path]) -> Iterable[tuple[str, Path]]:
    for file in files:
        if library.frames.of_file(real_path(file)):
            yield str(file), Path()
            continue
        if not file.is_file():
            raise InputError(
                f"There is no file {file}; name an image of the library, or a list with a path on each line."
            )
        for line in read_text(file).splitlines():
            if line.strip():
                yield line.strip(), file.parent


def _middle(frames: Sequence[StoredFrame]) -> StoredFrame:
    return min(frames, key=lambda frame: abs(frame.frame - frame.frames // 2))


def _checked(
    library: Library,
    names: Sequence[str],
    said: Sequence[tuple[StoredFrame, Floats]],
    stated: Mapping[str, str],
    case: str | None,
    missing: int,
    *,
    named: bool,
) -> Examples:
    """Return examples with a vector, and the labels that can be learned from them."""
    by_id = {frame.id: (frame, value) for frame, value in said}
    ids = library.embedded(np.array(sorted(by_id), np.int64)) if by_id else np.empty(0, np.int64)
    if not len(ids):
        raise InputError("The library has a vector of none of these images; index them with `roco index`.")
    frames = [by_id[int(frame_id)][0] for frame_id in ids]
    truth = np.stack([by_id[int(frame_id)][1] for frame_id in ids])
    cases = number_cases(library, frames, stated, case)
    kept, left_out = [], []
    for column, name in enumerate(names):
        known = np.isfinite(truth[:, column])
        sides = {"with": known & (truth[:, column] == 1), "without": known & (truth[:, column] == 0)}
        short = next((s for s, rows in sides.items() if rows.sum() < LEAST), None)
        few = next((s for s, rows in sides.items() if len(np.unique(cases[rows])) < LEAST_CASES), None)
        if short is not None:
            left_out.append(f"{name!r}: {sides[short].sum()} of {LEAST} images {short} it")
        elif few is not None:
            left_out.append(f"{name!r}: all images {few} it are of one case, so nothing can be held out")
        else:
            kept.append(column)
    if not kept or (named and left_out):
        listed = "; ".join(left_out[:5])
        raise InputError(f"Too little is known to learn from ({listed}); label more images, of several cases.")
    if len(kept) > MOST_LABELS:
        raise InputError(f"There are {len(kept)} labels with enough images; name at most {MOST_LABELS} as `labels`.")
    return Examples(tuple(names[c] for c in kept), ids, truth[:, kept], cases, missing, tuple(left_out))
