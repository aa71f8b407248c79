"""Look after a library: tell what it holds, check it, forget a part of it."""

import os
from contextlib import suppress
from dataclasses import asdict

from roco_search.errors import InputError, LibraryCorrupt
from roco_search.library.graph import graph_state, manifest_path, verify_graph
from roco_search.library.place import DATABASE, GRAPH, GRAPH_MANIFEST, MATRIX
from roco_search.library.records import EmbeddingSet, LibraryHealth, LibraryStatus, RootStatus
from roco_search.library.store import AT_OR_BELOW, Store, at_or_below
from roco_search.library.vectors import Generation, matrix_state, verify_matrix


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
            cache_bytes=_size(store, MATRIX, GRAPH, GRAPH_MANIFEST),
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
    for state, name in ((matrix, MATRIX), (graph, GRAPH)):
        if state == "damaged":
            path = store.directory / name
            with suppress(OSError):
                path.unlink(missing_ok=True)
                manifest_path(path).unlink(missing_ok=True)
            problems.append(f"{path} was damaged; it is built again from the database when it is next needed.")
    return LibraryHealth(str(store.directory), problems, files, frames, vectors, matrix, graph)


def remove(store: Store, path: str) -> int:
    """Forget everything at or below `path`; return the number of images forgotten."""
    condition, parameters = AT_OR_BELOW, at_or_below(path)
    below = "path = CAST(? AS TEXT) OR path >= CAST(? AS TEXT) AND path < CAST(? AS TEXT)"
    files = store.read(f"SELECT status FROM files WHERE {condition}", parameters)
    if not files and not store.read(f"SELECT 1 FROM roots WHERE {below}", parameters[:3]):
        raise InputError(f"The library knows nothing at {path}; `roco status` lists the folders that it knows.")
    with store.transaction():
        store.write(f"DELETE FROM files WHERE {condition}", parameters)
        store.write(f"DELETE FROM roots WHERE {below}", parameters[:3])
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
