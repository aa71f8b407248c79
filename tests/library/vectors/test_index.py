"""The caches: right when they are right, found out when they are not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from roco_search.library import Library, upkeep
from roco_search.library.directory import GRAPH
from roco_search.library.vectors import graph
from roco_search.library.vectors.graph import first_equal, graph_state, verify_graph
from roco_search.library.vectors.index import VectorIndex
from roco_search.library.vectors.matrix import HEADER, Generation
from roco_search.library.vectors.planner import Mode
from tests.library.toy import Opened, ToyEncoder, draw


def index_of(matrix: np.ndarray, directory: Path) -> VectorIndex:
    count, dim = matrix.shape
    ids = np.arange(count, dtype=np.int64) * 3 + 7
    return VectorIndex(directory, Generation("l", 1, "f", dim, count, int(ids[-1])), ids, matrix)


def unit(matrix: np.ndarray) -> np.ndarray:
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6), count=st.integers(1, 60), distinct=st.integers(1, 60), k=st.integers(1, 80),
    queries=st.integers(1, 12),
)  # fmt: skip
def test_exact_search_equals_sorting_everything(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, distinct: int, k: int, queries: int
) -> None:
    chance = np.random.default_rng(seed)
    matrix = unit(chance.normal(size=(distinct, 8)))[chance.integers(0, distinct, count)]
    wanted = unit(chance.normal(size=(queries, 8)))
    index = index_of(matrix, tmp_path_factory.getbasetemp())
    ids, scores = index.search(wanted, k, "exact")
    assert ids.shape == scores.shape == (queries, min(k, count)) and ids.dtype == np.int64
    for number, query in enumerate(wanted):
        all_scores = (matrix.astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
        order = np.lexsort((index.ids, -all_scores))[:k]
        np.testing.assert_array_equal(ids[number], index.ids[order])
        np.testing.assert_array_equal(scores[number], all_scores[order])


def test_graph_finds_what_the_exact_search_finds(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    centres = chance.normal(size=(60, 32))
    matrix = unit(centres[chance.integers(0, 60, 3000)] + 0.5 * chance.normal(size=(3000, 32)))
    queries = unit(matrix[:50] + 0.2 * chance.normal(size=(50, 32)))
    index = index_of(matrix, tmp_path)
    exact, exact_scores = index.search(queries, 10, "exact")
    found, scores = index.search(queries, 10, "approximate")
    recall = np.mean([len(set(one) & set(other)) / 10 for one, other in zip(exact, found, strict=True)])
    assert recall >= 0.99
    same = exact == found
    np.testing.assert_array_equal(scores[same], exact_scores[same])
    again = index_of(matrix, tmp_path)
    loaded, _ = again.search(queries, 10, "approximate")
    np.testing.assert_array_equal(loaded, found)
    assert index.search(queries[:1], 10**6, "approximate")[0].shape == (1, 3000), "k is limited to what is there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vectors.graph", "vectors.graph.json"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_graph_of_many_equal_vectors_answers(tmp_path: Path) -> None:
    matrix = unit(np.repeat(np.eye(4, 8), 400, axis=0))
    for k in (5, 300, 1000, 1600):
        index = index_of(matrix, tmp_path)
        ids, scores = index.search(matrix[::300], k, "approximate")
        exact_ids, exact_scores = index.search(matrix[::300], k, "exact")
        np.testing.assert_array_equal(ids, exact_ids)
        np.testing.assert_array_equal(scores, exact_scores)


@pytest.mark.parametrize("mode", ["exact", "approximate"])
def test_nothing_is_found_where_nothing_is(tmp_path: Path, mode: Mode) -> None:
    nothing = np.empty((0, 8), np.float32)
    index = VectorIndex(tmp_path, Generation("l", 1, "f", 8, 0, 0), np.empty(0, np.int64), nothing)
    ids, scores = index.search(np.ones((2, 8), np.float32), 5, mode)
    assert ids.shape == scores.shape == (2, 0)
    assert index_of(np.eye(3, 8, dtype=np.float32), tmp_path).search(nothing[:0], 5, mode)[0].shape == (0, 3)


def share_found(index: VectorIndex, queries: np.ndarray) -> float:
    """Recall@10 of the graph by numpy's own sorting, ids compared one by one."""
    found, _ = index.search(queries, 10, "approximate")
    nearest = index.ids[np.argsort(-(queries @ index.matrix.T), axis=1)[:, :10]]
    return float(np.mean([len(set(one) & set(other)) / 10 for one, other in zip(found, nearest, strict=True)]))


