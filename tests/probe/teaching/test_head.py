"""The head against an independent optimiser, and what its penalties promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from roco_search.probe.teaching.head import TRUST_PENALTY, Basis, calibrate, fit
from roco_search.statistics.binary import sigmoid


def made(count: int, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    coordinates, prior = chance.normal(size=(count, rank)), chance.normal(size=count)
    positive = coordinates[:, 0] + prior + chance.normal(size=count) > 0
    positive[:2] = True, False
    return coordinates, prior, positive


@settings(max_examples=15)
@given(
    count=st.integers(4, 40), rank=st.integers(1, 30), seed=st.integers(0, 999), penalty=st.sampled_from([1.0, 30.0])
)
def test_the_fit_is_the_minimum_that_scipy_finds(count: int, rank: int, seed: int, penalty: float) -> None:
    coordinates, prior, positive = made(count, rank, seed)
    found = fit(coordinates, prior, positive, penalty)

    def loss(theta: np.ndarray) -> float:
        logits = theta[0] + theta[1] * prior + coordinates @ theta[2:]
        data = np.logaddexp(0, np.where(positive, -logits, logits)).sum()
        ridge = penalty * (theta[2:] ** 2).sum() + TRUST_PENALTY * (theta[1] - 1) ** 2 + 1e-4 * theta[0] ** 2
        return float(data + ridge / 2)

    expected = minimize(loss, np.zeros(rank + 2), method="BFGS")
    assert loss(np.concatenate([[found.bias, found.trust], found.weights])) <= expected.fun + 1e-3
    np.testing.assert_allclose(
        found.logits(coordinates, prior),
        expected.x[0] + expected.x[1] * prior + coordinates @ expected.x[2:],
        atol=0.05,
    )


def test_under_a_strong_penalty_the_zero_shot_order_stands() -> None:
    coordinates, prior, positive = made(10, 50, 1)
    found = fit(coordinates, prior, positive, 1e9)
    assert np.array_equal(np.argsort(found.logits(coordinates, prior)), np.argsort(prior)) and found.trust > 0


def test_a_start_from_elsewhere_ends_in_the_same_place() -> None:
    coordinates, prior, positive = made(60, 20, 2)
    away = fit(coordinates, prior, positive, 300.0)
    warm, cold = fit(coordinates, prior, positive, 10.0, away), fit(coordinates, prior, positive, 10.0)
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-3)


def test_calibration_gives_back_the_frequencies() -> None:
    chance = np.random.default_rng(3)
    true = chance.normal(size=20_000)
    positive = chance.random(len(true)) < sigmoid(true)
    slope, intercept = calibrate(3 * true + 2, positive)
    assert slope == pytest.approx(1 / 3, abs=0.03) and intercept == pytest.approx(-2 / 3, abs=0.05)


def test_coordinates_keep_the_library_s_directions() -> None:
    chance = np.random.default_rng(4)
    vectors = (chance.normal(size=(500, 3)) * [5, 1, 0.2]).astype(np.float32)
    found = Basis.of(vectors).coordinates(vectors)
    assert np.cov(found.T) == pytest.approx(np.diag(np.diag(np.cov(found.T))), abs=0.05)
    spread = found.std(axis=0)
    assert spread[0] / spread[1] == pytest.approx(np.sqrt(5), rel=0.1), "half-way whitened"
