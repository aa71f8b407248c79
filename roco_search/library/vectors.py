"""The vectors of a library as a flat matrix in a mapped file, and the choice between it and the graph.

The file is a cache: a header of `HEADER` bytes (magic, then JSON), the frame ids as int64, the vectors as float32,
all little-endian, ascending by frame id. Opening compares size, header and generation and the last row with SQLite;
`verify_matrix` hashes. What does not match is built again from SQLite, never trusted.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from roco_search.library.place import GRAPH, MATRIX, replace_file, sha256
from roco_search.library.records import EmbeddingSet
from roco_search.library.store import Store

if TYPE_CHECKING:
    from roco_search.library.graph import Graph

MAGIC = b"ROCOVECT"
FORMAT = 1
HEADER = 4096
GRAPH_FROM = 200_000
"""Vectors from which a graph that is already loaded is faster than the exact search.

Measured with 512 dimensions on 2 cores: exact takes 10 ms at 100,000 and 94 ms at 1,000,000, while only loading a
graph of 100,000 takes 436 ms. A single query therefore never loads one by itself.
"""
QUERIES_AT_ONCE = 8  # Scores of so many queries are held at once: 32 MB at a million vectors.
RESCORED = 8192  # Rows scored in float64 at once: a library full of equal pictures is one long tie.
FEW = 16  # Picking out one row in so many costs less than multiplying all of them where they lie.
TIE = 1e-5  # Above the rounding of a float32 product of unit vectors; what is nearer to the k-th score is looked at.

Mode = Literal["auto", "exact", "approximate"]
Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Generation:
    """What a cache was made of. Equal means: made of the same vectors in the same library."""

    library: str
    set_id: int
    fingerprint: str
    dim: int
    count: int
    last_id: int

    @classmethod
    def of(cls, store: Store, chosen: EmbeddingSet) -> "Generation":
        """Return the present state of a set."""
        library = store.settings["id"]
        return cls(library, chosen.id, chosen.fingerprint, chosen.dim, chosen.count, chosen.last_id)


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
    """

    def __init__(self, directory: Path, generation: Generation, ids: Ids, matrix: Vectors) -> None:
        self.directory = directory
        self.generation = generation
        self.ids = ids
        self.matrix = matrix
        self._graph: Graph | None = None

    @classmethod
    def open(cls, store: Store, chosen: EmbeddingSet) -> "VectorIndex":
        """Map the matrix, building it if need be; on a full or read-only disk it is held in memory.

        The caller holds a snapshot of the store, of which `chosen` is part.
        """
        generation = Generation.of(store, chosen)
        path = store.directory / MATRIX
        mapped = _map(path, generation)
        if mapped is None or not _ends_alike(store, chosen, *mapped):
            with suppress(OSError):
                replace_file(path, lambda temporary: _write(temporary, store, chosen, generation))
                mapped = _map(path, generation)
        if mapped is None or not _ends_alike(store, chosen, *mapped):
            mapped = _load(store, chosen)
        return cls(store.directory, generation, *mapped)

    def graph(self) -> "Graph":
        """Return the graph of these vectors, loaded, or built if there is none that can be trusted."""
        if self._graph is None:
            from roco_search.library.graph import Graph

            path = self.directory / GRAPH
            described = asdict(self.generation)
            self._graph = Graph.load(path, described) or Graph.build(path, described, self.ids, self.matrix)
        return self._graph

    def rows(self, ids: Ids) -> Ids:
        """Return the rows of frame ids, ascending; an id without a vector is left out."""
        wanted = distinct(ids)
        places = np.searchsorted(self.ids, wanted)
        there = places < len(self.ids)
        there[there] = self.ids[places[there]] == wanted[there]
        return places[there]

    def scores(self, query: Vectors, rows: Ids) -> Vectors:
        """Return the cosine similarities of rows to one query of unit norm, float32 as long as `rows`.

        A product of matrices rounds differently from row to row, so equal vectors can differ in the last bit. Summed
        in float64, row by row, equal vectors score the same wherever they stand.
        """
        parts = np.split(rows, range(RESCORED, len(rows), RESCORED))
        wide = query.astype(np.float64)
        return np.concatenate([(self.matrix[part] * wide).sum(axis=1) for part in parts]).astype(np.float32)

    def search(self, queries: Vectors, k: int, mode: Mode = "auto", among: Ids | None = None) -> tuple[Ids, Vectors]:
        """Find the nearest vectors by cosine similarity.

        Parameters
        ----------
        queries
            float32 ``(q, dim)`` of unit norm.
        k
            How many a query, at least 1; limited to the number of vectors.
        mode
            ``"exact"`` compares with every vector. ``"approximate"`` asks the graph and computes the scores of what
            it names exactly. ``"auto"`` takes the graph if it is loaded already and there are `GRAPH_FROM` vectors.
        among
            Only these frames, by id; None for all. A chosen few are always compared one by one: hnswlib can filter
            only by calling back into Python at every node, and finds too few where few are left.

        Returns
        -------
        ids, scores
            int64 and float32 ``(q, k)``, best first, and by ascending id where scores are equal.
        """
        chosen = None if among is None else self.rows(among)
        k = min(k, len(self.ids) if chosen is None else len(chosen))
        use_graph = mode == "approximate" or (
            mode == "auto" and self._graph is not None and len(self.ids) >= GRAPH_FROM
        )
        approximate = use_graph and chosen is None
        candidates = self._approximate(queries, k) if approximate else self._exact(queries, k, chosen)
        ids = np.empty((len(queries), k), np.int64)
        scores = np.empty((len(queries), k), np.float32)
        for number, (query, rows) in enumerate(zip(queries, candidates, strict=True)):
            ids[number], scores[number] = self._ranked(query, rows, k)
        return ids, scores

    def _ranked(self, query: Vectors, rows: Ids, k: int) -> tuple[Ids, Vectors]:
        # Exact scores on both paths, so that ties are ties, and decided by the id.
        scores = self.scores(query, rows)
        best = np.lexsort((rows, -scores))[:k]
        return self.ids[rows[best]], scores[best]

    def _exact(self, queries: Vectors, k: int, chosen: Ids | None = None) -> list[Ids]:
        """Return for each query the rows among which its k best are, ties at the end included."""
        found: list[Ids] = []
        few = chosen is not None and len(chosen) * FEW <= len(self.ids)
        matrix = self.matrix[chosen] if few else self.matrix
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            for all_scores in (matrix @ queries[start : start + QUERIES_AT_ONCE].T).T:
                scores = all_scores if few or chosen is None else all_scores[chosen]
                last = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
                near = np.flatnonzero(scores >= last - TIE)
                found.append(near if chosen is None else chosen[near])
        return found

    def _approximate(self, queries: Vectors, k: int) -> list[Ids]:
        labels = self.graph().search(queries, k)
        return self._exact(queries, k) if labels is None else list(np.searchsorted(self.ids, labels))


