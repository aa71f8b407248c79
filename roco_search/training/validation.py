"""An evaluation on the validation split: global recall over the whole pool, never over a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from roco_search.datasets.pair import PairSet
from roco_search.evaluation.embed import embed
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.statistics.ranks import mean_recall


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen after ``step``: recall by direction and k, any-match, among the ``pool`` pairs; 0 to 1."""

    step: int
    pool: int
    recalls: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Mean of the six recalls, which the best model is chosen by."""
        return self.recalls["mean recall"]


class Validation:
    """Looks at a split with the model as it is at the moment."""

    def __init__(self, encoder: TorchEncoder, pairs: PairSet) -> None:
        self._encoder, self._pairs = encoder, pairs

    def __call__(self, step: int) -> Look:
        """Embed the split and rank the whole pool in both directions."""
        found = embed(self._encoder, self._pairs)
        recalls = mean_recall(found.images, found.texts, found.captions)
        recalls["mean recall"] = recalls.pop("mean")
        return Look(step, len(found.captions), recalls)
