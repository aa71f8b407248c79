"""Controls: what labels can be told by that is no finding, and what remains when labels mean nothing.

A data set whose positives come from another scanner, have another size or a marker in a corner, teaches a head the
scanner, the size or the marker (Zech et al. 2018). The shortcut control is a head that sees nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from roco_search.errors import ImageError
from roco_search.imaging import open_image
from roco_search.library import StoredFrame
from roco_search.probe.teaching.fitting import Material, held_out_logits, probabilities

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]

MOST_PICTURES = 240  # Files that are opened for their borders; each takes some milliseconds.
CORNER, BORDER = 8, 24  # A corner is this part of a side, a border this part.
_SIDE = 64  # pixels that a file may be reduced to when it is decoded
_PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3)


def shuffled(positive: Bools, cases: Ids, seed: int = 0) -> Bools:
    """Return labels that mean nothing: each case has those of another, so that what a case shares stays shared."""
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(cases == case) for case in np.unique(cases)]
    found = np.empty_like(positive)
    for rows, other in zip(members, random.permutation(len(members)), strict=True):
        found[rows] = np.resize(positive[members[other]], len(rows))
    return found


def sample(positive: Bools, most: int = MOST_PICTURES, seed: int = 0) -> Ids:
    """Return at most so many rows, int64 ascending, as evenly of both classes as there are."""
    random = np.random.default_rng(seed)
    ups, downs = (random.permutation(np.flatnonzero(positive == side)) for side in (True, False))
    half = most // 2
    few = min(len(ups), max(half, most - len(downs)))
    return np.sort(np.concatenate([ups[:few], downs[: most - few]]))


def header_facts(frames: Sequence[StoredFrame]) -> Floats:
    """Return what a header and the size say, float64 ``(n, facts)``: terms as 0 and 1, sizes as logarithms."""
    columns: list[Floats] = []
    for name in ("modality", "body_part", "view", "laterality", "localizer"):
        values = [getattr(frame, name) for frame in frames]
        terms = sorted({value for value in values if value is not None}, key=str)
        columns += [np.array([value == term for value in values], np.float64) for term in (*terms, None)]
    rows = np.array([frame.rows or 1 for frame in frames], np.float64)
    widths = np.array([frame.columns or 1 for frame in frames], np.float64)
    count = np.array([frame.frames for frame in frames], np.float64)
    columns += [np.log(rows), np.log(widths), np.log(rows / widths), np.log(count)]
    return np.column_stack(columns)


def border_facts(frame: StoredFrame) -> Floats | None:
    """Return the brightness of a picture's corners and border, float64 ``(10,)`` in 0 to 1; None if it is unreadable.

    Mean and deviation of the four corners, from the top left clockwise, and of the border.
    """
    with suppress(ImageError, OSError):
        picture = next(iter(open_image(frame.path, frames=(frame.frame,), at_least=_SIDE)))
        grey = picture.pixels.mean(axis=2) / 255
        height, width = grey.shape
        high, wide = max(1, height // CORNER), max(1, width // CORNER)
        thick, slim = max(1, height // BORDER), max(1, width // BORDER)
        border = np.concatenate(
            [part.ravel() for part in (grey[:thick], grey[-thick:], grey[:, :slim], grey[:, -slim:])]
        )
        corners = [grey[:high, :wide], grey[:high, -wide:], grey[-high:, -wide:], grey[-high:, :wide]]
        return np.array([value for part in (*corners, border) for value in (part.mean(), part.std())])
    return None


def shortcut(
    frames: Sequence[StoredFrame], positive: Bools, cases: Ids, *, pictures: bool = True
) -> tuple[Ids, Floats]:
    """Return the rows that were looked at, and the held-out probability of a head that sees no finding, ``(rows,)``.

    Parameters
    ----------
    frames, positive, cases
        The labelled pictures.
    pictures
        Open the files of a sample for their corners and borders, besides headers and sizes.
    """
    rows = np.arange(len(frames)) if not pictures else sample(positive)
    seen = header_facts([frames[row] for row in rows])
    if pictures:
        borders = [border_facts(frames[row]) for row in rows]
        there = np.array([found is not None for found in borders])
        if there.mean() > 0.5:
            rows, seen = rows[there], seen[there]
            seen = np.column_stack([seen, np.stack([found for found in borders if found is not None])])
    deviation = seen.std(axis=0)
    seen = (seen - seen.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    material = Material(seen, np.zeros(len(rows)), positive[rows], cases[rows])
    logits = held_out_logits(material, penalties=_PENALTIES)
    known = np.isfinite(logits)
    return rows[known], probabilities(logits[known])
