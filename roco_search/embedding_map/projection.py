"""Project embeddings to the plane: by UMAP, which keeps neighbours together, or by PCA."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.system.progress import Progress, Silent

Method = Literal["umap", "pca"]
ROWS_AT_ONCE = 65_536  # converted to float64 at a time
NEIGHBOURS = 15  # of UMAP: its authors' default, between the shape of clusters and that of the whole
MIN_DIST = 0.9  # of UMAP, whose default of 0.1 makes a blot of each cluster, in which no point can be pointed at
FEWEST = 4  # pictures that UMAP needs
SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Points in the plane.

    Attributes
    ----------
    points
        float32 ``(n, 2)``, in 0..1 of the longer side, with equal scales.
    method
        How they were found.
    explained
        The share of the variance along each axis, in 0..1 (PCA); None where the axes have no meaning (UMAP).
    """

    points: npt.NDArray[np.float32]
    method: Method
    explained: tuple[float, float] | None


def available_methods() -> tuple[Method, ...]:
    """Return the methods that are installed, the default first: UMAP where possible, and always PCA."""
    return ("umap", "pca") if find_spec("umap") else ("pca",)


def project(
    vectors: npt.NDArray[np.float32], method: Method | None = None, *, progress: Progress | None = None
) -> Projection:
    """Lay vectors out in the plane; the same vectors always give the same points.

    Parameters
    ----------
    vectors
        float32 ``(n, dim)`` of unit norm.
    method
        "pca": the two directions of largest variance (Pearson 1901). "umap", by cosine distance: neighbourhoods are
        kept, and distances between far points mean little (McInnes et al. 2018). None for the default.
    progress
        Counts the rounds of UMAP, which begin when the neighbours of every picture are known; PCA has none.

    Raises
    ------
    InputError
        If the method is unknown or not installed, or there are too few pictures for it.
    """
    chosen = method or available_methods()[0]
    if chosen not in get_args(Method):
        raise InputError(f"{chosen!r} is not a way to lay out a map; choose umap or pca.")
    if method is None and len(vectors) < FEWEST:
        chosen = "pca"
    if chosen == "umap":
        return Projection(_fitted(_spread(_umap(vectors, progress or Silent()))), "umap", None)
    points, explained = _pca(vectors)
    return Projection(_fitted(points), "pca", explained)


def _pca(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    count, dim = vectors.shape
    mean = vectors.mean(axis=0, dtype=np.float64)
    # The covariance is small, the centred vectors are not: they are never held all at once.
    covariance = np.zeros((dim, dim))
    for start in range(0, count, ROWS_AT_ONCE):
        part = vectors[start : start + ROWS_AT_ONCE] - mean
        covariance += part.T @ part
    variances, directions = np.linalg.eigh(covariance)
    best = directions[:, ::-1][:, :2]
    # The sign of an eigenvector is arbitrary: the largest component is made positive, so that a map never flips.
    best = best * np.sign(best[np.abs(best).argmax(axis=0), np.arange(best.shape[1])])
    parts = [
        np.asarray((vectors[start : start + ROWS_AT_ONCE] - mean) @ best) for start in range(0, count, ROWS_AT_ONCE)
    ]
    total = max(float(variances.sum()), 1e-12)
    shares = [max(0.0, float(value)) / total for value in variances[::-1][:2]]
    return np.concatenate(parts), (shares[0], shares[1])


class _Rounds:
    """The file into which tqdm, by which UMAP counts its rounds, writes how far it is."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._done, self._started = progress, 0, False

    def write(self, text: str) -> None:
        """Report what was counted since the last time."""
        for done, total in re.findall(r"(\d+)/(\d+)", text):
            if not self._started:
                self._progress.start(int(total))
                self._started = True
            self._progress.advance(int(done) - self._done)
            self._done = int(done)

    def flush(self) -> None:
        """Do nothing."""


def _umap(vectors: npt.NDArray[np.float32], progress: Progress) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # that a seed means one thread, which is intended, and that TensorFlow is missing
            umap: Any = import_module("umap")
    except ImportError:
        raise InputError(
            "UMAP is not installed; run `pip install 'roco-search[map]'`, or choose `method=\"pca\"`."
        ) from None
    if len(vectors) < FEWEST:
        raise InputError(f'UMAP needs at least {FEWEST} pictures and there are {len(vectors)}; choose `method="pca"`.')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reducer = umap.UMAP(
            n_neighbors=min(NEIGHBOURS, len(vectors) - 1),
            min_dist=MIN_DIST,
            metric="cosine",
            # With so few points, the spectral start has too few eigenvectors.
            init="spectral" if len(vectors) > NEIGHBOURS else "random",
            random_state=SEED,
            n_jobs=1,
            tqdm_kwds={"file": _Rounds(progress), "bar_format": "{n}/{total} ", "disable": False},
        )
        try:
            return np.array(reducer.fit_transform(np.ascontiguousarray(vectors)), np.float64)
        finally:
            progress.stop()


def _spread(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Take half of the emptiness out of a map on which distances mean little: each axis goes half of the way to ranks.

    The order along each axis stays, and so do neighbours; islands that are far from all others come nearer.
    """
    ranks = points.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable") / max(len(points) - 1, 1)
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray((points - low) / np.maximum(high - low, 1e-12) + ranks) / 2


def _fitted(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray((points - low) / max(float((high - low).max()), 1e-12), np.float32)
