"""The 8-bit copy of a large matrix: it saves reading, and never changes an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roco_search.library import Library
from roco_search.library.directory import PREFILTER
from roco_search.library.vectors import prefilter as coarse_module
from roco_search.library.vectors.index import VectorIndex, products
from roco_search.library.vectors.matrix import Generation
from roco_search.library.vectors.prefilter import Prefilter, write_prefilter
from tests.disk import files_up_to
from tests.library.toy import Opened, draw

PARTS = [(100, "a"), (50, "b"), (10, "c")]


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse_module, "FROM", 1)


def unit(matrix: np.ndarray) -> np.ndarray:
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def made(matrix: np.ndarray, directory: Path, *, rows: int | None = None) -> Prefilter:
    """A copy of the first rows of a matrix."""
    parts = [(len(matrix) if rows is None else rows, "content")]
    (directory / PREFILTER).unlink(missing_ok=True)
    write_prefilter(directory, matrix[:rows], parts)
    found = Prefilter.open(directory, matrix, parts)
    assert found is not None
    return found


def index_of(matrix: np.ndarray, directory: Path, prefilter: Prefilter | None) -> VectorIndex:
    ids = np.arange(len(matrix), dtype=np.int64) * 3 + 7
    return VectorIndex(
        directory, Generation("l", 1, "f", matrix.shape[1], len(matrix), int(ids[-1])), ids, matrix, prefilter
    )


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6), count=st.integers(20, 3000), spread=st.sampled_from([0.0, 0.01, 0.3, 3.0]),
    k=st.integers(1, 40), later=st.floats(0, 0.05), share=st.sampled_from([None, 0.05, 0.5, 1.0]),
)  # fmt: skip
def test_answers_are_those_of_the_whole_matrix(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int, count: int, spread: float, k: int, later: float, share: float | None,
) -> None:  # fmt: skip
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(5, 48))
    matrix = unit(centres[chance.integers(0, 5, count)] + spread * chance.normal(size=(count, 48)))
    directory = tmp_path_factory.getbasetemp()
    with_copy = index_of(matrix, directory, made(matrix, directory, rows=count - int(count * later)))
    without = index_of(matrix, directory, None)
    query = unit(matrix[:1] + 0.3 * chance.normal(size=(1, 48)))
    among = None if share is None else chance.choice(without.ids, max(1, int(share * count)), replace=False)
    for found, expected in zip(
        with_copy.search(query, k, "exact", among), without.search(query, k, "exact", among), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6), count=st.integers(2000, 6000), levels=st.sampled_from([1, 3, 40, 0]),
    scale=st.sampled_from([1e-6, 0.1, 8.0, 300.0]), length=st.sampled_from([0.05, 1.0, 12.0]), k=st.integers(1, 40),
    share=st.sampled_from([None, 0.5, 0.97]),
)  # fmt: skip
def test_a_bias_for_each_row_is_added_before_anything_is_ruled_out(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int, count: int, levels: int, scale: float, length: float, k: int, share: float | None,
) -> None:  # fmt: skip
    """The answer is numpy's over every row: queries of any length, biases with few levels (ties) or as many as rows."""
    chance = np.random.default_rng(seed)
    distinct = unit(chance.normal(size=(count // 2, 48)))
    matrix = distinct[chance.integers(0, len(distinct), count)]
    bias = (scale * (chance.normal(size=count) if not levels else chance.integers(0, levels, count))).astype(np.float32)
    query = (length * unit(matrix[:1] + 0.3 * chance.normal(size=(1, 48)))).astype(np.float32)
    rows = np.arange(count) if share is None else np.flatnonzero(chance.random(count) < share)
    index = index_of(matrix, tmp_path_factory.getbasetemp(), made(matrix, tmp_path_factory.getbasetemp()))
    found, scores = index.search(query, k, "exact", None if share is None else index.ids[rows], bias)
    expected = (matrix.astype(np.float64) * query[0].astype(np.float64)).sum(axis=1).astype(np.float32) + bias
    best = rows[np.lexsort((rows, -expected[rows]))[:k]]
    np.testing.assert_array_equal(found[0], index.ids[best])
    np.testing.assert_array_equal(scores[0], expected[best])


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), dim=st.integers(1, 400), k=st.integers(1, 20))
def test_no_row_above_the_last_of_the_nearest_is_ruled_out(
    tmp_path_factory: pytest.TempPathFactory, seed: int, dim: int, k: int
) -> None:
    chance = np.random.default_rng(seed)
    matrix = unit(chance.normal(size=(500, dim)) ** 3)
    query = unit(chance.normal(size=(1, dim)) ** 3)[0]
    kept = made(matrix, tmp_path_factory.getbasetemp()).near(query, k, len(matrix), None)
    assert kept is not None
    scores = matrix.astype(np.float64) @ query
    assert set(np.flatnonzero(scores >= np.sort(scores)[-k])) <= set(kept.tolist())


def test_most_rows_are_ruled_out_and_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = unit(np.random.default_rng(0).normal(size=(20_000, 384)))
    index = index_of(matrix, tmp_path, made(matrix, tmp_path))
    multiplied = []

    def watched(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
        multiplied.append(len(rows))
        return products(rows, queries)

    monkeypatch.setattr("roco_search.library.vectors.index.products", watched)
    ids, _ = index.search(unit(matrix[:1] + matrix[1:2]), 10, "exact")
    assert set(index.ids[:2]) <= set(ids[0]) and 10 <= multiplied[0] < len(matrix) / 100


def test_it_is_of_the_content_it_was_made_from(tmp_path: Path) -> None:
    matrix = unit(np.random.default_rng(0).normal(size=(160, 8)))
    write_prefilter(tmp_path, matrix[:150], PARTS[:2])
    for parts, rows in ((PARTS, 150), (PARTS[:2], 150), (PARTS[:1], None), ([(100, "z"), *PARTS[1:]], None)):
        found = Prefilter.open(tmp_path, matrix, parts)
        assert (None if found is None else len(found.codes)) == rows
    (tmp_path / PREFILTER).write_bytes((tmp_path / PREFILTER).read_bytes()[:-1])
    assert Prefilter.open(tmp_path, matrix, PARTS) is None, "it is shorter than it says"


def test_it_is_made_again_only_when_many_rows_are_new(tmp_path: Path) -> None:
    matrix = unit(np.random.default_rng(0).normal(size=(200, 8)))
    write_prefilter(tmp_path, matrix[:150], PARTS[:2])
    before = (tmp_path / PREFILTER).stat().st_ino
    write_prefilter(tmp_path, matrix[:155], [*PARTS[:2], (5, "few")])
    assert (tmp_path / PREFILTER).stat().st_ino == before
    write_prefilter(tmp_path, matrix, [*PARTS[:2], (50, "many")])
    found = Prefilter.open(tmp_path, matrix, [*PARTS[:2], (50, "many")])
    assert found is not None and len(found.codes) == 200 and found.equals(matrix)


def test_a_small_matrix_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = unit(np.random.default_rng(0).normal(size=(150, 8)))
    write_prefilter(tmp_path, matrix, PARTS[:2])
    monkeypatch.setattr(coarse_module, "FROM", matrix.nbytes + 1)
    write_prefilter(tmp_path, matrix, PARTS[:2])
    assert not (tmp_path / PREFILTER).exists()


def test_without_room_there_is_none_and_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with files_up_to(2):
        write_prefilter(tmp_path, unit(np.ones((4, 8))), PARTS[:1])
    assert list(tmp_path.iterdir()) == []


def test_a_library_keeps_it_private_and_verify_finds_a_changed_byte(opened: Opened, scans: Path) -> None:
    for number in range(40):
        draw(scans / f"{number:02}.png", number)
    opened.index(scans)
    path = opened.directory / PREFILTER
    assert path.stat().st_mode & 0o777 == 0o600 and opened.library.verify().problems == []
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (problem,) = opened.library.verify().problems
    assert "damaged" in problem and not path.exists()
    with Library.open(opened.directory) as library:
        library.vectors()
    assert path.exists() and opened.library.verify().problems == []