def distinct(ids: Ids) -> Ids:
    """Return ids ascending and once each. `numpy.unique` does that too, and imports numpy.ma for it: 20 ms a query."""
    ascending = np.sort(ids)
    first = np.ones(len(ascending), bool)
    first[1:] = ascending[1:] != ascending[:-1]
    return ascending[first]


def matrix_state(store: Store, chosen: EmbeddingSet) -> str:
    """Return "current", "stale" or "absent", without reading the vectors."""
    path = store.directory / MATRIX
    if not path.exists():
        return "absent"
    mapped = _map(path, Generation.of(store, chosen))
    return "current" if mapped is not None and _ends_alike(store, chosen, *mapped) else "stale"


def verify_matrix(store: Store, chosen: EmbeddingSet) -> str:
    """Return `matrix_state`, or "damaged" if the content of the file is not what was written."""
    state = matrix_state(store, chosen)
    path = store.directory / MATRIX
    if state == "current" and sha256(path, HEADER) != _header(path).get("sha256"):
        return "damaged"
    return state


def _map(path: Path, generation: Generation) -> tuple[Ids, Vectors] | None:
    try:
        header = _header(path)
        size = path.stat().st_size
        if header.get("format") != FORMAT or header.get("generation") != asdict(generation):
            return None
        count, dim = generation.count, generation.dim
        if not count or size != HEADER + count * (8 + 4 * dim):
            return None
        ids = np.memmap(path, "<i8", "r", offset=HEADER, shape=(count,))
        matrix = np.memmap(path, "<f4", "r", offset=HEADER + 8 * count, shape=(count, dim))
    except (OSError, ValueError):
        return None
    return ids, matrix


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        head = file.read(HEADER)
    if not head.startswith(MAGIC):
        return {}
    content = json.loads(head[len(MAGIC) :])
    return content if isinstance(content, dict) else {}


def _ends_alike(store: Store, chosen: EmbeddingSet, ids: Ids, matrix: Vectors) -> bool:
    # A database put back from a backup can come to the same ids and count with other images.
    return store.vector(chosen, int(ids[-1])) == np.ascontiguousarray(matrix[-1], "<f4").tobytes()


def _write(path: Path, store: Store, chosen: EmbeddingSet, generation: Generation) -> int:
    ids = np.empty(generation.count, "<i8")
    size = HEADER + generation.count * (8 + 4 * generation.dim)
    vectors_hash = hashlib.sha256()
    with path.open("rb+") as file:
        file.seek(HEADER + 8 * generation.count)
        for row, (frame_id, vector) in enumerate(store.vectors(chosen)):
            ids[row] = frame_id
            file.write(vector)
        file.seek(HEADER)
        file.write(ids.tobytes())
        file.flush()
        # Read back: what is hashed is what lies in the file.
        file.seek(HEADER)
        while block := file.read(1 << 20):
            vectors_hash.update(block)
        header = {"format": FORMAT, "generation": asdict(generation), "sha256": vectors_hash.hexdigest()}
        file.seek(0)
        file.write((MAGIC + json.dumps(header).encode()).ljust(HEADER))
    return size


def _load(store: Store, chosen: EmbeddingSet) -> tuple[Ids, Vectors]:
    ids = np.empty(chosen.count, np.int64)
    matrix = np.empty((chosen.count, chosen.dim), np.float32)
    for row, (frame_id, vector) in enumerate(store.vectors(chosen)):
        ids[row] = frame_id
        matrix[row] = np.frombuffer(vector, "<f4")
    return ids, matrix
