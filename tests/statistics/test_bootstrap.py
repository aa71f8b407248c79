"""Intervals against what is known of them, alone and paired."""

from __future__ import annotations

import numpy as np
import pytest

from roco_search.evaluation import summarize
from roco_search.statistics.bootstrap import Estimate, differences, estimate, metrics
from roco_search.statistics.ranks import RANK_FIGURES

MEAN = {"mean": lambda values: values.mean(axis=-1)}


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    found = np.where(np.arange(2000) < 600, 1, 99)
    metric = summarize(found)["recall@1"]
    half = 1.96 * (0.3 * 0.7 / 2000) ** 0.5
    assert (metric.low, metric.high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.004)


def test_a_seed_repeats_and_another_differs() -> None:
    values = np.random.default_rng(1).normal(size=200)
    first, again, other = (estimate(values, MEAN, seed)["mean"] for seed in (1, 1, 2))
    assert np.array_equal(first.drawn, again.drawn) and not np.array_equal(first.drawn, other.drawn)
    assert first.value == other.value == values.mean()
    assert len(first.drawn) == 1000


def test_the_blocks_of_a_large_pool_are_all_drawn() -> None:
    values = np.random.default_rng(0).normal(size=30_000)
    found = estimate(values, MEAN, 0, resamples=150)["mean"]
    assert len(found.drawn) == 150
    assert found.drawn.std() == pytest.approx(values.std() / 30_000**0.5, rel=0.2)


def test_a_model_does_not_differ_from_itself() -> None:
    values = np.random.default_rng(0).integers(1, 50, 300)
    found = estimate(values, MEAN, 0)
    assert differences(found, found)["mean"] == metrics({"mean": Estimate(0.0, np.zeros(1000))})["mean"]


def test_a_paired_difference_is_as_sure_as_the_differences_of_the_pairs() -> None:
    """What is hard for both models cancels: the interval is that of the mean of the pairs' differences."""
    random = np.random.default_rng(0)
    hard = random.normal(size=400) * 10
    first, second = hard + 1 + random.normal(size=400), hard + random.normal(size=400)
    found = differences(estimate(first, MEAN, 0), estimate(second, MEAN, 0))["mean"]
    half = 1.96 * (first - second).std() / 400**0.5
    middle = (first - second).mean()
    assert found.value == pytest.approx(middle)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=0.02)
    assert found.low > 0, "unpaired, the spread of the pool would have hidden it"
    alone = metrics(estimate(first, MEAN, 0))["mean"]
    assert alone.high - alone.low > 5 * (found.high - found.low)


def test_undefined_resamples_do_not_count() -> None:
    found = Estimate(0.5, np.array([np.nan, 0.4, 0.6, np.nan])).metric
    assert 0.4 <= found.low < found.high <= 0.6
    assert Estimate(0.5, np.full(3, np.nan)).metric == (metric := type(found)(0.5, 0.5, 0.5)), metric


@pytest.mark.parametrize("sizes", [[3] * 50, [1, 2, 5] * 20])
def test_what_belongs_together_is_drawn_together(sizes: list[int]) -> None:
    """The captions of one image are no new evidence: copies of a query do not narrow the interval."""
    random = np.random.default_rng(0)
    clusters = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    values = random.integers(1, 40, len(clusters))
    found = estimate(values, RANK_FIGURES, 3, resamples=40, clusters=clusters)
    drawn = np.random.default_rng(3).integers(0, len(sizes), (40, len(sizes)))
    for number, chosen in enumerate(drawn):
        sample = np.concatenate([values[clusters == cluster] for cluster in chosen])
        assert found["recall@10"].drawn[number] == pytest.approx(np.mean(sample <= 10))
        assert found["median_rank"].drawn[number] == np.median(sample)
        assert found["mean_rank"].drawn[number] == pytest.approx(sample.mean())
        assert found["mrr"].drawn[number] == pytest.approx(np.mean(1 / sample))
    copied = estimate(np.repeat(values, 4), RANK_FIGURES, 3, clusters=np.repeat(np.arange(len(values)), 4))
    alone = estimate(values, RANK_FIGURES, 3)
    assert np.allclose(copied["mrr"].drawn, alone["mrr"].drawn)
