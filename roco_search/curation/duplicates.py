"""What a library contains more than once: equal files, equal pixels in other files, and nearly equal pictures.

An embedding alone does not distinguish a copy from a look-alike. On 838 public images of different examinations, 3,302
pairs have a cosine similarity above 0.98 under `roco-mini`, and three of them are the same picture. So the embedding
only names the candidates, and the pictures themselves, rendered again, decide. Equal pixels embed equally, so that
nothing is missed by looking at candidates alone.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from roco_search.curation.pictures import Pictures, read_pictures
from roco_search.errors import InputError
from roco_search.library import Library, Selection, Skipped
from roco_search.library.directory import real_path
from roco_search.library.truth.frames import Columns
from roco_search.system.progress import Progress

THRESHOLD = 0.97
"""Cosine similarity from which two pictures are candidates.

Measured with `roco-mini` on 110 images: saved as JPEG of quality 90 or 75, brightened by a tenth or with another gamma,
all stay above; enlarged twofold 94 %, quality 50 75 %, halved 48 %. Lower finds more and renders more.
"""
AGREEMENT = 0.985
"""Correlation of the small pictures from which they are the same: the least of those changes leaves 0.9886.

Of the 838 images, 5,314 pairs are candidates and three agree so well: one picture under two names, and two pairs of
neighbouring slices.
"""
SAME = 0.999  # Equal pixels embed to 1 but for rounding, also in half precision.
SLACK = 1e-6  # Rounding of a float32 product of unit vectors.
ROWS_AT_ONCE = 256  # With as many columns as there are candidates: 100 MB of scores at 100,000.
COLUMNS_AT_ONCE = 16_384

Relation = Literal["first", "identical file", "same pixels", "near"]
_WEAKEST: list[Relation] = ["near", "same pixels", "identical file"]
Numbers = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Copy:
    """One image of a group.

    Attributes
    ----------
    path
        The file's real path.
    frame, frames
        Which frame of how many, from 0; None where files with several frames are equal as a whole.
    relation
        Its relation to the first image of the group, the one that was indexed first.
    score
        Cosine similarity to the first.
    agreement
        Correlation with the first as pictures (`Pictures.agreement`); None where that was not looked at.
    """

    path: str
    frame: int | None
    frames: int
    relation: Relation
    score: float
    agreement: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """Images that are the same; `kind` is the weakest relation among them. The first comes first, then by likeness."""

    kind: Relation
    images: list[Copy]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """All groups, equal files first, larger ones before smaller ones; and what could not be compared, with the reason.

    `images` and `candidates` are how many pictures were looked at, and how many of them were rendered to compare.
    """

    groups: list[Group]
    images: int
    candidates: int
    unreadable: list[Skipped]


def find_duplicates(
    library: Library,
    *,
    under: str | os.PathLike[str] | None = None,
    threshold: float = THRESHOLD,
    exact: bool = False,
    within_series: bool = False,
    compare_pictures: bool = True,
    progress: Progress | None = None,
) -> Duplicates:
    """Find images that the library holds more than once.

    Every image of a group is alike to its first, the one indexed first (a star, not a chain: in a chain each link can
    be near while the ends are strangers). Equal files are recognised by their content hash, as of the last `roco
    index`.

    Parameters
    ----------
    library
        The library to search.
    under
        Only among what is at or below this folder.
    threshold
        Cosine similarity from which two pictures are compared, above 0 and at most 1.
    exact
        Only equal files and equal pixels.
    within_series
        Also compare frames of one file and slices of one series, which are alike by nature. Without it, two files of
        a series are compared only if both claim to be the same slice (Instance Number).
    compare_pictures
        False to go by the embedding alone and open no file: fast, and mostly look-alikes.
    progress
        Follows the rendering.

    Raises
    ------
    InputError
        If the threshold is out of range, or the library holds nothing under the folder.
    LibraryEmpty, LibraryError
    """
    if not 0 < threshold <= 1:
        raise InputError("A cosine similarity is above 0 and at most 1, such as 0.97; choose another `threshold`.")
    if exact and not compare_pictures:
        raise InputError(
            "Equal pixels cannot be found without opening the files; leave out `exact`, or let the files be opened."
        )
    with library.snapshot():
        matrix = library.embeddings()
        columns = library.frames.columns(library.active())
        rows = np.arange(len(columns.ids))
        if under is not None:
            rows = np.flatnonzero(np.isin(columns.ids, library.frames.select(Selection(under=(real_path(under),)))))
    if not len(rows):
        raise InputError(f"The library has no image under {under}; `roco status` lists the folders that it knows.")
    copies = _equal_files(columns, rows)
    firsts = rows[np.isin(columns.file[rows], [files[0] for files in copies.values()])]
    least = max(threshold, SAME) if exact else threshold
    candidates = firsts[_has_partner(matrix, columns, firsts, least, within_series)]
    pictures = read_pictures(columns, candidates, progress) if compare_pictures else None
    stars = _stars(matrix[candidates], columns, candidates, least, within_series, pictures, exact)
    groups = _groups(columns, copies, stars)
    return Duplicates(groups, len(rows), len(candidates), [] if pictures is None else pictures.unreadable)


def _equal_files(columns: Columns, rows: Numbers) -> dict[int, list[int]]:
    """Return the files of each content, in the order in which they were indexed."""
    copies: dict[int, list[int]] = {}
    for file, content in sorted(set(zip(columns.file[rows].tolist(), columns.content[rows].tolist(), strict=True))):
        copies.setdefault(content, []).append(file)
    return copies


def _expected(columns: Columns, one: Numbers, other: Numbers, within_series: bool) -> npt.NDArray[np.bool_]:
    """Return, for pairs of rows, whether they are alike by nature: frames of a file, or other slices of a series."""
    if within_series:
        return np.zeros(len(one), bool)
    same_series = (columns.series[one] >= 0) & (columns.series[one] == columns.series[other])
    same_slice = (columns.instance[one] >= 0) & (columns.instance[one] == columns.instance[other])
    same_slice &= columns.number[one] == columns.number[other]
    expected: npt.NDArray[np.bool_] = (columns.file[one] == columns.file[other]) | (same_series & ~same_slice)
    return expected


def _has_partner(
    matrix: Vectors, columns: Columns, rows: Numbers, least: float, within_series: bool
) -> npt.NDArray[np.bool_]:
    """Return, for each row, whether any other is near enough, comparing all with all, one block at a time."""
    found = np.zeros(len(rows), bool)
    for start in range(0, len(rows), COLUMNS_AT_ONCE):
        block = matrix[rows[start : start + COLUMNS_AT_ONCE]]
        for top in range(0, min(start + len(block), len(rows)), ROWS_AT_ONCE):
            scores = matrix[rows[top : top + ROWS_AT_ONCE]] @ block.T
            one, other = np.nonzero(scores >= least - SLACK)
            one, other = one + top, other + start
            pairs = one < other
            one, other = one[pairs], other[pairs]
            kept = ~_expected(columns, rows[one], rows[other], within_series)
            found[one[kept]] = found[other[kept]] = True
    return found


@dataclass(frozen=True, slots=True)
class _Ray:
    """A picture and what it is to the first of its star."""

    row: int
    relation: Relation
    score: float
    agreement: float | None


def _stars(
    vectors: Vectors,
    columns: Columns,
    rows: Numbers,
    least: float,
    within_series: bool,
    pictures: Pictures | None,
    exact: bool,
) -> dict[int, list[_Ray]]:
    """Return for each first row the others that are the same picture: leader clustering (Hartigan 1975, chapter 3).

    Rows are taken in the order in which they were indexed; each joins the likest leader, or becomes one.
    """
    leads = np.zeros(len(rows), bool)
    stars: dict[int, list[_Ray]] = {}
    for start in range(0, len(rows), ROWS_AT_ONCE):
        end = min(start + ROWS_AT_ONCE, len(rows))
        scores = vectors[start:end] @ vectors[:end].T
        for place in range(start, end):
            if pictures is not None and pictures.digest[place] is None:
                continue
            near = np.flatnonzero(leads[:place] & (scores[place - start, :place] >= least - SLACK))
            near = near[~_expected(columns, rows[near], np.full(len(near), rows[place]), within_series)]
            if joined := _likest(vectors, place, near, pictures, exact):
                leader, ray = joined
                stars[int(rows[leader])].append(_Ray(int(rows[place]), *ray))
            else:
                leads[place] = True
                stars[int(rows[place])] = []
    return {leader: rays for leader, rays in stars.items() if rays}


def _likest(
    vectors: Vectors, place: int, near: Numbers, pictures: Pictures | None, exact: bool
) -> tuple[int, tuple[Relation, float, float | None]] | None:
    if not len(near):
        return None
    scores = (vectors[near].astype(np.float64) * vectors[place]).sum(axis=1).clip(-1, 1)
    if pictures is None:
        best = int(np.argmax(scores))
        return int(near[best]), ("near", float(scores[best]), None)
    equal = [number for number, other in enumerate(near.tolist()) if pictures.digest[other] == pictures.digest[place]]
    if equal:
        return int(near[equal[0]]), ("same pixels", float(scores[equal[0]]), 1.0)
    agreement = pictures.agreement(place, near)
    best = int(np.argmax(agreement))
    if exact or agreement[best] < AGREEMENT:
        return None
    return int(near[best]), ("near", float(scores[best]), float(agreement[best]))


def _groups(columns: Columns, copies: dict[int, list[int]], stars: dict[int, list[_Ray]]) -> list[Group]:
    """Put equal files and equal pictures together."""
    groups, told = [], set[int]()
    for leader, rays in stars.items():
        images = []
        for ray in [_Ray(leader, "first", 1.0, None), *rays]:
            content = int(columns.content[ray.row])
            told.add(content)
            number, count = int(columns.number[ray.row]), int(columns.count[ray.row])
            for place, file in enumerate(copies[content]):
                again = place and ray.relation == "first"
                relation = "identical file" if again else ray.relation
                agreement = 1.0 if again else ray.agreement
                images.append(Copy(columns.files[file].path, number, count, relation, ray.score, agreement))
        groups.append(_group(images))
    counts = dict(zip(columns.file.tolist(), columns.count.tolist(), strict=True))
    for content, files in copies.items():
        if len(files) > 1 and content not in told:
            frames = counts[files[0]]
            whole = 0 if frames == 1 else None
            first, *others = (columns.files[file].path for file in files)
            images = [Copy(first, whole, frames, "first", 1.0, None)]
            images += [Copy(path, whole, frames, "identical file", 1.0, 1.0) for path in others]
            groups.append(_group(images))
    return sorted(groups, key=lambda group: (-_WEAKEST.index(group.kind), -len(group.images), group.images[0].path))


def _group(images: Iterable[Copy]) -> Group:
    first, *others = images
    others.sort(key=lambda copy: (-_WEAKEST.index(copy.relation), -copy.score, copy.path))
    return Group(others[-1].relation, [first, *others])
