"""Figures of one label against scikit-learn, and thresholds against counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from roco_search.statistics.binary import cluster_weights, measure, reliability, rule_in, rule_out


def made(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    positive = chance.random(count) < 0.4
    positive[:2] = True, False
    return np.round(np.clip(positive * 0.2 + chance.random(count) * 0.8, 0, 1), 2), positive  # with ties


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_scikit_learn_s(seed: int) -> None:
    probabilities, positive = made(80, seed)
    found = measure(probabilities, positive, np.arange(80))
    assert found["auc"].value == pytest.approx(roc_auc_score(positive, probabilities))
    assert found["average_precision"].value == pytest.approx(average_precision_score(positive, probabilities))
    assert found["brier"].value == pytest.approx(brier_score_loss(positive, probabilities))
    assert found["accuracy"].value == pytest.approx(((probabilities >= 0.5) == positive).mean())
    assert all(estimate.metric.low <= estimate.value <= estimate.metric.high for estimate in found.values())


def test_a_case_of_many_pictures_is_drawn_whole_and_widens_the_interval() -> None:
    probabilities, positive = made(60, 1)
    clusters = np.arange(60) // 10
    for weights in cluster_weights(clusters, 0, 20):
        assert all(len(set(row[clusters == case])) == 1 for row in weights for case in range(6))
    once = measure(probabilities, positive, np.arange(60))["auc"].metric
    copied = measure(*(np.repeat(values, 10) for values in (probabilities, positive, np.arange(60))))["auc"].metric
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.05), "copies are no evidence"


@settings(max_examples=60)
@given(count=st.integers(4, 80), seed=st.integers(0, 999), asked=st.sampled_from([0.5, 0.8, 0.9, 0.95, 1.0]))
def test_thresholds_reach_what_is_asked_and_no_further_one_does(count: int, seed: int, asked: float) -> None:
    probabilities, positive = made(count, seed)
    upper, lower = rule_in(probabilities, positive, asked), rule_out(probabilities, positive, asked)
    assert upper.specificity >= asked - 1e-9 and lower.sensitivity >= asked - 1e-9
    for other in np.unique(probabilities):
        if other < upper.probability:
            assert (probabilities[~positive] < other).mean() < asked
        if other > lower.probability:
            assert (probabilities[positive] >= other).mean() < asked or other == probabilities[
                probabilities >= lower.probability
            ].min()


def test_reliability_of_honest_probabilities_is_the_diagonal() -> None:
    chance = np.random.default_rng(0)
    probabilities = chance.random(20_000)
    points = reliability(probabilities, chance.random(20_000) < probabilities)
    assert len(points) == 10 and sum(count for *_, count in points) == 20_000
    assert all(mean == pytest.approx(share, abs=0.04) for mean, share, _ in points)
