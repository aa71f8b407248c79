"""The hnswlib graph: a cache beside the matrix, with a manifest, because hnswlib writes nothing that could be checked.

Its file has no version, space or dimension, a file of another dimension loads and answers nonsense, damage inside
can crash the process, and a failed write is not reported. Hence: the size is compared after writing, and before
anything is loaded the manifest is compared and the file hashed.

Equal vectors, such as those of many black pictures, would fill each other's links until the graph falls apart into
pieces. They are one node.
"""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.system.files import replacing, sha256
from roco_search.system.seals import read_record, write_record

FORMAT = 2  # 2: equal vectors are one node.
SPACE = "ip"  # Vectors of unit norm: the inner product is the cosine.
M = 16  # Links of a node. hnswlib's range of use is 5 to 48; 16 gave a recall of 1.000 at ef 50 on 100,000 x 512.
EF_CONSTRUCTION = 200
EFS = (800, 1600, 3200, 6400)
"""Candidates held while the graph is searched: the first, until `roco library verify` has measured which is enough.

Texts are embedded far from all images, and a graph loses them: at 100,000 images recall@10 is 0.999 for images and
0.895 for texts with 64, and 1.000 for both with 800, in a millisecond.
"""
OVERSAMPLE = 2  # This many times k candidates are requested, and ranked again by their exact scores.
SEED = 100
ADDED_AT_ONCE = 50_000  # Rows handed over in one piece: hnswlib takes a copy.
GROWTH = 1.2  # After each loading hnswlib draws the same levels again, mostly the lowest: past this it is built anew.

Description = dict[str, Any]
Rows = npt.NDArray[np.int64]


class Graph:
    """A loaded graph. Its labels are rows of the matrix, each the first of those that are equal.

    Attributes
    ----------
    ef
        The number of candidates that a search holds, as far as more are not asked for: one of `EFS`.
    """

    def __init__(self, index: Any, first: Rows, ef: int) -> None:
        self.ef = ef
        self._index = index
        self._rows = np.argsort(first, kind="stable")
        self._first = first[self._rows]

    @classmethod
    def open(cls, path: Path, generation: Description, ids: Rows, matrix: npt.NDArray[np.float32]) -> "Graph":
        """Load the graph of these vectors, add those that have come since, or build it if there is none to be trusted.

        It is kept at `path`, unless the disk is full or read-only; it serves from memory then. A hundred new among a
        million cost loading and saving, not the many minutes of building.

        Parameters
        ----------
        path
            The path of the file.
        generation
            Of what the vectors are, as a dictionary of `Generation`.
        ids
            Frame ids, int64 ``(count,)``, ascending.
        matrix
            Vectors of unit norm, float32 ``(count, dim)``.
        """
        first = first_equal(matrix)
        nodes = np.unique(first)
        ef = _manifest(path).get("ef", EFS[0])
        ef = ef if ef in EFS else EFS[0]
        index, known, built = _load(path, generation, ids, matrix, nodes) or (_empty(matrix, nodes), 0, len(ids))
        if known < len(ids):
            fresh = nodes[nodes >= known]
            for start in range(0, len(fresh), ADDED_AT_ONCE):
                part = fresh[start : start + ADDED_AT_ONCE]
                index.add_items(matrix[part], part)
            about = {"built": built, "content": _content(ids, matrix, len(ids)), "ef": ef}
            with suppress(OSError):
                _save(index, path, _described(generation) | about)
        return cls(index, first, ef)

    def search(self, queries: npt.NDArray[np.float32], k: int) -> list[Rows] | None:
        """Return candidates for the k best: at least k rows a query; None if the graph cannot return that many."""
        wanted = min(OVERSAMPLE * k, self._index.get_current_count())
        self._index.set_ef(max(self.ef, 2 * wanted))  # It is not saved with the graph.
        try:
            labels, _ = self._index.knn_query(queries, k=wanted)
        except RuntimeError:
            return None
        return [self._equal(nodes) for nodes in np.asarray(labels).astype(np.int64)]

    def _equal(self, nodes: Rows) -> Rows:
        starts = np.searchsorted(self._first, nodes, "left")
        ends = np.searchsorted(self._first, nodes, "right")
        return np.concatenate([self._rows[start:end] for start, end in zip(starts, ends, strict=True)])


