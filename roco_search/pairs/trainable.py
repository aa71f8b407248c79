"""Whether pairs can teach anything: a contrast needs two of them that differ."""

from __future__ import annotations

from collections.abc import Sequence

from roco_search.errors import TrainingError

from .pair import Pair


def check_trainable(pairs: Sequence[Pair]) -> None:
    """Refuse pairs that a contrastive objective cannot learn from.

    Raises
    ------
    TrainingError
        If there is no pair, or only one, or all captions are the same.
    """
    if not pairs:
        raise TrainingError("There is no image with a caption to learn from; give data with captions.")
    if len(pairs) == 1:
        raise TrainingError(
            f"There is a single pair, {pairs[0].picture.name}, and nothing to tell it from; give at least two."
        )
    first = set(pairs[0].captions)
    if all(first == set(pair.captions) for pair in pairs):
        told = " ".join(pairs[0].caption.split()[:8])
        raise TrainingError(
            f"All {len(pairs):,} images have the same caption, {told!r}, and nothing tells them apart; give captions "
            "that differ."
        )