@pytest.mark.parametrize(("seed", "noise", "away"), [(0, 0.25, 1.3), (1, 0.6, 3.0)])
def test_as_many_candidates_are_held_as_texts_need(tmp_path: Path, seed: int, noise: float, away: float) -> None:
    """Texts are embedded far from all images: a graph finds every image and loses texts."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(40, 32))
    matrix = unit(centres[chance.integers(0, 40, 4000)] + noise * chance.normal(size=(4000, 32)) + 2)
    texts = unit(matrix[chance.integers(0, 4000, 200)] + away * unit(chance.normal(size=(200, 32))))
    index = index_of(matrix, tmp_path)
    index.graph().ef = 40
    images_found, texts_found = share_found(index, matrix[:200]), share_found(index, texts)
    assert images_found >= 0.99 > texts_found, "measured with images alone it would pass"
    with pytest.MonkeyPatch.context() as patch:
        for module in (upkeep, graph):
            patch.setattr(module, "EFS", (40, 60, 80, 120, 200, 800))
        measured = upkeep.recall(index, lambda: texts)
        assert measured is not None and measured.good and measured.texts is not None
        assert measured.ef > 40 and measured.texts == pytest.approx(share_found(index, texts), abs=0.003)
        again = index_of(matrix, tmp_path)
        assert again.graph().ef == measured.ef, "it is noted beside the graph"
        assert share_found(again, texts) >= 0.987 and share_found(again, matrix[:200]) >= 0.99
        assert upkeep.recall(again) == upkeep.GraphRecall(measured.images, None, measured.ef), "images lower nothing"
        patch.setattr(upkeep, "EFS", (40,))
        refused = upkeep.recall(again, lambda: texts)
    assert refused is not None and not refused.good
    assert list(tmp_path.iterdir()) == [], "no number of candidates is enough: searches are exact"


@pytest.mark.parametrize("step", [1, 5, 40])
def test_graph_grows_by_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Arriving cluster by cluster, with duplicates, a few at a time."""
    chance = np.random.default_rng(step)
    centres = chance.normal(size=(40, 24)).repeat(12, axis=0)
    matrix = unit(centres + 0.3 * chance.normal(size=centres.shape))
    matrix[450:455] = matrix[3]
    index_of(matrix[:400], tmp_path).search(matrix[:1], 5, "approximate")
    built: list[int] = []
    empty = graph._empty

    def counting(rows: np.ndarray, nodes: Any) -> Any:
        built.append(len(rows))
        return empty(rows, nodes)

    monkeypatch.setattr(graph, "_empty", counting)
    for count in range(400 + step, 481, step):
        index = index_of(matrix[:count], tmp_path)
        assert graph_state(tmp_path / GRAPH, asdict(index.generation)) == "behind"
        index.graph()
        assert verify_graph(tmp_path / GRAPH, asdict(index.generation)) == "current"
    exact, _ = index.search(matrix, 10, "exact")
    found, _ = index.search(matrix, 10, "approximate")
    recall = np.mean([len(set(one) & set(other)) / 10 for one, other in zip(exact, found, strict=True)])
    assert recall >= 0.99
    assert not built, "only what was new was added"
    matrix = np.concatenate([matrix, unit(chance.normal(size=(1, 24)))])
    index_of(matrix, tmp_path).search(matrix[:1], 5, "approximate")
    assert built == [481], "past a fifth it is built anew"


def test_only_who_asks_for_the_graph_waits_for_it_to_grow(tmp_path: Path) -> None:
    matrix = unit(np.random.default_rng(6).normal(size=(120, 24)))
    index_of(matrix[:100], tmp_path).search(matrix[:1], 5, "approximate")
    index = index_of(matrix, tmp_path)
    for _ in range(200):
        index.search(matrix[:5], 5)
    assert graph_state(tmp_path / GRAPH, asdict(index.generation)) == "behind"


@pytest.mark.parametrize("change", ["one gone", "last one another", "ids moved"])
def test_graph_whose_vectors_changed_is_built_again(tmp_path: Path, change: str) -> None:
    matrix = unit(np.random.default_rng(5).normal(size=(260, 24)))
    index_of(matrix[:200], tmp_path).search(matrix[:1], 3, "approximate")
    now, ids = matrix, np.arange(260, dtype=np.int64) * 3 + 7
    if change == "one gone":
        now, ids = np.delete(matrix, 20, axis=0), np.delete(ids, 20)
    elif change == "last one another":
        now = matrix.copy()
        now[199] = -matrix[199]
    else:
        ids[50] += 1
    index = VectorIndex(tmp_path, Generation("l", 1, "f", 24, len(ids), int(ids[-1])), ids, now)
    found, scores = index.search(now, 1, "approximate")
    np.testing.assert_array_equal(found[:, 0], ids)
    np.testing.assert_allclose(scores, 1, atol=1e-6)


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(0, 30), st.integers(1, 6)),
        elements=st.sampled_from([0.0, 1.0, -2.5]),
    )
)
def test_equal_rows_are_known(matrix: np.ndarray) -> None:
    rows = [row.tobytes() for row in matrix]
    assert first_equal(matrix).tolist() == [rows.index(row) for row in rows]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another_dimension(path: Path) -> None:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=48)
    index.init_index(max_elements=200)
    index.add_items(np.random.default_rng(0).normal(size=(200, 48)), np.arange(200))
    index.save_index(str(path))


