"""Look after a library: tell what it holds, check it, forget a part of it, give back what is no longer needed."""

import os
from dataclasses import asdict, dataclass

import numpy as np

from roco_search.errors import InputError, LibraryCorrupt
from roco_search.library.directory import (
    CACHES,
    COARSE,
    DATABASE,
    GRAPH,
    GRAPH_MANIFEST,
    IDS,
    MATRIX,
    MATRIX_MANIFEST,
    discard_caches,
)
from roco_search.library.records import EmbeddingSet, LibraryHealth, LibraryStatus, RootStatus
from roco_search.library.truth.store import AT_OR_BELOW, Store, at_or_below
from roco_search.library.vectors.graph import graph_state, verify_graph
from roco_search.library.vectors.index import Generation, VectorIndex, matrix_state, verify_matrix
from roco_search.system.files import sweep

NEIGHBOURS = 10
GOOD_RECALL = 0.99  # What the approximate search promises; measured on 100,000 vectors it has 1.000.
SAMPLE = 200  # Queries by which a graph is judged: a share of 0.99 is then known to about 0.007.


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
        active = store.embedding_set("active")
        return LibraryStatus(
            library=str(store.directory),
            created=store.settings["created"],
            model=active,
            pending=store.embedding_set("pending"),
            roots=_roots(store),
            files=_number(store, "SELECT COUNT(*) FROM files WHERE status = 'indexed'"),
            frames=_number(store, "SELECT COUNT(*) FROM frames"),
            modalities=_tally(store, "modality"),
            body_parts=_tally(store, "body_part"),
            skipped=store.refused("unreadable"),
            not_images=store.refused("not_image"),
            database_bytes=_size(store, DATABASE, f"{DATABASE}-wal"),
            cache_bytes=_size(store, *CACHES),
            matrix=matrix_state(store, active) if active else "absent",
            graph=graph_state(store.directory / GRAPH, asdict(Generation.of(store, active))) if active else "absent",
        )


def verify(store: Store) -> LibraryHealth:
    """Check the database, its counts and the caches; remove a damaged cache."""
    problems = _database_problems(store)
    with store.snapshot():
        active = store.embedding_set("active")
        matrix = verify_matrix(store, active) if active else "absent"
        graph = verify_graph(store.directory / GRAPH, asdict(Generation.of(store, active))) if active else "absent"
        if active:
            problems += _set_problems(store, active)
        files, frames, vectors = (
            _number(store, f"SELECT COUNT(*) FROM {name}") for name in ("files", "frames", "vectors")
        )
    for state, names in ((matrix, (MATRIX, IDS, MATRIX_MANIFEST, COARSE)), (graph, (GRAPH, GRAPH_MANIFEST))):
        if state == "damaged":
            path = store.directory / names[0]
            discard_caches(store.directory, names)
            problems.append(f"{path} was damaged; it is built again from the database when it is next needed.")
    return LibraryHealth(str(store.directory), problems, files, frames, vectors, matrix, graph)


def recall(store: Store, index: VectorIndex) -> float | None:
    """Return how many of the `NEIGHBOURS` nearest the graph finds, as a share; None if there is no current graph.

    What scores the same counts as found. A graph that finds too few is removed: searches are exact without it.
    """
    if graph_state(store.directory / GRAPH, asdict(index.generation)) != "current":
        return None
    chosen = np.random.default_rng(0).permutation(len(index.ids))[:SAMPLE]
    queries = np.asarray(index.matrix[np.sort(chosen)])
    _, exact = index.search(queries, NEIGHBOURS, "exact")
    _, found = index.search(queries, NEIGHBOURS, "approximate")
    share = float((found >= exact[:, -1:]).mean())
    if share < GOOD_RECALL:
        discard_caches(store.directory, (GRAPH, GRAPH_MANIFEST))
    return share


