"""Retrieval metrics: by hand on small pools, and against scikit-learn on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score

from roco_search.errors import InputError
from roco_search.evaluation import ranks, roco_v1, shuffled_32, summarize, whole_pool


def unit(random: np.random.Generator, n: int, dim: int = 8) -> np.ndarray:
    vectors = random.normal(size=(n, dim)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def towers(scores: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings whose dot products are exactly these scores."""
    matrix = np.array(scores, np.float32)
    return matrix, np.eye(len(matrix), dtype=np.float32)


def test_ranks_by_hand() -> None:
    images, texts = towers([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.3, 0.2, 0.1]])
    assert ranks(images, texts, ["a", "b", "c"]).tolist() == [1, 2, 3]
    assert ranks(texts, images, ["a", "b", "c"]).tolist() == [1, 1, 3], "third column: 0.2 above, 0.1 level"


def test_a_tie_with_another_caption_is_a_miss() -> None:
    images, texts = towers([[0.5, 0.5, 0.1], [0.0, 0.9, 0.0], [0.7, 0.7, 0.7]])
    assert ranks(images, texts, ["a", "b", "c"]).tolist() == [2, 1, 3]
    constant = np.ones((40, 4), np.float32) / 2
    assert (ranks(constant, constant, [str(i) for i in range(40)]) == 40).all(), "one point for everything is last"


def test_identical_captions_two_ways() -> None:
    images, texts = towers([[0.5, 0.9, 0.1], [0.8, 0.4, 0.6], [0.1, 0.2, 0.9]])
    captions = ["same", "same", "other"]
    assert ranks(images, texts, captions, "strict").tolist() == [2, 3, 1]
    assert ranks(images, texts, captions, "any").tolist() == [1, 1, 1]
    tied, texts = towers([[0.5, 0.5, 0.1], [0.5, 0.5, 0.6], [0.1, 0.2, 0.9]])
    assert ranks(tied, texts, captions, "strict").tolist() == [1, 2, 1], "a tie with the same words costs nothing"


@settings(max_examples=25)
@given(st.integers(0, 9999), st.integers(12, 60))
def test_recall_and_reciprocal_rank_agree_with_scikit_learn(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    images, texts = unit(random, n), unit(random, n)
    metrics = summarize(ranks(images, texts, [str(i) for i in range(n)]), resamples=10)
    scores = images @ texts.T
    for k in (1, 5, 10):
        expected = top_k_accuracy_score(np.arange(n), scores, k=k, labels=np.arange(n))
        assert metrics[f"recall@{k}"].value == pytest.approx(expected)
    assert metrics["mrr"].value == pytest.approx(label_ranking_average_precision_score(np.eye(n), scores))


def test_summary_by_hand() -> None:
    metrics = summarize(np.array([1, 2, 4, 11]))
    assert {name: metric.value for name, metric in metrics.items()} == pytest.approx(
        {
            "recall@1": 0.25,
            "recall@5": 0.75,
            "recall@10": 0.75,
            "median_rank": 3,
            "mean_rank": 4.5,
            "mrr": (1 + 1 / 2 + 1 / 4 + 1 / 11) / 4,
        }
    )


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    found = np.where(np.arange(2000) < 600, 1, 99)
    metric = summarize(found)["recall@1"]
    half = 1.96 * (0.3 * 0.7 / 2000) ** 0.5
    assert (metric.low, metric.high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.004)


def test_the_whole_pool_is_given_both_ways_and_both_rules() -> None:
    random = np.random.default_rng(0)
    results = whole_pool(unit(random, 30), unit(random, 30), [str(i % 20) for i in range(30)])
    assert {(r.direction, r.matching) for r in results} == {
        (direction, matching) for direction in ("image-to-text", "text-to-image") for matching in ("strict", "any")
    }
    assert all(r.candidates == r.queries == 30 for r in results)


def test_roco_v1_is_the_originals_arithmetic() -> None:
    """Re-derived from its description: contiguous batches, argmax of the rows, the last batch short."""
    random = np.random.default_rng(3)
    images = unit(random, 80)
    texts = images + 0.9 * unit(random, 80)
    found = roco_v1(images, texts)
    hits = {1: 0, 5: 0}
    for start in (0, 32, 64):
        block = range(start, min(start + 32, 80))
        for i in block:
            order = sorted(block, key=lambda j: -float(images[i] @ texts[j]))
            for k in hits:
                hits[k] += i in order[:k]
    assert found == pytest.approx({f"batch-wise recall@{k}": hits[k] / 80 for k in hits})


def test_batches_of_32_are_easier_than_the_pool() -> None:
    random = np.random.default_rng(0)
    images, texts = unit(random, 320), unit(random, 320)
    captions = [str(i) for i in range(320)]
    found = shuffled_32(images, texts, captions)
    assert found["shuffled-32 recall@1"] == pytest.approx(1 / 32, abs=0.012), "chance among 32"
    assert found == shuffled_32(images, texts, captions)
    assert summarize(ranks(images, texts, captions))["recall@1"].value < 0.02, "chance among 320"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_an_error(value: float) -> None:
    random = np.random.default_rng(0)
    images, texts = unit(random, 40), unit(random, 40)
    images[3, 2] = value
    with pytest.raises(InputError, match="1 embeddings of the queries are not finite"):
        ranks(images, texts, ["a"] * 40)
    with pytest.raises(InputError, match="not finite"):
        roco_v1(images, texts)
    with pytest.raises(InputError, match="do not belong together"):
        ranks(images[:-1], texts, ["a"] * 40)
    with pytest.raises(InputError, match="too few"):
        shuffled_32(images[:20], texts[:20], ["a"] * 20)
