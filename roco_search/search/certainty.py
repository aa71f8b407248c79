"""Whether pictures show a finding for certain: by what the model sees in each, and by how many such a library has.

The best hit for a finding is a picture of the right kind even where no picture shows the finding, and among a thousand
pictures without it, twenty reach what one in fifty does. So a finding is certain in a picture if two things hold: its
head gives the picture a value that few of those without the finding have, and more pictures of the library reach that
value than would if none showed it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from roco_search.library.vectors.facts import Facts
from roco_search.search.evidence import Evidence
from roco_search.search.senses import STEP, classes, column, detectable_key, found_column
from roco_search.search.weights import FALSE_ALARM
from roco_search.vocabulary.concepts import Concept

UNUSUAL = 0.05  # The chance from which on the number of pictures is no more than chance brings.
EVEN = int(math.log(2) / STEP)
AFFIRMED = 0.5  # The share of a query from which on a caption speaks for the finding, too.


@dataclass(frozen=True)
class Certainty:
    """What is certain of the pictures of one library, of the findings that one query asks for."""

    evidence: Evidence
    facts: Facts

    def doubts(self, row: int, frame_id: int) -> tuple[str, ...]:
        """Return the findings asked for that a picture does not show for certain, and the words that nothing knows.

        Where the model has no heads for findings, nothing is known of its certainty, and no doubt is raised.
        """
        if not self.evidence.weights.detectable or self._affirmed(frame_id):
            return ()
        found = tuple(found.name for found in self._asked if not self._shows(found, row))
        return found + self.evidence.understood.unread

    def _affirmed(self, frame_id: int) -> bool:
        return any(extra.of(frame_id) >= AFFIRMED for extra in self.evidence.extras)

    @cached_property
    def _asked(self) -> tuple[Concept, ...]:
        """The findings that are asked for, each once; one that only says what another is a kind of says no more."""
        asked = self.evidence.understood.of("finding")
        wider = {kind for found in asked for kind in found.within}
        return tuple(found for found in asked if found.key not in wider)

    def _shows(self, finding: Concept, row: int) -> bool:
        reached = self._reached.get(finding.key)
        return reached is not None and bool(reached[row])

    @cached_property
    def _reached(self) -> Mapping[str, npt.NDArray[np.bool_]]:
        """Which pictures reach what makes a finding certain, bool ``(n,)``; only if they are more than by chance."""
        weights, found = self.evidence.weights, {}
        keys = list(weights.detectable)
        for finding in self._asked:
            key = detectable_key(finding)
            if key not in weights.certain:
                continue
            kinds = weights.detectable[key]
            among = self._of_kind("modality", kinds["modality"]) & self._of_kind("body_part", kinds["body_part"])
            least = int(-weights.certain[key] / STEP)  # cautiously: bytes count downwards from certainty
            reached = among & (self.facts.senses[found_column(keys.index(key))] <= least)
            if more_than_chance(int(reached.sum()), FALSE_ALARM * int(among.sum())):
                found[finding.key] = reached
        return found

    def _of_kind(self, attribute: str, names: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return which pictures are likelier of some classes of an attribute than not, bool ``(n,)``."""
        own = [column(attribute, name) for name in classes(attribute) if name in names]
        return np.asarray((self.facts.senses[own] <= EVEN).any(axis=0))


def more_than_chance(count: int, expected: float) -> bool:
    """Return whether so many would be met by chance in fewer than one of twenty libraries (Poisson, one-sided)."""
    if count <= expected:
        return False
    if expected > 200:
        return count > expected + 1.645 * math.sqrt(expected) + 1
    term = below = math.exp(-expected)
    for number in range(1, count):
        term *= expected / number
        below += term
    return 1 - below < UNUSUAL
