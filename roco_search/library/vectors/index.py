"""Searching the vectors of a library, in a mapped matrix or in a graph.

Both are caches. Opening compares seals, header and generation and the last row with SQLite; `verify_matrix` hashes all.
What does not match is built again from SQLite, never trusted.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.library.directory import GRAPH, MATRIX
from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.store import Store
from roco_search.library.vectors.matrix import (
    Generation,
    Manifest,
    ends_alike,
    intact,
    load_matrix,
    map_matrix,
    renewed_prefilter,
    write_matrix,
)
from roco_search.library.vectors.planner import Mode, Planner
from roco_search.library.vectors.prefilter import Prefilter, prefilter_damaged
from roco_search.system.process import cores

if TYPE_CHECKING:
    from roco_search.library.vectors.graph import Graph

SHARED_FROM = 64 * 2**20  # Bytes of a matrix from which a query is shared among the cores.
QUERIES_AT_ONCE = 8  # The number of queries whose scores are held at once: 32 MB at a million vectors.
RESCORED = 8192  # Rows scored in float64 at once: a library full of equal pictures is one long tie.
BIASED = 20  # Times as many as are wanted are taken from the graph where a bias will put them into another order.
FEW = 16  # Picking out at most one row in this many costs less than multiplying all of them in place.
TIE = 1e-5  # Above the rounding of a float32 product of unit vectors; what is nearer to the k-th score is looked at.

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class VectorIndex:
    """Vectors to search in.

    Attributes
    ----------
    ids
        Frame ids, int64 ``(count,)``, ascending.
    matrix
        Vectors of unit norm, float32 ``(count, dim)``; row i belongs to ``ids[i]``.
    generation
        What they were made of.
    prefilter
        A copy that rules out most rows, if the matrix is large: see `Prefilter`.
    parts
        (rows, SHA-256) of the parts that the matrix was written in; none where it is held in memory.
    """

    def __init__(
        self,
        directory: Path,
        generation: Generation,
        ids: Ids,
        matrix: Vectors,
        prefilter: Prefilter | None = None,
        parts: Sequence[tuple[int, str]] = (),
    ) -> None:
        self.directory = directory
        self.generation = generation
        self.ids = ids
        self.matrix = matrix
        self.prefilter = prefilter
        self.parts = parts
        self.planner = Planner(directory / GRAPH, self._graph_is_current)
        self._graph: Graph | None = None

    @classmethod
    def open(cls, store: Store, chosen: EmbeddingSet) -> "VectorIndex":
        """Map the matrix, building it if need be; on a full or read-only disk it is held in memory.

        The caller holds a snapshot of the store, of which `chosen` is part.
        """
        generation = Generation.of(store, chosen)
        mapped = map_matrix(store.directory, generation)
        if mapped is None or not ends_alike(store, chosen, mapped):
            with suppress(OSError):
                write_matrix(store, chosen, generation)
                mapped = map_matrix(store.directory, generation)
        if mapped is None or not ends_alike(store, chosen, mapped):
            return cls(store.directory, generation, *load_matrix(store, chosen))
        prefilter = Prefilter.open(store.directory, mapped.matrix, mapped.parts)
        if prefilter is None and prefilter_damaged(store.directory):
            with suppress(OSError):
                prefilter = renewed_prefilter(store.directory, mapped)
        return cls(store.directory, generation, mapped.ids, mapped.matrix, prefilter, mapped.parts)

    def graph(self) -> "Graph":
        """Return the graph of these vectors: see `Graph.open`."""
        if self._graph is None:
            from roco_search.library.vectors.graph import Graph

            self._graph = Graph.open(self.directory / GRAPH, asdict(self.generation), self.ids, self.matrix)
            self.planner.graph_loaded = True
        return self._graph

    def _graph_is_current(self) -> bool:
        from roco_search.library.vectors.graph import graph_state

        return graph_state(self.directory / GRAPH, asdict(self.generation)) == "current"

    def rows(self, ids: Ids) -> Ids:
        """Return the rows of frame ids, ascending; an id without a vector is left out."""
        rows, known = self._found(distinct(ids))
        return rows[known]

    def rows_of(self, ids: Ids) -> Ids:
        """Return the row of each frame id, in the order of `ids`.

        Raises
        ------
        InputError
            If one has no vector.
        """
        rows, known = self._found(ids)
        if not known.all():
            raise InputError(f"The frame {ids[~known][0]} has no vector in this library; leave it out.")
        return rows

    def vectors_of(self, ids: Ids) -> Vectors:
        """Return the vectors of frames, float32 ``(n, dim)``, in the order of `ids`; raises as `rows_of`."""
        return np.asarray(self.matrix[self.rows_of(ids)])

    def _found(self, ids: Ids) -> tuple[Ids, npt.NDArray[np.bool_]]:
        rows = np.searchsorted(self.ids, ids)
        known = rows < len(self.ids)
        known[known] = self.ids[rows[known]] == ids[known]
        return rows, known

    def scores(self, query: Vectors, rows: Ids) -> Vectors:
        """Return the cosine similarities of rows to one query of unit norm, float32 as long as `rows`.

        A product of matrices rounds differently from row to row, so equal vectors can differ in the last bit. Summed in
        float64, row by row, equal vectors score the same wherever they are.
        """
        parts = np.split(rows, range(RESCORED, len(rows), RESCORED))
        wide = query.astype(np.float64)
        return np.concatenate([(self.matrix[part] * wide).sum(axis=1) for part in parts]).astype(np.float32)

    def search(
        self,
        queries: Vectors,
        k: int,
        mode: Mode = "auto",
        among: Ids | None = None,
        bias: Vectors | None = None,
    ) -> tuple[Ids, Vectors]:
        """Find the nearest vectors by cosine similarity, or by inner product plus a bias of each row.

        Parameters
        ----------
        queries
            float32 ``(q, dim)``; of unit norm for cosines.
        k
            The number of vectors to find for each query, at least 1; limited to the number there are.
        mode
            ``"exact"`` compares with every vector. ``"approximate"`` asks the graph and computes the scores of what
            it names exactly. ``"auto"`` takes what has cost less in this process: see `Planner`.
        among
            Only these frames, by id; None for all. A chosen few are always compared one by one: hnswlib can filter
            only by calling back into Python at every node, and finds too few where few are left.
        bias
            What is added to the products of each row, float32 ``(count,)``; None for nothing. The graph knows nothing
            of it: it is asked for `BIASED` times as many, and "auto" is exact.

        Returns
        -------
        ids, scores
            int64 and float32 ``(q, k)``, best first, and by ascending id where scores are equal.

        Raises
        ------
        InputError
            If the vectors of the queries have another dimension, or `k` is below 1.
        """
        if queries.ndim != 2 or queries.shape[1] != self.generation.dim:
            raise InputError(
                f"A query vector must have {self.generation.dim} values, as the library's do; this one has "
                f"{queries.shape[-1]}. Make it with the library's own model."
            )
        if k < 1:
            raise InputError("The number of hits must be at least 1; choose another `k`.")
        chosen = None if among is None else self.rows(among)
        k = min(k, len(self.ids) if chosen is None else len(chosen))
        if not k:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        if chosen is None:
            approximate = mode == "approximate" or (mode == "auto" and bias is None and self.planner.prefers_graph())
            with self.planner.measured(approximate=approximate, queries=len(queries)):
                candidates = self._approximate(queries, k, bias) if approximate else self._exact(queries, k, None, bias)
        else:
            candidates = self._exact(queries, k, chosen, bias)
        ids = np.empty((len(queries), k), np.int64)
        scores = np.empty((len(queries), k), np.float32)
        for number, (query, rows) in enumerate(zip(queries, candidates, strict=True)):
            ids[number], scores[number] = self._ranked(query, rows, k, bias)
        return ids, scores

    def _ranked(self, query: Vectors, rows: Ids, k: int, bias: Vectors | None) -> tuple[Ids, Vectors]:
        # Exact scores on both paths, so that ties are ties, and decided by the id.
        scores = self.scores(query, rows)
        if bias is not None:
            scores = scores + bias[rows]
        best = np.lexsort((rows, -scores))[:k]
        return self.ids[rows[best]], scores[best]

    def _exact(self, queries: Vectors, k: int, chosen: Ids | None = None, bias: Vectors | None = None) -> list[Ids]:
        """Return for each query the rows among which its k best are, ties at the end included."""
        found: list[Ids] = []
        if self.prefilter and len(queries) == 1 and (chosen is None or len(chosen) * FEW > len(self.ids)):
            near = self.prefilter.near(queries[0], k, len(self.ids), chosen, bias)
            if near is not None and len(near) * FEW <= len(self.ids):
                chosen = near
        few = chosen is not None and len(chosen) * FEW <= len(self.ids)
        matrix = self.matrix[chosen] if few else self.matrix
        # What float32 rounds grows with the length of a query.
        tie = TIE * max(
            1.0, float(np.linalg.norm(queries, axis=1).max(initial=0.0)), 0 if bias is None else float(np.ptp(bias))
        )
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            for all_scores in products(matrix, queries[start : start + QUERIES_AT_ONCE]):
                scores = all_scores if few or chosen is None else all_scores[chosen]
                if bias is not None:
                    scores = scores + (bias if chosen is None else bias[chosen])
                last = np.partition(scores, len(scores) - k)[len(scores) - k]
                near = np.flatnonzero(scores >= last - tie)
                found.append(near if chosen is None else chosen[near])
        return found

    def _approximate(self, queries: Vectors, k: int, bias: Vectors | None) -> list[Ids]:
        found = self.graph().search(queries, k if bias is None else min(k * BIASED, len(self.ids)))
        return self._exact(queries, k, None, bias) if found is None else found


def products(matrix: Vectors, queries: Vectors) -> Vectors:
    """Return the inner products of queries, float32 ``(q, dim)``, and rows: float32 ``(q, rows)``.

    A single query is a product with a vector, which BLAS reads the matrix for once and on one core; where that is a
    mapped file of some size, each core reads a part of it, and the page faults are shared too.
    """
    if len(queries) != 1:
        return (matrix @ queries.T).T
    found = np.empty(len(matrix), np.float32)
    parts = cores() if matrix.nbytes >= SHARED_FROM else 1
    bounds = [len(matrix) * part // parts for part in range(parts + 1)]

    def work(first: int, last: int) -> None:
        np.matmul(matrix[first:last], queries[0], out=found[first:last])

    others = [Thread(target=work, args=pair) for pair in pairwise(bounds[1:])]
    for thread in others:
        thread.start()
    work(bounds[0], bounds[1])
    for thread in others:
        thread.join()
    return found[None]


def distinct(ids: Ids) -> Ids:
    """Return ids ascending and once each. `numpy.unique` does that too, and imports numpy.ma for it: 20 ms a query."""
    ascending = np.sort(ids)
    first = np.ones(len(ascending), bool)
    first[1:] = ascending[1:] != ascending[:-1]
    return ascending[first]


def matrix_state(store: Store, chosen: EmbeddingSet) -> str:
    """Return "current", "stale" or "absent", without reading the vectors."""
    if not (store.directory / MATRIX).exists():
        return "absent"
    mapped = map_matrix(store.directory, Generation.of(store, chosen))
    return "current" if mapped is not None and ends_alike(store, chosen, mapped) else "stale"


def verify_matrix(store: Store, chosen: EmbeddingSet) -> str:
    """Return `matrix_state`, or "damaged" if the content of the files is not what was written."""
    state, generation = matrix_state(store, chosen), Generation.of(store, chosen)
    manifest = Manifest.read(store.directory)
    meant = manifest is not None and manifest.generation == generation
    return "damaged" if meant and not intact(store.directory, generation) else state
