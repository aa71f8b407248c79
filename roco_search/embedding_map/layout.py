"""The map of a library: its stored vectors laid out in the plane, and what gives each point its colour."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from roco_search.classify.guesses import ATTRIBUTES, Guesses
from roco_search.embedding_map.projection import Method, Projection, project
from roco_search.embedding_map.regions import Region, name_regions
from roco_search.errors import InputError
from roco_search.library import Library, StoredFrame
from roco_search.system.progress import Progress
from roco_search.vocabulary.concepts import spoken_term

MOST_POINTS = 20_000
"""Points of a map; a larger library is sampled at random, because more points overlap into a solid area."""

Color = Literal["modality", "body_part", "folder"]
MOST_GROUPS = 7  # named groups: one colour of the palette is left for all others
OTHERS, NOT_STATED = "others", "not stated"


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The groups that share a colour.

    Attributes
    ----------
    of
        Index into `names` for each point, int64 ``(n,)``.
    names
        The largest group first; `OTHERS` and `NOT_STATED` last, if they occur.
    counts
        The number of points in each.
    """

    of: npt.NDArray[np.int64]
    names: list[str]
    counts: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingMap:
    """The pictures of a library in the plane.

    Attributes
    ----------
    ids
        Frame ids, int64 ``(n,)``, ascending.
    frames
        What is stored of each.
    projection
        The point of each.
    total
        The number of pictures in the library, from which these were drawn.
    values
        Modality, body part and folder of each, None where they are not known.
    guessed
        Whether the model supplied modality and body part where a header says nothing.
    """

    ids: npt.NDArray[np.int64]
    frames: list[StoredFrame]
    projection: Projection
    total: int
    values: dict[Color, list[str | None]]
    guessed: bool

    def groups(self, color: Color) -> Groups:
        """Return the groups of points that share a colour; modalities and body parts are named as people say them.

        Raises
        ------
        InputError
            If the colour stands for none of "modality", "body_part" and "folder".
        """
        if color not in get_args(Color):
            raise InputError(f"A map is coloured by {', '.join(get_args(Color))}, not by {color!r}.")
        values = self.values[color]
        return group(values if color == "folder" else [value and spoken_term(color, value) for value in values])

    def regions(self) -> list[Region]:
        """Return the parts of the map that have a name."""
        return name_regions(self.projection.points, self.values["modality"], self.values["body_part"])


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What a map is made from: n of a library's `total` pictures, ascending by id, and their vectors ``(n, dim)``."""

    ids: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]
    frames: list[StoredFrame]
    total: int


def read_pictures(library: Library, most: int = MOST_POINTS) -> Pictures:
    """Read what is stored of a library's pictures; if there are more than `most`, draw that many at random.

    Raises
    ------
    LibraryEmpty, LibraryError
    """
    with library.snapshot():
        known = library.embedded()
        total = len(known)
        ids = np.array(known[np.sort(np.random.default_rng(0).permutation(total)[:most])])
        vectors = library.embeddings(ids)
        stored = library.frames.get(ids.tolist())
    return Pictures(ids, vectors, [stored[frame_id] for frame_id in ids.tolist()], total)


def lay_out(
    pictures: Pictures,
    method: Method | None = None,
    guesses: Guesses | None = None,
    progress: Progress | None = None,
) -> EmbeddingMap:
    """Lay out pictures that were read; for the parameters see `make_map`."""
    return EmbeddingMap(
        pictures.ids,
        pictures.frames,
        project(pictures.vectors, method, progress=progress),
        pictures.total,
        _values(pictures.frames, pictures.vectors, guesses),
        guesses is not None,
    )


def make_map(
    library: Library,
    method: Method | None = None,
    *,
    guesses: Guesses | None = None,
    most: int = MOST_POINTS,
    progress: Progress | None = None,
) -> EmbeddingMap:
    """Lay out the pictures of a library; no image file is read.

    Parameters
    ----------
    library
        The library whose stored vectors are laid out.
    method
        "umap" or "pca"; by default UMAP where it is installed.
    guesses
        Supplies modality and body part where a header does not state them; None leaves them unknown.
    most
        The largest number of points; more pictures than that are sampled at random.
    progress
        See `roco_search.embedding_map.projection.project`.

    Raises
    ------
    InputError
        If the method is not installed.
    LibraryEmpty, LibraryError
    """
    return lay_out(read_pictures(library, most), method, guesses, progress)


def _values(
    frames: Sequence[StoredFrame], vectors: npt.NDArray[np.float32], guesses: Guesses | None
) -> dict[Color, list[str | None]]:
    folders = [os.path.dirname(frame.path) for frame in frames]  # noqa: PTH120 - of names that need not be UTF-8
    short = folder_names(folders)
    values: dict[Color, list[str | None]] = {"folder": [short[folder] for folder in folders]}
    for attribute in ATTRIBUTES:
        said = [getattr(frame, attribute) for frame in frames]
        if guesses is not None:
            said = [value or guess for value, guess in zip(said, guesses.guess(attribute, vectors), strict=True)]
        values[attribute] = said
    return values


def group(values: Sequence[str | None]) -> Groups:
    """Number the most frequent values; gather the rest."""
    tally = Counter(value for value in values if value is not None)
    # Equal counts are ordered by name, so that colours do not depend on the order of the files.
    ranked = sorted(tally, key=lambda value: (-tally[value], value))
    kept = ranked if len(ranked) <= MOST_GROUPS + 1 else ranked[:MOST_GROUPS]
    numbers = {value: number for number, value in enumerate(kept)}
    names = [*kept, *([OTHERS] if len(ranked) > len(kept) else []), *([NOT_STATED] if None in values else [])]
    of = np.array(
        [len(names) - 1 if value is None else numbers.get(value, len(kept)) for value in values], np.int64
    ).reshape(-1)
    return Groups(of, names, np.bincount(of, minlength=len(names)).tolist())


def folder_names(folders: Sequence[str]) -> dict[str, str]:
    """Return short names for folders: their paths below the folder that all of them share."""
    distinct = sorted(set(folders))
    if not distinct:
        return {}
    common = os.path.commonpath(distinct)
    return {
        folder: os.path.basename(folder) if folder == common else os.path.relpath(folder, common)  # noqa: PTH119
        for folder in distinct
    }