def first_equal(matrix: npt.NDArray[np.float32]) -> Rows:
    """Return for each row the first row that is equal to it bit for bit, int64 ``(count,)``."""
    _, group, sizes = np.unique(_as_bytes(matrix[:, :4]), return_inverse=True, return_counts=True)
    alike = np.flatnonzero(sizes[group] > 1)  # Few, as a rule: only they are compared whole.
    first = np.arange(len(matrix))
    _, place, group = np.unique(_as_bytes(matrix[alike]), return_index=True, return_inverse=True)
    first[alike] = alike[place[group]]
    return first


def _as_bytes(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.void]:
    return np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).reshape(len(rows))


def graph_state(path: Path, generation: Description) -> str:
    """Return "current", "behind", "stale" or "absent", by manifest and size.

    One that is behind is of an earlier state: if nothing has gone since, what is new can be added.
    """
    return _state(path, _manifest(path), generation)


def _state(path: Path, manifest: Description, generation: Description) -> str:
    try:
        size = path.stat().st_size
    except OSError:
        return "absent"
    known = manifest.get("generation")
    written = {key: manifest[key] for key in ("bytes", "sha256", "content", "built", "ef") if key in manifest}
    if not isinstance(known, dict) or manifest != _described(known) | written or size != written.get("bytes"):
        return "stale"
    if known == generation:
        return "current"
    grown = known | {key: generation[key] for key in ("count", "last_id")} == generation
    grown = grown and all(known[key] < generation[key] for key in ("count", "last_id"))
    return "behind" if grown and generation["count"] <= GROWTH * int(written.get("built") or 0) else "stale"


def keep_ef(path: Path, ef: int) -> None:
    """Note how many candidates the next searches in a graph are to hold, unless its disk cannot be written."""
    with suppress(OSError):
        write_record(manifest_path(path), _manifest(path) | {"ef": ef})


def verify_graph(path: Path, generation: Description) -> str:
    """Return `graph_state`, or "damaged" if the content of the file is not what was written."""
    manifest = _manifest(path)
    state = _state(path, manifest, generation)
    return "damaged" if state in ("current", "behind") and _hashed(path) != manifest["sha256"] else state


def _hashed(path: Path) -> str | None:
    with suppress(OSError):  # another process may just have removed it
        return sha256(path)
    return None


def manifest_path(path: Path) -> Path:
    """Return the path of a graph's manifest."""
    return path.with_name(f"{path.name}.json")


def _described(generation: Description) -> Description:
    return {"format": FORMAT, "space": SPACE, "M": M, "ef_construction": EF_CONSTRUCTION, "generation": generation}


def _manifest(path: Path) -> Description:
    return read_record(manifest_path(path)) or {}


def _empty(matrix: npt.NDArray[np.float32], nodes: Rows) -> Any:
    import hnswlib

    index = hnswlib.Index(space=SPACE, dim=matrix.shape[1])
    index.init_index(max_elements=len(nodes), M=M, ef_construction=EF_CONSTRUCTION, random_seed=SEED)
    return index


def _load(
    path: Path, generation: Description, ids: Rows, matrix: npt.NDArray[np.float32], nodes: Rows
) -> tuple[Any, int, int] | None:
    """Return the index, how many rows of the matrix it knows, and with how many it was built.

    None if it is not of the beginning of the matrix, or cannot be trusted.
    """
    manifest = _manifest(path)
    if _state(path, manifest, generation) not in ("current", "behind"):
        return None
    known = manifest["generation"]["count"]
    if manifest["content"] != _content(ids, matrix, known) or _hashed(path) != manifest["sha256"]:
        return None
    import hnswlib

    index = hnswlib.Index(space=SPACE, dim=generation["dim"])
    try:
        index.load_index(str(path), max_elements=len(nodes))
    except RuntimeError:
        return None
    found = index.get_current_count() == np.searchsorted(nodes, known)
    return (index, known, manifest["built"]) if found else None


def _content(ids: Rows, matrix: npt.NDArray[np.float32], count: int) -> str:
    """Return what distinguishes the first rows from others: which they are, and the vector of the last.

    A database put back from a backup can come to the same numbers with other images.
    """
    return hashlib.sha256(np.ascontiguousarray(ids[:count]).tobytes() + matrix[count - 1].tobytes()).hexdigest()


def _save(index: Any, path: Path, manifest: Description) -> None:
    with replacing(path) as temporary:
        index.save_index(str(temporary))
        size, digest = int(index.index_file_size()), sha256(temporary)
        if temporary.stat().st_size != size:  # hnswlib reports no write that failed
            raise OSError(f"the graph was not written whole, {size} bytes")
    # Between the two, the old manifest does not fit the new graph: it would be built again, not trusted.
    write_record(manifest_path(path), manifest | {"bytes": size, "sha256": digest})
