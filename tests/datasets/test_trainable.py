"""Pairs that cannot teach anything are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from roco_search.datasets import Pair, PictureFile, check_trainable
from roco_search.errors import TrainingError


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