@pytest.mark.parametrize("damage", [truncate, flip, empty, of_another_dimension])
def test_wrong_graph_is_caught_and_built_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    matrix = unit(np.random.default_rng(1).normal(size=(200, 24)))
    right, _ = index_of(matrix, tmp_path).search(matrix[:20], 5, "approximate")
    path = tmp_path / "vectors.graph"
    sound = path.read_bytes()
    damage(path)
    generation = json.loads((tmp_path / "vectors.graph.json").read_text())["generation"]
    assert verify_graph(path, generation) in ("stale", "damaged")
    found, _ = index_of(matrix, tmp_path).search(matrix[:20], 5, "approximate")
    np.testing.assert_array_equal(found, right)
    assert path.stat().st_size == len(sound) and verify_graph(path, generation) == "current"


def test_graph_of_other_vectors_is_not_taken(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    old, new = unit(chance.normal(size=(150, 24))), unit(chance.normal(size=(160, 24)))
    index_of(old, tmp_path).search(old[:1], 3, "approximate")
    ids, scores = index_of(new, tmp_path).search(new, 1, "approximate")
    np.testing.assert_array_equal(ids[:, 0], np.arange(160) * 3 + 7)
    np.testing.assert_allclose(scores, 1, atol=1e-6)


@pytest.fixture
def filled(opened: Opened, scans: Path) -> Opened:
    for number in range(12):
        draw(scans / f"{number:02}.png", number)
    opened.index(scans)
    return opened


def every(opened: Opened) -> tuple[list[int], np.ndarray]:
    with Library.open(opened.directory) as library:
        ids, scores = library.search(opened.encoder.encode_texts(["chest"]), 99)
    return ids[0].tolist(), scores


def test_matrix_is_mapped_and_private(filled: Opened) -> None:
    index = filled.library.vectors()
    assert isinstance(index.matrix, np.memmap) and index.matrix.shape == (12, 24)
    modes = {path.name: path.stat().st_mode & 0o777 for path in filled.directory.iterdir()}
    assert {"library.db", "library.db-wal", "library.db-shm", "vectors.matrix", "writer.lock"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert filled.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", [truncate, empty, Path.unlink])
def test_wrong_matrix_is_caught_and_built_again(filled: Opened, damage: Callable[[Path], None]) -> None:
    right = every(filled)
    path = filled.directory / "vectors.matrix"
    sound = path.read_bytes()
    damage(path)
    found = every(filled)
    assert found[0] == right[0]
    np.testing.assert_array_equal(found[1], right[1])
    assert path.read_bytes() == sound


def test_flipped_bit_in_the_matrix_is_found_by_verify(filled: Opened) -> None:
    right = every(filled)
    path = filled.directory / "vectors.matrix"
    content = bytearray(path.read_bytes())
    content[HEADER + 12 * 8 + 100] ^= 0x10
    path.write_bytes(bytes(content))
    health = filled.library.verify()
    assert health.matrix == "damaged" and len(health.problems) == 1 and not path.exists()
    assert every(filled)[0] == right[0]
    assert filled.library.verify().problems == []


def test_stale_matrix_is_built_again(filled: Opened, scans: Path) -> None:
    path = filled.directory / "vectors.matrix"
    stale = path.read_bytes()
    (scans / "03.png").unlink()
    draw(scans / "new.png", 77)
    filled.index(scans)
    path.write_bytes(stale)
    assert filled.library.status().matrix == "stale"
    assert every(filled)[0] == [*filled_ids(filled)]


def filled_ids(filled: Opened) -> list[int]:
    with Library.open(filled.directory) as library:
        query = filled.encoder.encode_texts(["chest"])[0]
        rows = [(row[0], np.frombuffer(row[1], "<f4")) for row in filled.rows("SELECT frame_id, vector FROM vectors")]
        assert len(rows) == len(library.vectors().ids)
    return [frame_id for frame_id, vector in sorted(rows, key=lambda row: (-float(row[1] @ query), row[0]))]


def test_database_from_a_backup_is_not_answered_from_the_newer_cache(
    filled: Opened, scans: Path, tmp_path: Path
) -> None:
    filled.library.close()
    shutil.copy(filled.directory / "library.db", tmp_path / "backup.db")
    for seed in (200, 300):
        with Opened(filled.directory, ToyEncoder()) as opened:
            draw(scans / "later.png", seed)
            opened.index(scans)
            ids, _ = every(opened)
            assert ids == filled_ids(opened)
        cache = (filled.directory / "vectors.matrix").read_bytes()
        if seed == 200:
            shutil.copy(tmp_path / "backup.db", filled.directory / "library.db")
            newer = cache
    (filled.directory / "vectors.matrix").write_bytes(newer)
    with Opened(filled.directory, ToyEncoder()) as opened:
        assert every(opened)[0] == filled_ids(opened)


def test_nothing_is_left_when_everything_is_removed(filled: Opened, scans: Path) -> None:
    assert filled.library.remove(scans) == 12
    assert not (filled.directory / "vectors.matrix").exists()