def vacuum(store: Store) -> Vacuumed:
    """Write the database anew without its gaps, and remove caches that no longer fit.

    For that time SQLite needs the size of the database once more, on the library's disk and in the temporary folder.
    """
    directory = store.directory
    before = _folder_size(store)
    store.delete_retired()
    sweep(directory)
    with store.snapshot():
        active = store.embedding_set("active")
        generation = asdict(Generation.of(store, active)) if active else {}
        stale = active is None or matrix_state(store, active) == "stale"
    if stale or graph_state(directory / GRAPH, generation) in ("stale", "behind"):  # it may hold what was removed
        discard_caches(directory)
    store.read("VACUUM")
    complete = empty_journal(store)
    return Vacuumed(str(directory), before, _folder_size(store), complete)


def empty_journal(store: Store) -> bool:
    """Bring everything from the journal into the database and cut it to nothing; False while someone still reads it."""
    [(busy, _, _)] = store.read("PRAGMA wal_checkpoint(TRUNCATE)")
    return not busy


def remove(store: Store, path: str) -> int:
    """Forget everything at or below `path`; return the number of images forgotten.

    Nothing of it stays behind: SQLite overwrites what it deletes (`secure_delete`), the journal is emptied, and the
    caches, which hold the vectors too, are removed.
    """
    condition, parameters = AT_OR_BELOW, at_or_below(path)
    below = "path = CAST(? AS TEXT) OR path >= CAST(? AS TEXT) AND path < CAST(? AS TEXT)"
    files = store.read(f"SELECT status FROM files WHERE {condition}", parameters)
    if not files and not store.read(f"SELECT 1 FROM roots WHERE {below}", parameters[:3]):
        raise InputError(f"The library knows nothing at {path}; `roco status` lists the folders that it knows.")
    with store.transaction():
        store.write(f"DELETE FROM files WHERE {condition}", parameters)
        store.write(f"DELETE FROM roots WHERE {below}", parameters[:3])
    discard_caches(store.directory)
    empty_journal(store)
    return sum(status == "indexed" for (status,) in files)


def _roots(store: Store) -> list[RootStatus]:
    count = f"SELECT COUNT(*) FROM files WHERE status = 'indexed' AND {AT_OR_BELOW}"
    return [
        RootStatus(path, frames, os.path.lexists(path), store.read(count, at_or_below(path))[0][0])
        for path, frames in store.read("SELECT path, frames FROM roots ORDER BY path")
    ]


def _tally(store: Store, column: str) -> dict[str, int]:
    sql = f"SELECT {column}, COUNT(*) FROM frames WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    return dict(store.read(sql))


def _number(store: Store, sql: str) -> int:
    return int(store.read(sql)[0][0])


def _size(store: Store, *names: str) -> int:
    paths = [store.directory / name for name in names]
    return sum(path.stat().st_size for path in paths if path.exists())


def _folder_size(store: Store) -> int:
    return sum(path.stat().st_size for path in store.directory.iterdir() if path.is_file())


def _database_problems(store: Store) -> list[str]:
    try:
        found = [str(row[0]) for row in store.read("PRAGMA integrity_check(3)")]
        orphans = store.read("PRAGMA foreign_key_check")
    except LibraryCorrupt:
        found, orphans = ["damaged"], []
    if found == ["ok"] and not orphans:
        return []
    return [
        f"The database {store.directory / DATABASE} is damaged; delete the folder {store.directory} and run "
        f"`roco index` on your images again."
    ]


def _set_problems(store: Store, active: EmbeddingSet) -> list[str]:
    sql = "SELECT COUNT(*), COUNT(*) FILTER (WHERE LENGTH(vector) != ?) FROM vectors WHERE set_id = ?"
    [(count, misshapen)] = store.read(sql, [4 * active.dim, active.id])
    missing = _number(store, "SELECT COUNT(*) FROM frames") - count
    if count == active.count and not misshapen and (not missing or store.embedding_set("pending")):
        return []
    return [
        f"The vectors in {store.directory / DATABASE} do not fit its images ({count} vectors, {active.count} counted, "
        f"{misshapen} misshapen, {missing} missing); delete the folder {store.directory} and run `roco index` again."
    ]
