"""Intervals against what is known of them, alone and paired."""

from __future__ import annotations

import numpy as np
import pytest

from roco_search.evaluation import summarize
from roco_search.statistics.bootstrap import Estimate, differences, estimate, metrics

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
