"""Captions without stray white space, and what each of several weighs."""

from __future__ import annotations

import math

import pytest

from roco_search.datasets.pair import fold_text, read_captions, weigh


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
    assert weigh(["own"], {"title": "own", "words": [], "n": None}, ["title", "words", "n", "absent"]) == {"own": 1.0}


def test_the_others_share_what_the_own_one_leaves() -> None:
    columns = {"title": "a title", "keywords": ["axial", "ct"], "finding": "a title"}
    weights = weigh(["own", "second"], columns, ["title", "keywords", "finding"])
    assert list(weights) == ["own", "second", "a title", "axial, ct"]
    assert weights["own"] == 0.6
    assert weights["second"] == weights["a title"] == weights["axial, ct"] == pytest.approx(0.4 / 3)
    assert sum(weights.values()) == pytest.approx(1)
