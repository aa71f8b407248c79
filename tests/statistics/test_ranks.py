"""Ranks and what is said of them: by hand on small pools, and against scikit-learn and torchmetrics on random ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR

from roco_search.errors import InputError
from roco_search.evaluation import mean_recall, ranks, summarize
from roco_search.statistics.ranks import DIRECTIONS, MATCHINGS, ranks_both_ways
from tests.evaluation.made import scattered, towers, unit


def test_ranks_by_hand() -> None:
    images, texts = towers([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.3, 0.2, 0.1]])
    assert ranks(images, texts, ["a", "b", "c"]).tolist() == [1, 2, 3]
    assert ranks(texts, images, ["a", "b", "c"]).tolist() == [1, 1, 3], "third column: 0.2 above, 0.1 level"


def test_a_tie_with_another_caption_is_a_miss() -> None:
    images, texts = towers([[0.5, 0.5, 0.1], [0.0, 0.9, 0.0], [0.7, 0.7, 0.7]])
    assert ranks(images, texts, ["a", "b", "c"]).tolist() == [2, 1, 3]
    constant = np.ones((40, 4), np.float32) / 2
    assert (ranks(constant, constant, [str(i) for i in range(40)]) == 40).all(), "one point for everything is last"


@pytest.mark.parametrize("dim", [100, 384, 512])
def test_rounding_breaks_no_tie(dim: int) -> None:
    """A matrix product may round the same sum of products differently at its edges, and a batch may too."""
    random = np.random.default_rng(0)
    images = unit(random, 33, dim)
    texts = np.repeat(unit(random, 1, dim), 33, axis=0)
    assert (ranks(images, texts, [str(i) for i in range(33)]) == 33).all()
    texts += np.float32(3e-8) * random.normal(size=texts.shape).astype(np.float32)
    assert (ranks(images, texts, [str(i) for i in range(33)]) == 33).all()
    found = ranks(images, texts, ["the same"] * 33)
    assert found.tolist() == list(range(1, 34)), "nor does it change the order of identical captions"
    assert (ranks(images, texts, ["the same"] * 33, "any") == 1).all()


def test_identical_captions_two_ways() -> None:
    images, texts = towers([[0.5, 0.9, 0.1], [0.8, 0.4, 0.6], [0.1, 0.2, 0.9]])
    captions = ["same", "same", "other"]
    assert ranks(images, texts, captions, "strict").tolist() == [2, 3, 1]
    assert ranks(images, texts, captions, "any").tolist() == [1, 1, 1]
    tied, texts = towers([[0.5, 0.5, 0.1], [0.5, 0.5, 0.6], [0.1, 0.2, 0.9]])
    assert ranks(tied, texts, captions, "strict").tolist() == [1, 3, 1], "a tie with the same words goes by the order"


def test_a_pool_larger_than_a_block_is_one_pool() -> None:
    scores = scattered(2, 700)
    images, texts = towers(scores)
    captions = [str(i % 500) for i in range(700)]
    own = np.diagonal(scores)
    assert ranks(images, texts, captions).tolist() == (1 + (scores > own[:, None]).sum(axis=1)).tolist()
    found = ranks_both_ways(images, texts, captions)
    assert set(found) == {(direction, matching) for direction in DIRECTIONS for matching in MATCHINGS}
    assert found["text-to-image", "strict"].tolist() == (1 + (scores > own[None, :]).sum(axis=0)).tolist()
    assert found["text-to-image", "any"].tolist() == ranks(texts, images, captions, "any").tolist()


@settings(max_examples=25)
@given(st.integers(0, 9999), st.integers(12, 60))
def test_recall_and_reciprocal_rank_agree_with_scikit_learn(seed: int, n: int) -> None:
    scores = scattered(seed, n)
    metrics = summarize(ranks(*towers(scores), [str(i) for i in range(n)]), resamples=10)
    for k in (1, 5, 10):
        expected = top_k_accuracy_score(np.arange(n), scores, k=k, labels=np.arange(n))
        assert metrics[f"recall@{k}"].value == pytest.approx(expected)
    assert metrics["mrr"].value == pytest.approx(label_ranking_average_precision_score(np.eye(n), scores))


@pytest.mark.parametrize("seed", range(4))
def test_both_directions_and_rules_agree_with_torchmetrics(seed: int) -> None:
    """Torchmetrics' hit rate and reciprocal rank with every identical caption as a target are any-match."""
    random = np.random.default_rng(seed)
    n = 50
    images, texts = unit(random, n, 32), unit(random, n, 32)
    captions = [str(caption) for caption in random.integers(0, 30, n)]
    same = np.array(captions)[:, None] == np.array(captions)[None, :]
    found_by = ranks_both_ways(images, texts, captions)
    for (direction, matching), found in found_by.items():
        queries, candidates = (images, texts) if direction == "image-to-text" else (texts, images)
        scores = (queries @ candidates.T).astype(np.float64) + 2  # torchmetrics finds nothing at or below 0
        target = same if matching == "any" else np.eye(n, dtype=bool)
        given = torch.from_numpy(scores).flatten(), torch.from_numpy(target).flatten()
        indexes = torch.arange(n).repeat_interleave(n)
        summary = summarize(found)
        for k in (1, 5, 10):
            expected = float(RetrievalHitRate(top_k=k)(*given, indexes=indexes))
            assert summary[f"recall@{k}"].value == pytest.approx(expected), (direction, matching, k)
        mrr = float(RetrievalMRR()(*given, indexes=indexes))
        assert summary["mrr"].value == pytest.approx(mrr), (direction, matching)


