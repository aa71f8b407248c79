"""Captions without stray white space, what each of several weighs, and pairs that nothing can be learned from."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from roco_search.datasets import Pair, PictureFile, check_trainable
from roco_search.datasets.pair import fold_text, read_captions, weigh_captions
from roco_search.errors import TrainingError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" a  chest\n\tX-ray ", "a chest X-ray"),
        (None, ""),
        (math.nan, ""),
        (" \u00a0 ", ""),
        (7, "7"),
        (["axial", "", None, " ct  scan"], "axial, ct scan"),
        ("naïve é", "naïve é"),
        ("half \ud83d of it", "half ? of it"),
    ],
)
def test_a_cell_as_text(value: object, text: str) -> None:
    assert fold_text(value) == text


def test_a_cell_of_captions_is_one_or_several() -> None:
    assert read_captions(" one ") == ["one"]
    assert read_captions(["one", "", "two", "one "]) == ["one", "two"]
    assert read_captions(None) == read_captions([]) == []


def test_a_single_caption_has_all_the_weight() -> None:
    assert weigh_captions(["own"], {"title": "own", "words": [], "n": None}, ["title", "words", "n", "absent"]) == {
        "own": 1.0
    }


def test_the_others_share_what_the_own_one_leaves() -> None:
    columns = {"title": "a title", "keywords": ["axial", "ct"], "finding": "a title"}
    weights = weigh_captions(["own", "second"], columns, ["title", "keywords", "finding"])
    assert list(weights) == ["own", "second", "a title", "axial, ct"]
    assert weights["own"] == 0.6
    assert weights["second"] == weights["a title"] == weights["axial, ct"] == pytest.approx(0.4 / 3)
    assert sum(weights.values()) == pytest.approx(1)


def pairs(*captions: str) -> list[Pair]:
    return [Pair(PictureFile(Path(f"{i}.png")), caption) for i, caption in enumerate(captions)]


def test_two_that_differ_are_enough() -> None:
    check_trainable(pairs("a", "b"))
    check_trainable(pairs("a", "a", "b"))


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (pairs(), "no image with a caption"),
        (pairs("a"), r"a single pair, 0\.png"),
        (pairs("a chest", "a chest", "a chest"), "All 3 images have the same caption, 'a chest'"),
    ],
)
def test_too_little_is_refused(found: list[Pair], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        check_trainable(found)


def test_other_captions_can_tell_images_apart() -> None:
    first, second = pairs("a", "a")
    check_trainable([first, Pair(second.picture, "a", {"a": 0.6, "b": 0.4})])
