"""Which way a search goes: by what both have cost, never by a guess; and the same answers whichever it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roco_search.library.vectors.index import VectorIndex
from roco_search.library.vectors.matrix import Generation
from roco_search.library.vectors.planner import LOAD_RATE, Choice


def yes() -> bool:
    return True


def never() -> bool:
    raise AssertionError("the file need not be looked at")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.graph"
    with path.open("wb") as file:
        file.truncate(int(LOAD_RATE))  # one second to load
    return path


def test_the_first_query_is_exact(graph: Path) -> None:
    assert Choice().choose(graph, loaded=False, current=never) == "exact"
    assert Choice().choose(graph, loaded=True, current=never) == "exact"


def test_the_graph_is_loaded_when_exact_searches_have_taken_as_long(graph: Path) -> None:
    choice = Choice()
    ways = []
    for _ in range(12):  # an eighth of the second that loading takes
        ways.append(choice.choose(graph, loaded=False, current=yes))
        choice.measured("exact", 0.125, 1)
    assert ways == ["exact"] * 8 + ["approximate"] * 4


def test_a_graph_that_is_stale_or_absent_is_not_loaded(graph: Path, tmp_path: Path) -> None:
    choice = Choice(exact_spent=9, exact_count=90)
    assert choice.choose(graph, loaded=False, current=lambda: False) == "exact"
    assert choice.choose(tmp_path / "none", loaded=False, current=never) == "exact"


def test_once_loaded_the_faster_one_answers(graph: Path) -> None:
    choice = Choice(exact_spent=1, exact_count=10)
    assert choice.choose(graph, loaded=True, current=never) == "approximate", "to learn what it costs"
    choice.measured("approximate", 0.02, 10)
    assert choice.choose(graph, loaded=True, current=never) == "approximate"
    choice.measured("approximate", 50, 1)
    assert choice.choose(graph, loaded=True, current=never) == "exact"


@pytest.fixture
def index(tmp_path: Path) -> VectorIndex:
    chance = np.random.default_rng(5)
    centres = chance.normal(size=(40, 24))
    matrix = centres[chance.integers(0, 40, 2000)] + 0.5 * chance.normal(size=(2000, 24))
    matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    ids = np.arange(2000, dtype=np.int64) * 2 + 1
    return VectorIndex(tmp_path, Generation("l", 1, "f", 24, 2000, 3999), ids, matrix)


@pytest.mark.parametrize("share", [1, 3, 40, 1999])
def test_filtered_results_are_the_same_to_the_bit_on_both_ways(index: VectorIndex, share: int) -> None:
    among = index.ids[::share]
    queries = index.matrix[7:12]
    exact, scores = index.search(queries, 10, "exact", among)
    found, found_scores = index.search(queries, 10, "approximate", among)
    np.testing.assert_array_equal(found, exact)
    np.testing.assert_array_equal(found_scores, scores)
    every, every_scores = index.search(queries, 2000, "exact")
    for number in range(len(queries)):
        kept = np.isin(every[number], among)
        np.testing.assert_array_equal(exact[number], every[number][kept][: exact.shape[1]])
        np.testing.assert_array_equal(scores[number], every_scores[number][kept][: exact.shape[1]])


def test_a_long_lived_process_comes_to_the_graph_by_itself(index: VectorIndex) -> None:
    index.search(index.matrix[:1], 10, "approximate")  # builds and keeps the file
    again = VectorIndex(index.directory, index.generation, index.ids, index.matrix)
    now = iter(np.arange(0, 1e6, 5.0))
    again.choice.clock = lambda: float(next(now))
    again.search(again.matrix[:1], 10)
    assert again._graph is None, "nothing had been spent yet"
    again.search(again.matrix[:1], 10)
    assert again._graph is not None
    exact, _ = index.search(index.matrix[:50], 10, "exact")
    found, _ = again.search(again.matrix[:50], 10)
    shared = [len(set(one) & set(other)) / 10 for one, other in zip(exact, found, strict=True)]
    assert np.mean(shared) >= 0.99


def test_shared_among_cores_or_not_it_is_the_same(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = index.search(index.matrix[:1], 30, "exact")
    monkeypatch.setattr("roco_search.library.vectors.index.SHARED_FROM", 0)
    monkeypatch.setattr("roco_search.library.vectors.index.cores", lambda: 3)
    np.testing.assert_array_equal(index.search(index.matrix[:1], 30, "exact")[0], alone[0])
