"""A library becomes a map: its stored vectors laid out, and what is stored of each picture beside its point."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from roco_search.classify.guesses import ATTRIBUTES, Guesses
from roco_search.embedding_map.grouping import Color, Groups, folder_names, group
from roco_search.embedding_map.projection import Method, Projection, project
from roco_search.errors import InputError
from roco_search.library import Library, StoredFrame

MOST_POINTS = 20_000
"""Points of a map; of a larger library so many are drawn by lot. More are a carpet, not a map."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingMap:
    """A library's pictures in the plane.

    Attributes
    ----------
    ids
        Frame ids, int64 ``(n,)``, ascending.
    frames
        What is stored of each; modality and body part may be guesses, see `guessed`.
    projection
        Where each lies.
    total
        Pictures of the library, of which these are a part.
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
        """Return the groups of points by "modality", "body_part" or "folder".

        Raises
        ------
        InputError
            If it is none of these.
        """
        if color not in get_args(Color):
            raise InputError(f"A map is coloured by {', '.join(get_args(Color))}, not by {color!r}.")
        return group(self.values[color])


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What a map is made of, read from a library: n pictures of `total`, ascending by id, with their vectors."""

    ids: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]
    frames: list[StoredFrame]
    total: int


def read_pictures(library: Library, most: int = MOST_POINTS) -> Pictures:
    """Read what is stored of the pictures of a library; of more than `most`, so many drawn by lot.

    Raises
    ------
    LibraryEmpty, LibraryError
    """
    with library.snapshot():
        index = library.vectors()
        total = len(index.ids)
        rows = np.sort(np.random.default_rng(0).permutation(total)[:most])
        ids, vectors = np.array(index.ids[rows]), np.array(index.matrix[rows])
        stored = library.frames(ids.tolist())
    return Pictures(ids, vectors, [stored[frame_id] for frame_id in ids.tolist()], total)


def lay_out(pictures: Pictures, method: Method | None = None, guesses: Guesses | None = None) -> EmbeddingMap:
    """Make a map of pictures that were read; see `make_map`."""
    return EmbeddingMap(
        pictures.ids,
        pictures.frames,
        project(pictures.vectors, method),
        pictures.total,
        _values(pictures.frames, pictures.vectors, guesses),
        guesses is not None,
    )


def make_map(
    library: Library, method: Method | None = None, *, guesses: Guesses | None = None, most: int = MOST_POINTS
) -> EmbeddingMap:
    """Lay out the pictures of a library; no file is read.

    Parameters
    ----------
    library
        Whose stored vectors are laid out.
    method
        "umap" or "pca"; None for UMAP where it is installed.
    guesses
        Supplies modality and body part where a header says nothing; None to leave them open.
    most
        Points; of more pictures so many are drawn by lot.

    Raises
    ------
    InputError
        If the method is not installed.
    LibraryEmpty, LibraryError
    """
    return lay_out(read_pictures(library, most), method, guesses)


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
