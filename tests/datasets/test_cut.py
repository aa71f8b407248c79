"""A split never divides a case."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roco_search.datasets.assembly import Split
from roco_search.datasets.splits import DIVIDED, case_count, case_keys, cut_by_case, keep_apart
from roco_search.errors import TrainingError
from tests.datasets.drawing import split_of

CASES = st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh")), min_size=2, max_size=60)


@given(CASES, st.floats(0.01, 0.99), st.integers(0, 9), st.randoms(use_true_random=False))
def test_cases_stay_whole_whatever_the_share_the_seed_and_the_order(
    cases: list[str | None], share: float, seed: int, shuffled: random.Random
) -> None:
    split = split_of(cases)
    sizes = Counter(case_keys(split))
    if len(sizes) < 2:
        with pytest.raises(TrainingError, match="none can be cut from one case"):
            cut_by_case(split, share, seed, "./d")
        return
    train, validation = cut_by_case(split, share, seed, "./d")
    assert not set(case_keys(train)) & set(case_keys(validation))
    assert Counter(train.names + validation.names) == Counter(split.names)
    assert train.pairs and validation.pairs
    assert len(validation.pairs) <= max(1, round(share * len(cases)), min(sizes.values()))

    order = list(range(len(cases)))
    shuffled.shuffle(order)
    mixed = Split([split.pairs[i] for i in order], [split.names[i] for i in order])
    assert set(cut_by_case(mixed, share, seed, "./d")[1].names) == set(validation.names)


def test_the_share_is_met_where_cases_are_small_and_the_order_is_kept() -> None:
    split = split_of([f"case {i // 3}" for i in range(3000)])
    train, validation = cut_by_case(split, 0.1, 0, "./d")
    assert len(validation.pairs) == 300 and len(train.pairs) == 2700
    assert validation.names == [name for name in split.names if name in set(validation.names)]


def test_another_seed_cuts_other_cases_and_the_same_the_same() -> None:
    split = split_of([None] * 200)
    cuts = [tuple(cut_by_case(split, 0.1, seed, "./d")[1].names) for seed in (0, 0, 1)]
    assert cuts[0] == cuts[1] != cuts[2]
    # Published runs can be cut again: this is what seed 0 gave when it was written.
    assert cuts[0][:4] == ("11.png", "26.png", "32.png", "39.png")


def test_a_case_too_large_for_the_share_is_passed_over() -> None:
    train, validation = cut_by_case(split_of(["large"] * 90 + [f"{i}" for i in range(10)]), 0.1, 3, "./d")
    assert len(validation.pairs) == 10 and {pair.case for pair in train.pairs} == {"large"}


def test_two_rows_of_one_image_are_one_case() -> None:
    split = split_of([None] * 6)
    twice = Split(split.pairs * 2, split.names * 2)
    train, validation = cut_by_case(twice, 0.5, 0, "./d")
    assert not set(train.names) & set(validation.names)
    assert len(train.pairs) == len(validation.pairs) == 6


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_that_leaves_nothing_is_refused(share: float) -> None:
    with pytest.raises(TrainingError, match="leaves nothing"):
        cut_by_case(split_of(["a", "b"]), share, 0, "./d")


def test_what_was_left_out_stays_with_train() -> None:
    split = split_of(["a", "b"])
    split.left_out.add("the image is missing", "x.png")
    train, validation = cut_by_case(split, 0.5, 0, "./d")
    assert train.left_out.counts == {"the image is missing": 1} and not validation.left_out.counts


def test_train_gives_up_the_cases_of_a_given_validation_split() -> None:
    train = keep_apart(split_of(["a", "b", None, "b", "c"]), split_of(["b", None, "d"]))
    assert [pair.case for pair in train.pairs] == ["a", None, "c"]
    assert train.left_out.counts == {DIVIDED: 2} and train.left_out.examples == {DIVIDED: ["1.png", "3.png"]}


def test_cases_are_counted() -> None:
    assert case_count(split_of(["a", "b", "a", None, None]).pairs) == 4
