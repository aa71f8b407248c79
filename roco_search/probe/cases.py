"""Which pictures are of one case, and folds that divide none."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from roco_search.library import Library, StoredFrame
from roco_search.search.hits import NEAR

Ids = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_AT_ONCE = 1024
FOLDS = 5


def number_cases(
    library: Library, frames: Sequence[StoredFrame], stated: Mapping[str, str], by: str | None = None
) -> Ids:
    """Return the case of each frame, int64 ``(n,)``, numbered from 0.

    Frames of one file, copies of one content, and pictures that are nearly the same (`NEAR`) are of one case whatever
    is asked for: a head that has seen the one has seen the other.

    Parameters
    ----------
    library
        The library that has the frames.
    frames
        The frames; each has a vector.
    stated
        The case of each path, by a column of a table; for paths without one, the library is asked.
    by
        "series", "study", "folder" or "file"; None, or the name of a column, to join whatever is known to belong
        together: the column, the study, the series, and the case that the library knows from captions or folders.
    """
    parts = _Parts(len(frames))
    for place, frame in enumerate(frames):
        for key in _keys(frame, stated, by):
            parts.join(place, key)
        content = library.frames.content_hash(frame.path)
        if content is not None:
            parts.join(place, ("content", content))
    vectors = library.embeddings(np.array([frame.id for frame in frames], np.int64))
    for start in range(0, len(vectors), _AT_ONCE):
        near = np.argwhere(vectors[start : start + _AT_ONCE] @ vectors[start:].T >= NEAR)
        for one, other in near.tolist():
            parts.unite(start + one, start + other)
    _, numbers = np.unique([parts.root(place) for place in range(len(frames))], return_inverse=True)
    return numbers.astype(np.int64)


def _keys(frame: StoredFrame, stated: Mapping[str, str], by: str | None) -> Iterator[Hashable]:
    yield "file", frame.path
    if by == "folder":
        yield "folder", os.path.dirname(frame.path)  # noqa: PTH120 - a name that need not be UTF-8
        return
    if frame.path in stated:
        yield "stated", stated[frame.path]
    if by != "file" and frame.series is not None:
        yield "series", frame.series
    if by not in {"file", "series"} and frame.study is not None:
        yield "study", frame.study
    if by not in {"file", "series", "study"} and frame.case is not None:
        yield "case", frame.case


class _Parts:
    """Disjoint sets of places, joined by keys that they share (Galler and Fischer 1964)."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))
        self._first: dict[Hashable, int] = {}

    def root(self, place: int) -> int:
        while self._above[place] != place:
            self._above[place] = self._above[self._above[place]]
            place = self._above[place]
        return place

    def unite(self, one: int, other: int) -> None:
        first, second = sorted((self.root(one), self.root(other)))
        self._above[second] = first

    def join(self, place: int, key: Hashable) -> None:
        self.unite(place, self._first.setdefault(key, place))


def divide(positive: Bools, cases: Ids, folds: int = FOLDS, seed: int = 0) -> Ids:
    """Return the fold of each picture, int64 ``(n,)``: whole cases, each fold with its share of both classes.

    Parameters
    ----------
    positive
        bool ``(n,)``.
    cases
        int64 ``(n,)``.
    folds
        How many at most; fewer where one class has fewer cases. Each fold has both classes wherever that is possible.
    seed
        Another seed divides otherwise.

    Returns
    -------
    int64 ``(n,)``, from 0. One fold alone where nothing can be divided.
    """
    _, of_case = np.unique(cases, return_inverse=True)
    ups, sizes = np.bincount(of_case, positive), np.bincount(of_case)
    count = int(min(folds, (ups > 0).sum(), (ups < sizes).sum()))
    if count < 2:
        return np.zeros(len(cases), np.int64)
    chance = np.random.default_rng(seed).random(len(sizes))
    rarer = ups > 0 if positive.sum() * 2 <= len(positive) else ups < sizes
    # The large cases first, those with the rarer class before the others; each goes where its class is scarcest.
    order = np.lexsort((chance, -sizes, ~rarer))
    held = np.zeros((count, 2))
    share = np.maximum([ups.sum(), (sizes - ups).sum()], 1)
    fold_of = np.zeros(len(sizes), np.int64)
    for case in order.tolist():
        own = np.array([ups[case], sizes[case] - ups[case]])
        weight = own / share
        scores = (held / share) @ (weight / weight.sum())
        best = np.flatnonzero(scores <= scores.min() + 1e-12)
        fold = int(best[held[best].sum(axis=1).argmin()])
        fold_of[case] = fold
        held[fold] += own
    return np.asarray(fold_of[of_case])
