"""What does not look like the rest of its folder: a wrong upload, a report scanned as a picture, another body part.

The score of a picture is its distance to its nearest neighbours in the folder (Ramaswamy et al. 2000, section 3; here
the mean over `NEIGHBOURS`, as Angiulli and Pizzuti 2002), so that a folder may hold several kinds of pictures. The
folder itself defines what is far: by the median and the median absolute deviation of its scores.

More than `NEIGHBOURS` odd pictures that are alike hide each other: then they are a kind of their own.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.library import Library, Selection
from roco_search.library.directory import real_path
from roco_search.library.truth.frames import Columns

NEIGHBOURS = 5
SMALLEST = 12
"""Different files from which a folder can be judged by itself; a smaller one counts to the folder above it."""
LEAST_DEVIATION = 6.0
"""Measured on ten public collections with three pictures of others put into each: 88 % of these are found, and 0.7 % of
the collections' own are named too. 3.5 finds 89 % and names 1.8 %; 10 finds 80 % and names 0.2 %.
"""
LEAST_SPREAD = (
    0.02  # In a folder of equals any difference would be infinitely far; cosines differ by this much at random.
)
SAMPLED = 4096  # Pictures from which the median and deviation of a folder are taken.
ROWS_AT_ONCE = 128

Numbers = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Outlier:
    """A picture that is unlike the rest of its folder.

    Attributes
    ----------
    path, frame, frames
        The file's real path, and which frame of how many, from 0: of several, the one that is furthest off.
    folder
        What it was compared with: its folder, or, if that is small, the nearest one above that is not.
    score
        1 minus the mean cosine similarity to its nearest neighbours in the folder, 0 to 2.
    deviation
        How far the score is above the folder's median, in units of the folder's spread (1.4826 median absolute
        deviations).
    elsewhere
        The folder that it looks more like, by most of its nearest neighbours outside; None if there is none.
    elsewhere_score
        The score that it would have there.
    """

    path: str
    frame: int
    frames: int
    folder: str
    score: float
    deviation: float
    elsewhere: str | None
    elsewhere_score: float | None


@dataclass(frozen=True, slots=True)
class Outliers:
    """The outliers, the furthest off first; how many pictures were judged, and how many are among too few for that."""

    found: list[Outlier]
    judged: int
    unjudged: int


def find_outliers(
    library: Library,
    *,
    under: str | os.PathLike[str] | None = None,
    n: int | None = None,
    least_deviation: float = LEAST_DEVIATION,
) -> Outliers:
    """Find pictures that are unlike the rest of their folders.

    Parameters
    ----------
    library
        The library to search.
    under
        Judge only what is at or below this folder; it is compared as without this.
    n
        The greatest number of outliers to return; None for all.
    least_deviation
        The least deviation of an outlier.

    Raises
    ------
    InputError
        If `n` is below 1, or the library holds nothing under the folder.
    LibraryEmpty, LibraryError
    """
    if n is not None and n < 1:
        raise InputError("The number of outliers must be at least 1; choose another `n`.")
    with library.snapshot():
        matrix = library.embeddings()
        columns = library.frames.columns(library.active())
        wanted = np.ones(len(columns.ids), bool)
        if under is not None:
            wanted = np.isin(columns.ids, library.frames.select(Selection(under=(real_path(under),))))
    if not wanted.any():
        raise InputError(f"The library has no image under {under}; `roco status` lists the folders that it knows.")
    places = _comparison_folders(columns)
    place_of = np.array([-1 if place is None else place for place in places.of_file])[columns.file]
    worst: dict[int, tuple[float, float, int]] = {}
    for place in np.unique(place_of[wanted & (place_of >= 0)]).tolist():
        rows = np.flatnonzero(wanted & (place_of == place))
        around = np.flatnonzero(places.inside(columns, place))
        scores, deviations = _judge(matrix, columns.content, rows, around)
        for row, score, deviation in zip(rows.tolist(), scores.tolist(), deviations.tolist(), strict=True):
            file = int(columns.file[row])
            if deviation >= least_deviation:
                worst[file] = max(worst.get(file, (-np.inf, 0.0, row)), (deviation, score, row))
    ordered = sorted(worst.values(), key=lambda found: (-found[0], found[2]))[:n]
    found = [_explained(matrix, columns, places, place_of, *entry) for entry in ordered]
    judged = int((wanted & (place_of >= 0)).sum())
    return Outliers(found, judged, int(wanted.sum()) - judged)


@dataclass(frozen=True, slots=True)
class _Places:
    """The folders in which files are judged: `of_file` is an index into `names`, None for a file among too few."""

    names: list[str]
    of_file: list[int | None]

    def inside(self, columns: Columns, place: int) -> npt.NDArray[np.bool_]:
        """Return, for each row, whether it is in a folder or below it."""
        folder = self.names[place]
        below = [name == folder or name.startswith(folder.rstrip("/") + "/") for name in columns.folders]
        return np.array(below)[columns.file]


def _comparison_folders(columns: Columns) -> _Places:
    """Find for each file the nearest folder above it with enough files, no higher than the folder that was indexed."""
    contents = dict(zip(columns.file.tolist(), columns.content.tolist(), strict=True))
    inside: dict[str, set[int]] = {}
    for number, (folder, file) in enumerate(zip(columns.folders, columns.files, strict=True)):
        for above in _upwards(folder, file.root):
            inside.setdefault(above, set()).add(contents[number])
    names: dict[str, int] = {}
    of_file: list[int | None] = []
    for folder, file in zip(columns.folders, columns.files, strict=True):
        chosen = next((above for above in _upwards(folder, file.root) if len(inside[above]) >= SMALLEST), None)
        of_file.append(None if chosen is None else names.setdefault(chosen, len(names)))
    return _Places(list(names), of_file)


def _upwards(folder: str, root: str | None) -> Iterator[str]:
    """Yield a folder and those above it up to the root; the folder alone if it is not in the root."""
    yield folder
    while root is not None and folder.startswith(root.rstrip("/") + "/"):
        folder = os.path.dirname(folder)  # noqa: PTH120 - for every file there is
        yield folder


def _judge(matrix: Scores, content: Numbers, rows: Numbers, around: Numbers) -> tuple[Scores, Scores]:
    """Return the score and the deviation of each row, among `around`, of which the rows are part."""
    vectors = np.asarray(matrix[around])
    sample = around
    if len(around) > SAMPLED:
        sample = np.sort(np.random.default_rng(0).permutation(around)[:SAMPLED])
    usual = _distances(matrix, content, sample, around, vectors)
    scores = usual if np.array_equal(rows, sample) else _distances(matrix, content, rows, around, vectors)
    median = float(np.median(usual))
    # 1.4826 makes the median absolute deviation of a normal distribution its standard deviation.
    spread = max(1.4826 * float(np.median(np.abs(usual - median))), LEAST_SPREAD)
    return scores, (scores - median) / np.float32(spread)


def _distances(matrix: Scores, content: Numbers, rows: Numbers, around: Numbers, vectors: Scores) -> Scores:
    """Return 1 minus the mean similarity to the nearest of `around`, copies of the same file left out."""
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        similar = np.asarray(matrix[part]) @ vectors.T
        similar[content[part][:, None] == content[around]] = -np.inf
        nearest = np.partition(similar, len(around) - NEIGHBOURS, axis=1)[:, len(around) - NEIGHBOURS :]
        scores[start : start + len(part)] = 1 - nearest.mean(axis=1)
    return scores


def _explained(
    matrix: Scores, columns: Columns, places: _Places, place_of: Numbers, deviation: float, score: float, row: int
) -> Outlier:
    """Say where the picture would fit better, if there is such a place."""
    file, place = int(columns.file[row]), int(place_of[row])
    outside = np.flatnonzero(~places.inside(columns, place) & (columns.content != columns.content[row]))
    elsewhere, there = None, None
    if len(outside) >= NEIGHBOURS:
        similar = (matrix @ matrix[row])[outside]
        nearest = np.argpartition(similar, len(outside) - NEIGHBOURS)[len(outside) - NEIGHBOURS :]
        names = [_place_name(columns, places, int(row)) for row in outside[nearest]]
        [(name, votes)] = Counter(names).most_common(1)
        distance = 1 - float(similar[nearest].mean())
        if votes > NEIGHBOURS // 2 and distance < score:
            elsewhere, there = name, distance
    number, count = int(columns.number[row]), int(columns.count[row])
    folder = places.names[place]
    return Outlier(columns.files[file].path, number, count, folder, score, deviation, elsewhere, there)


def _place_name(columns: Columns, places: _Places, row: int) -> str:
    file = int(columns.file[row])
    place = places.of_file[file]
    return columns.folders[file] if place is None else places.names[place]