def several(seed: int, images: int, most: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Random scores ``(images, captions)`` with ties, the image of each caption, and captions that recur."""
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(images), random.integers(1, most + 1, images))
    random.shuffle(owners)
    captions = [str(number) for number in random.integers(0, len(owners), len(owners))]
    return random.integers(0, 6, (images, len(owners))).astype(np.float32) / 8, owners, captions


def places(scores: np.ndarray, own: np.ndarray, same: np.ndarray) -> tuple[int, int]:
    """Where a list that is sorted by hand has the first own and the first right candidate."""
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], own[place] or same[place], place))
    first_own = next(place for place, candidate in enumerate(order, 1) if own[candidate])
    return first_own, next(place for place, candidate in enumerate(order, 1) if own[candidate] or same[candidate])


@settings(max_examples=60)
@given(st.integers(0, 99_999), st.integers(2, 12), st.integers(1, 5))
def test_several_captions_of_an_image_against_lists_sorted_by_hand(seed: int, images: int, most: int) -> None:
    scores, owners, captions = several(seed, images, most)
    of_caption = np.array(captions)
    found = ranks_both_ways(scores, np.eye(len(owners), dtype=np.float32), captions, owners)
    for image in range(images):
        own = owners == image
        ranked = places(scores[image], own, np.isin(of_caption, of_caption[own]))
        assert (found["image-to-text", "strict"][image], found["image-to-text", "any"][image]) == ranked
    for text, owner in enumerate(owners):
        same = np.isin(np.arange(images), owners[of_caption == of_caption[text]])
        ranked = places(scores[:, text], np.arange(images) == owner, same)
        assert (found["text-to-image", "strict"][text], found["text-to-image", "any"][text]) == ranked


@pytest.mark.parametrize("seed", range(3))
def test_several_captions_of_an_image_against_torchmetrics(seed: int) -> None:
    """One image is one candidate, and any of its captions is right, as in CLIP_benchmark's zeroshot_retrieval."""
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(40), random.integers(1, 6, 40))
    images, texts = unit(random, 40, 16), unit(random, len(owners), 16)
    found = ranks_both_ways(images, texts, [str(i) for i in range(len(owners))], owners)
    for direction in DIRECTIONS:
        scores = images @ texts.T + 2
        target = owners[None, :] == np.arange(40)[:, None]
        if direction == "text-to-image":
            scores, target = scores.T, target.T
        indexes = torch.arange(len(scores)).repeat_interleave(scores.shape[1])
        given = torch.from_numpy(scores.copy()).flatten(), torch.from_numpy(target.copy()).flatten()
        for k in (1, 5, 10):
            expected = float(RetrievalHitRate(top_k=k)(*given, indexes=indexes))
            assert summarize(found[direction, "strict"])[f"recall@{k}"].value == pytest.approx(expected)
    together = mean_recall(images, texts, [str(i) for i in range(len(owners))], owners)
    assert together["image-to-text recall@5"] == np.mean(found["image-to-text", "strict"] <= 5)


def test_an_image_without_a_caption_and_a_caption_of_no_image_are_refused() -> None:
    images, texts = np.eye(3, 4, dtype=np.float32), np.eye(4, dtype=np.float32)
    for owners in ([0, 1, 1, 0], [0, 1, 2, 3], [0, 1, 2]):
        with pytest.raises(InputError, match="do not belong together"):
            ranks_both_ways(images, texts, list("abcd"), np.array(owners))


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


def test_mean_recall_by_hand() -> None:
    images, texts = towers([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.3, 0.2, 0.1]])
    found = mean_recall(images, texts, ["a", "b", "c"])
    expected = {
        "image-to-text recall@1": 1 / 3,
        "image-to-text recall@5": 1,
        "image-to-text recall@10": 1,
        "text-to-image recall@1": 2 / 3,
        "text-to-image recall@5": 1,
        "text-to-image recall@10": 1,
    }
    assert found == pytest.approx({**expected, "mean": 5 / 6})
    assert mean_recall(images, texts, ["a", "a", "c"])["image-to-text recall@1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_an_error(value: float) -> None:
    random = np.random.default_rng(0)
    images, texts = unit(random, 40), unit(random, 40)
    images[3, 2] = value
    for measure in (ranks, mean_recall):
        with pytest.raises(InputError, match="1 embeddings of the queries are not finite"):
            measure(images, texts, ["a"] * 40)
        with pytest.raises(InputError, match="do not belong together"):
            measure(images[:-1], texts, ["a"] * 40)
