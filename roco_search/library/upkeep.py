"""Look after a library: report what it holds, check it, forget a part of it, give back what is no longer needed."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.imaging.walk import is_below
from roco_search.library.directory import (
    CACHES,
    DATABASE,
    GRAPH,
    GRAPHS,
    MATRICES,
    discard_caches,
    real_path,
)
from roco_search.library.reports import LibraryHealth, LibraryStatus, RootStatus
from roco_search.library.shared import differing, shared_status
from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.frames import Attribute
from roco_search.library.truth.store import Store
from roco_search.library.vectors.graph import EFS, graph_state, keep_ef, verify_graph
from roco_search.library.vectors.index import VectorIndex, matrix_state, verify_matrix
from roco_search.library.vectors.matrix import Generation, are_sound
from roco_search.system.files import sweep

NEIGHBOURS = 10
GOOD_RECALL = 0.99  # What the approximate search promises; measured on 100,000 vectors it has 1.000.
SAMPLE = 200  # Queries of each kind by which a graph is judged: a share of 0.99 is then known to about 0.007.


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """Sizes in bytes of everything in the library's folder; `complete` is False if a reader held something back."""

    library: str
    before: int
    after: int
    complete: bool


def status(store: Store) -> LibraryStatus:
    """Return what the library holds."""
    with store.snapshot():
        active = store.embeddings.active()
        return LibraryStatus(
            library=str(store.directory),
            created=store.settings["created"],
            model=active,
            pending=store.embeddings.pending(),
            roots=_roots(store),
            files=store.files.count("indexed"),
            frames=store.frames.count(),
            modalities=_tally(store, "modality"),
            body_parts=_tally(store, "body_part"),
            captions=store.captions.count(),
            skipped=store.files.refused("unreadable"),
            not_images=store.files.refused("not_image"),
            database_bytes=_size(store, DATABASE, f"{DATABASE}-wal"),
            cache_bytes=_size(store, *CACHES),
            matrix=matrix_state(store, active) if active else "absent",
            graph=graph_state(store.directory / GRAPH, asdict(Generation.of(store, active))) if active else "absent",
            shared=shared_status(store.directory),
        )


def verify(store: Store) -> LibraryHealth:
    """Check the database, its counts, the caches, and of a copy the shared library; remove a damaged cache."""
    problems = [] if store.is_intact() else [_damaged(store)]
    with store.snapshot():
        active = store.embeddings.active()
        matrix = verify_matrix(store, active) if active else "absent"
        graph = verify_graph(store.directory / GRAPH, asdict(Generation.of(store, active))) if active else "absent"
        if active:
            problems += _set_problems(store, active)
        if not problems and not store.is_well_formed():
            problems.append(_damaged(store))
        files, frames, vectors = store.files.count("indexed"), store.frames.count(), store.embeddings.count()
    for state, names in ((matrix, MATRICES), (graph, GRAPHS)):
        if state == "damaged":
            path = store.directory / names[0]
            discard_caches(store.directory, names)
            problems.append(f"{path} was damaged; it is built again from the database when it is next needed.")
    problems += [] if problems else differing(store)
    return LibraryHealth(str(store.directory), problems, files, frames, vectors, matrix, graph)


@dataclass(frozen=True, slots=True)
class GraphRecall:
    """Which share of the `NEIGHBOURS` nearest a graph finds, holding `ef` candidates; None for texts if without any."""

    images: float
    texts: float | None
    ef: int

    @property
    def good(self) -> bool:
        """Whether that is enough for every kind of query that was measured."""
        return min(self.images, 1.0 if self.texts is None else self.texts) >= GOOD_RECALL


def recall(index: VectorIndex, texts: Callable[[], npt.NDArray[np.float32]] | None = None) -> GraphRecall | None:
    """Return the recall of the graph for images and for texts; None if there is no current graph.

    Images are vectors of the library itself. A vector that scores the same counts as found. As many candidates are held
    as are enough for both, and that is noted; a graph for which no number is enough is removed, and searches are exact
    then.

    Parameters
    ----------
    index
        The vectors with their graph.
    texts
        Returns embeddings of texts by the library's own model, float32 ``(n, dim)`` of unit norm. They are far from all
        images, which makes them the harder kind. It is not called if there is no graph.
    """
    if graph_state(index.directory / GRAPH, asdict(index.generation)) != "current":
        return None
    chosen = np.random.default_rng(0).permutation(len(index.ids))[:SAMPLE]
    images = np.asarray(index.matrix[np.sort(chosen)])
    kinds = [images] if texts is None else [images, texts()]
    exact = [index.search(queries, NEIGHBOURS, "exact")[1][:, -1:] for queries in kinds]
    graph = index.graph()
    before = graph.ef
    for graph.ef in EFS:
        found = [index.search(queries, NEIGHBOURS, "approximate")[1] for queries in kinds]
        shares = [float((scores >= last).mean()) for scores, last in zip(found, exact, strict=True)]
        measured = GraphRecall(shares[0], None if texts is None else shares[1], graph.ef)
        if measured.good:
            break
    if not measured.good:
        discard_caches(index.directory, GRAPHS)
    elif texts is None and measured.ef < before:
        graph.ef = before  # Images need less than texts, which were measured earlier.
        return replace(measured, ef=before)
    else:
        keep_ef(index.directory / GRAPH, graph.ef)
    return measured


