"""Which way a search goes: by what both have cost, never by a guess; and the same answers whichever it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roco_search.library.vectors.index import VectorIndex
from roco_search.library.vectors.matrix import Generation
from roco_search.library.vectors.planner import LOAD_RATE, Cost, Planner


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


class Clock:
    """Shows the seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_query_is_exact(graph: Path) -> None:
    planner = Planner(graph, never)
    assert not planner.prefers_graph()
    planner.graph_loaded = True
    assert not planner.prefers_graph()


def test_the_graph_is_loaded_when_exact_searches_have_taken_as_long(graph: Path) -> None:
    clock = Clock()
    planner = Planner(graph, yes, clock)
    preferred = []
    for _ in range(12):  # an eighth of the second that loading takes
        preferred.append(planner.prefers_graph())
        with planner.measured(approximate=False, queries=1):
            clock.now += 0.125
    assert preferred == [False] * 8 + [True] * 4


def test_a_graph_that_is_stale_or_absent_is_not_loaded(graph: Path, tmp_path: Path) -> None:
    for planner in (Planner(graph, lambda: False), Planner(tmp_path / "none", never)):
        planner.exact = Cost(seconds=9, queries=90)
        assert not planner.prefers_graph()


def test_loading_the_graph_is_not_a_cost_of_searching_it(graph: Path) -> None:
    planner = Planner(graph, yes)
    with planner.measured(approximate=True, queries=1):
        planner.graph_loaded = True
    assert planner.approximate == Cost()
    with planner.measured(approximate=True, queries=3):
        pass
    assert planner.approximate.queries == 3


def test_once_loaded_the_faster_one_answers(graph: Path) -> None:
    clock = Clock()
    planner = Planner(graph, never, clock)
    planner.exact, planner.graph_loaded = Cost(seconds=1, queries=10), True
    assert planner.prefers_graph(), "to learn what it costs"
    with planner.measured(approximate=True, queries=10):
        clock.now += 0.02
    assert planner.prefers_graph()
    with planner.measured(approximate=True, queries=1):
        clock.now += 50
    assert not planner.prefers_graph()


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
    again.planner.clock = lambda: float(next(now))
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
