"""Each pool by hand or against its description."""

from __future__ import annotations

import numpy as np
import pytest

from roco_search.errors import InputError
from roco_search.evaluation import ranks, roco_v1, shuffled_32, summarize, whole_pool
from roco_search.evaluation.protocols import rank_roco_v1, rank_shuffled_32, rank_whole_pool
from tests.evaluation.made import towers, unit


def test_the_whole_pool_is_given_both_ways_and_both_rules() -> None:
    random = np.random.default_rng(0)
    images, texts = unit(random, 30), unit(random, 30)
    captions = [str(i % 20) for i in range(30)]
    results = whole_pool(images, texts, captions)
    assert {(r.direction, r.matching) for r in results} == {
        (direction, matching) for direction in ("image-to-text", "text-to-image") for matching in ("strict", "any")
    }
    assert all(r.candidates == r.queries == 30 for r in results)
    for r in results:
        queries, candidates = (images, texts) if r.direction == "image-to-text" else (texts, images)
        assert r.metrics == summarize(ranks(queries, candidates, captions, r.matching))


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


def test_roco_v1_depends_on_the_order_and_gives_ties_away() -> None:
    constant = np.ones((32, 4), np.float32) / 2
    assert roco_v1(constant, constant) == {"batch-wise recall@1": 1 / 32, "batch-wise recall@5": 5 / 32}
    random = np.random.default_rng(0)
    images, texts = unit(random, 96), unit(random, 96)
    order = random.permutation(96)
    assert roco_v1(images, texts) != roco_v1(images[order], texts[order])


def test_shuffled_32_is_its_description() -> None:
    """Twenty permutations from seed 0; whole batches of 32 alone; identical captions found; the mean over all."""
    data = np.random.default_rng(5)
    images = unit(data, 75)
    texts = images + 0.8 * unit(data, 75)
    captions = [str(i % 40) for i in range(75)]
    random = np.random.default_rng(0)
    recalls: dict[int, list[float]] = {1: [], 5: []}
    for _ in range(20):
        order = random.permutation(75)
        for start in (0, 32):
            rows = order[start : start + 32]
            found = ranks(images[rows], texts[rows], [captions[row] for row in rows], "any")
            for k, values in recalls.items():
                values.append(float((found <= k).mean()))
    expected = {f"shuffled-32 recall@{k}": float(np.mean(values)) for k, values in recalls.items()}
    assert shuffled_32(images, texts, captions) == pytest.approx(expected)
    retrieval = rank_shuffled_32(images, texts, captions).summarize()
    assert (retrieval.queries, retrieval.candidates) == (75, 32)
    for k in (1, 5):
        metric = retrieval.metrics[f"recall@{k}"]
        assert metric.value == pytest.approx(expected[f"shuffled-32 recall@{k}"])
        assert metric.low < metric.value < metric.high


def test_batches_of_32_are_easier_than_the_pool() -> None:
    random = np.random.default_rng(0)
    images, texts = unit(random, 320), unit(random, 320)
    captions = [str(i) for i in range(320)]
    found = shuffled_32(images, texts, captions)
    assert found["shuffled-32 recall@1"] == pytest.approx(1 / 32, abs=0.012), "chance among 32"
    assert found == shuffled_32(images, texts, captions)
    assert summarize(ranks(images, texts, captions))["recall@1"].value < 0.02, "chance among 320"


def test_a_tie_is_a_miss_in_shuffled_batches_too() -> None:
    constant = np.ones((64, 4), np.float32) / 2
    found = shuffled_32(constant, constant, [str(i) for i in range(64)])
    assert found == {"shuffled-32 recall@1": 0.0, "shuffled-32 recall@5": 0.0}


def test_two_models_are_compared_query_by_query() -> None:
    random = np.random.default_rng(1)
    texts = unit(random, 64, 16)
    better, worse = texts + 0.5 * unit(random, 64, 16), texts + 1.5 * unit(random, 64, 16)
    captions = [str(i) for i in range(64)]
    for first, second in (
        (rank_whole_pool(better, texts, captions)[0], rank_whole_pool(worse, texts, captions)[0]),
        (rank_shuffled_32(better, texts, captions), rank_shuffled_32(worse, texts, captions)),
        (rank_roco_v1(better, texts), rank_roco_v1(worse, texts)),
    ):
        both = first.summarize(0, second)
        assert both.against == second.summarize(0).metrics
        assert both.difference is not None and both.against is not None
        for name, gain in both.difference.items():
            assert gain.value == pytest.approx(both.metrics[name].value - both.against[name].value)
            assert gain.low <= gain.value <= gain.high
        assert both.difference["recall@1"].low > 0
        same = first.summarize(0, first).difference
        assert same is not None and all((gain.low, gain.high) == (0, 0) for gain in same.values())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_an_error(value: float) -> None:
    random = np.random.default_rng(0)
    images, texts = unit(random, 40), unit(random, 40)
    texts[3, 2] = value
    captions = [str(i) for i in range(40)]
    for measure in (whole_pool, shuffled_32):
        with pytest.raises(InputError, match="not finite"):
            measure(images, texts, captions)
    with pytest.raises(InputError, match="not finite"):
        roco_v1(images, texts)


def test_too_few_pairs_for_a_batch_are_refused() -> None:
    images, texts = towers(np.eye(31))
    with pytest.raises(InputError, match="31 pairs are too few for batches of 32"):
        shuffled_32(images, texts, ["a"] * 31)