def typical_texts(active: EmbeddingSet) -> npt.NDArray[np.float32]:
    """Return embeddings of `SAMPLE` texts such as people ask for, float32 ``(n, dim)`` of unit norm.

    Raises
    ------
    ModelError, ModelMismatch
        If the library's model cannot be had.
    """
    from roco_search.models import load_encoder
    from roco_search.vocabulary.concepts import typical_queries

    queries = typical_queries()
    chosen = np.random.default_rng(0).permutation(len(queries))[:SAMPLE]
    encoder = load_encoder(active.model, "cpu")
    active.check_model(encoder)
    return encoder.encode_texts([queries[number] for number in sorted(chosen)])


def vacuum(store: Store) -> Vacuumed:
    """Write the database anew without its gaps, and remove caches that no longer fit.

    For that time SQLite needs the size of the database once more, on the library's disk and in the temporary folder.
    """
    directory = store.directory
    before = _folder_size(store)
    store.embeddings.delete_retired()
    sweep(directory)
    with store.snapshot():
        active = store.embeddings.active()
        generation = asdict(Generation.of(store, active)) if active else {}
        stale = active is None or matrix_state(store, active) == "stale"
    if stale or graph_state(directory / GRAPH, generation) in ("stale", "behind"):  # it may hold what was removed
        discard_caches(directory)
    with store.transaction():
        store.captions.forget_traces()
    store.vacuum()
    complete = store.empty_journal()
    return Vacuumed(str(directory), before, _folder_size(store), complete)


def remove(store: Store, path: str | os.PathLike[str]) -> int:
    """Forget everything at or below `path`; return the number of image files forgotten.

    Nothing of it stays behind: SQLite overwrites what it deletes (`secure_delete`), the words of its captions leave the
    full-text index, the journal is emptied, and the caches, which hold the vectors too, are removed.

    Raises
    ------
    InputError
        If the library knows nothing there.
    """
    folder = real_path(path)
    count = store.files.count("indexed", folder)
    known = store.files.any_below(folder) or store.captions.any_below(folder)
    if not known and not any(is_below(root.path, folder) for root in store.files.roots()):
        raise InputError(f"The library knows nothing at {folder}; `roco status` lists the folders that it knows.")
    with store.transaction():
        store.files.forget(folder)
        store.captions.forget(folder)
        store.captions.forget_traces()
    discard_caches(store.directory)
    store.empty_journal()
    return count


def _roots(store: Store) -> list[RootStatus]:
    return [
        RootStatus(root.path, root.frames, os.path.lexists(root.path), store.files.count("indexed", root.path))
        for root in store.files.roots()
    ]


def _tally(store: Store, attribute: Attribute) -> dict[str, int]:
    """Return the number of frames with each term, the most frequent first."""
    counts = store.frames.count_terms(attribute)
    return dict(sorted(counts.items(), key=lambda term: (-term[1], term[0])))


def _size(store: Store, *names: str) -> int:
    paths = [store.directory / name for name in names]
    return sum(path.stat().st_size for path in paths if path.exists())


def _folder_size(store: Store) -> int:
    return sum(path.stat().st_size for path in store.directory.iterdir() if path.is_file())


def _damaged(store: Store) -> str:
    return (
        f"The database {store.directory / DATABASE} is damaged; delete the folder {store.directory} and run "
        f"`roco index` on your images again."
    )


def _set_problems(store: Store, active: EmbeddingSet) -> list[str]:
    count, misshapen = store.embeddings.count(active), store.embeddings.count_misshapen(active)
    missing = store.frames.count() - count
    sound = are_sound(store, active)
    if count == active.count and not misshapen and sound and (not missing or store.embeddings.pending()):
        return []
    rows = f"{count} vectors, {active.count} counted, {misshapen} misshapen, {missing} missing"
    rows += "" if sound else ", some no numbers"
    return [
        f"The vectors in {store.directory / DATABASE} do not fit its images ({rows}); "
        f"delete the folder {store.directory} and run `roco index` again."
    ]
