"""Zero-shot metrics: by hand, against scikit-learn, and intervals against what is known of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    roc_auc_score,
    roc_curve,
    top_k_accuracy_score,
)

from roco_search.errors import InputError
from roco_search.statistics.classification import (
    auc,
    compare_exclusive,
    evaluate_exclusive,
    evaluate_multi_label,
    youden,
)

nan = float("nan")
tied_scores = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: len({positive for _, positive in pairs}) == 2
)


def columns(pairs: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score / 6 for score, _ in pairs]), np.array([positive for _, positive in pairs])


@settings(max_examples=100)
@given(tied_scores)
def test_auc_is_that_of_scikit_learn_ties_included(pairs: list[tuple[int, bool]]) -> None:
    scores, positive = columns(pairs)
    assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert auc(-scores, positive) == pytest.approx(1 - auc(scores, positive))


@settings(max_examples=100)
@given(tied_scores)
def test_youden_is_the_best_point_of_the_roc_curve(pairs: list[tuple[int, bool]]) -> None:
    scores, positive = columns(pairs)
    found = youden(scores, positive)
    false, true, _ = roc_curve(positive, scores, drop_intermediate=False)
    assert found.sensitivity + found.specificity - 1 == pytest.approx(max((true - false)[1:]))
    given = scores >= found.probability
    assert found.sensitivity == pytest.approx(given[positive].mean())
    assert found.specificity == pytest.approx((~given[~positive]).mean())


def test_youden_by_hand() -> None:
    found = youden(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    assert (found.sensitivity, found.specificity) == (0.5, 1.0), "of two equally good thresholds the higher one"
    assert found.probability == pytest.approx(0.6), "half-way to the next score, so that rounding moves nobody"


def test_exclusive_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.6, 0.3, 0.1]])
    found = evaluate_exclusive(probabilities, np.array([0, 0, 1, 1]), ["a", "b", "c"])
    assert (found.images, found.accuracy.value) == (4, 0.75)
    assert found.confusion == ((2, 0, 0), (1, 1, 0), (0, 0, 0))
    a, b, c = found.labels
    assert a.auc is not None and b.auc is not None and found.macro_auc is not None
    assert (a.auc.value, b.auc.value) == (0.75, 0.875), "0.6 of an other is above 0.5; 0.3 against 0.3 is a half"
    assert (c.auc, c.youden, c.positives) == (None, None, 0), "a label that no image has, has no AUC"
    assert found.macro_auc.value == pytest.approx((0.75 + 0.875) / 2)


@settings(max_examples=15)
@given(st.integers(0, 9999), st.integers(3, 8))
def test_exclusive_agrees_with_scikit_learn(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), random.integers(0, classes, 40)])
    probabilities = random.dirichlet(np.ones(classes), len(truth))
    found = evaluate_exclusive(probabilities, truth, [str(i) for i in range(classes)])
    assert found.accuracy.value == pytest.approx(accuracy_score(truth, probabilities.argmax(axis=1)))
    assert found.macro_auc is not None
    assert found.macro_auc.value == pytest.approx(roc_auc_score(truth, probabilities, multi_class="ovr"))
    called = probabilities.argmax(axis=1)
    assert np.array(found.confusion).tolist() == confusion_matrix(truth, called).tolist()
    assert found.mean_per_class_recall is not None
    assert found.mean_per_class_recall.value == pytest.approx(balanced_accuracy_score(truth, called))
    assert (found.top_5_accuracy is None) == (classes <= 5)
    if found.top_5_accuracy is not None:
        expected = top_k_accuracy_score(truth, probabilities, k=5, labels=np.arange(classes))
        assert found.top_5_accuracy.value == pytest.approx(expected)
    for metric in (found.accuracy, found.macro_auc, found.mean_per_class_recall, *(e.auc for e in found.labels)):
        assert metric is not None and 0 <= metric.low <= metric.high <= 1


def test_a_comparison_is_the_difference_of_the_two() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 200)
    known = truth[:, None] == np.arange(3)
    first = random.dirichlet(np.ones(3), 200) + 1.0 * known
    second = random.dirichlet(np.ones(3), 200) + 0.3 * known
    names = ["a", "b", "c"]
    gain = compare_exclusive(first, second, truth, names)
    for name in ("accuracy", "macro_auc", "mean_per_class_recall"):
        values = [getattr(evaluate_exclusive(each, truth, names), name) for each in (first, second)]
        assert gain[name].value == pytest.approx(values[0].value - values[1].value)
        assert 0 < gain[name].low < gain[name].value < gain[name].high
    right = [each.argmax(axis=1) == truth for each in (first, second)]
    half = 1.96 * (right[0].astype(int) - right[1]).std() / 200**0.5
    assert gain["accuracy"].high - gain["accuracy"].low == pytest.approx(2 * half, rel=0.1), "paired, image by image"
    same = compare_exclusive(first, first, truth, names)
    assert all((metric.low, metric.high) == (0, 0) for metric in same.values())


def test_unknown_truth_does_not_count() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.9], [0.8, 0.4], [0.1, 0.6]])
    truth = np.array([[1, nan], [0, 1], [nan, 0], [0, nan]])
    found = evaluate_multi_label(probabilities, truth, ["a", "b"])
    assert [(label.images, label.positives) for label in found.labels] == [(3, 1), (2, 1)]
    assert found.accuracy.value == 1.0, "five decisions are known, and all of them are right"
    assert found.macro_auc is not None and found.macro_auc.value == 1.0
    stricter = evaluate_multi_label(probabilities, truth, ["a", "b"], thresholds=[0.95, 0.5])
    assert stricter.accuracy.value == pytest.approx(4 / 5)
    assert (found.decided_by, stricter.decided_by) == ("probability 0.5", "the given thresholds")


def test_the_interval_of_an_accuracy_is_the_binomial_one() -> None:
    truth = np.zeros(400, np.int64)
    right = np.arange(400) < 320
    found = evaluate_exclusive(np.stack([right, ~right], axis=1).astype(float), truth, ["a", "b"])
    half = 1.96 * math.sqrt(0.8 * 0.2 / 400)
    assert found.accuracy.low == pytest.approx(0.8 - half, abs=0.006)
    assert found.accuracy.high == pytest.approx(0.8 + half, abs=0.006)
    assert found.macro_auc is None


def test_the_interval_of_an_auc_is_that_of_resampling_one_by_one() -> None:
    random = np.random.default_rng(7)
    positive = np.arange(120) < 50
    scores = 1 / (1 + np.exp(-random.normal(positive.astype(float), 1)))
    found = evaluate_multi_label(scores[:, None], positive[:, None].astype(float), ["a"]).labels[0].auc
    drawn: list[float] = []
    while len(drawn) < 400:
        rows = random.integers(0, 120, 120)
        if 0 < positive[rows].sum() < 120:
            drawn.append(roc_auc_score(positive[rows], scores[rows]))
    low, high = np.percentile(drawn, (2.5, 97.5))
    assert found is not None
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.02)
    assert found.low < found.value < found.high


def test_intervals_shrink_with_images_and_repeat_with_the_seed() -> None:
    random = np.random.default_rng(3)
    widths = []
    for count in (40, 640):
        truth = (random.random((count, 1)) < 0.5).astype(float)
        probabilities = np.clip(0.35 + 0.3 * truth + random.normal(0, 0.3, truth.shape), 0, 1)
        first, again, other = (evaluate_multi_label(probabilities, truth, ["a"], seed=seed) for seed in (1, 1, 2))
        assert first == again
        assert first.accuracy.value == other.accuracy.value
        assert first.labels[0].auc != other.labels[0].auc
        widths.append(first.accuracy.high - first.accuracy.low)
    assert widths[1] < widths[0] / 2


def test_a_rare_label_does_not_break_the_resamples() -> None:
    probabilities = np.linspace(0, 1, 30)[:, None]
    truth = np.zeros((30, 1))
    truth[-1] = 1
    found = evaluate_multi_label(probabilities, truth, ["rare"]).labels[0].auc
    assert found is not None
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("probabilities", "truth", "says"),
    [
        (np.empty((0, 2)), np.empty(0, np.int64), "no image"),
        (np.array([[nan, 1.0]]), np.array([0]), "not finite"),
        (np.array([[0.5, 0.5]]), np.array([2]), "number of a label"),
        (np.array([[0.5, 0.5]]), np.array([0, 1]), "do not|does not"),
        (np.array([[0.5]]), np.array([0]), "do not belong"),
    ],
)
def test_what_cannot_be_measured_is_refused(probabilities: np.ndarray, truth: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=says):
        evaluate_exclusive(probabilities, truth, ["a", "b"])


def test_truth_without_a_single_known_value_is_refused() -> None:
    with pytest.raises(InputError, match="knows none"):
        evaluate_multi_label(np.array([[0.5]]), np.array([[nan]]), ["a"])
