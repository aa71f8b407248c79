"""Whether pictures are for certain what a query names: by their headers, or by what the model sees in each.

The best hit is a picture of a like kind even where none is of the right one: a cardiac CT for "chest CT", and any chest
film for a finding. And among a thousand pictures without a finding, twenty reach what one in fifty does. So the model
is certain of something in a picture if two things hold: its head gives the picture a value that few of those without it
have, and more pictures of the library reach that value than would if none showed it. A class of pictures, such as
those of the chest, is told from the nearest other one; a finding, from its absence in pictures of the same kinds.
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
from roco_search.search.senses import (
    ATTRIBUTES,
    DETECTABLE,
    NEITHER,
    STEP,
    classes,
    column,
    detectable_key,
    found_column,
)
from roco_search.search.weights import FALSE_ALARM
from roco_search.vocabulary.concepts import Concept, lexicon

UNUSUAL = 0.05  # The chance from which on the number of pictures is no more than chance brings.
EVEN = int(math.log(2) / STEP)
AGREEING = -0.5  # A header that names a part or the whole of what is asked for agrees.

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Certainty:
    """What is certain of the pictures of one library, of what one query asks for."""

    evidence: Evidence
    facts: Facts

    def doubts(self, row: int, frame_id: int) -> tuple[str, ...]:
        """Return what is asked for that a picture does not show for certain, and the words that nothing knows.

        A caption leaves no doubt of what it affirms. Where the model has no heads for findings, nothing is known of its
        certainty, and no doubt is raised.
        """
        if not self.evidence.weights.detectable:
            return ()
        words = [word for word in self.evidence.understood.unread if not self._is_said(word, frame_id)]
        named = [
            one.name
            for name in ATTRIBUTES
            if not self._is_of(name, row) and not any(self._is_said(one.key, frame_id) for one in self._asked(name))
            for one in self._asked(name)
        ]
        seen = [
            one.name
            for kind in self._detected
            for one in self._asked(kind)
            if not self._shows(one, row) and not self._is_said(one.key, frame_id)
        ]
        return (*named, *seen, *words)

    def _is_said(self, name: str, frame_id: int) -> bool:
        return any(extra.says(name, frame_id) for extra in self.evidence.extras)

    @cached_property
    def _detected(self) -> tuple[str, ...]:
        """The kinds of concepts of which the model may be certain or not."""
        known = {key.partition(":")[0] for key in self.evidence.weights.certain} | {"finding"}
        return tuple(kind for kind in ("view", "sequence", "contrast", "finding") if kind in known & DETECTABLE)

    def _asked(self, kind: str) -> tuple[Concept, ...]:
        """Return what is asked for of a kind, each once; what only says what another is a kind of says no more."""
        asked = self.evidence.understood.of(kind)
        wider = {key for found in asked for key in found.within}
        return tuple(found for found in asked if found.key not in wider)

    def _is_of(self, attribute: str, row: int) -> bool:
        """Whether a picture is of the modality, body part or plane that is asked for, or of one of several."""
        if not self._asked(attribute) or not any(name.startswith(attribute) for name in self._limits):
            return True
        said = self.evidence.stated(attribute, self.facts.headers[int(self.facts.codes[row])])
        return bool(self._reached_class(attribute)[row]) if said is None else said >= AGREEING

    @cached_property
    def _limits(self) -> Mapping[str, Sequence[float]]:
        return self.evidence.weights.certain_classes

    @cached_property
    def _classes_reached(self) -> dict[str, Flags]:
        return {}

    def _reached_class(self, attribute: str) -> Flags:
        """Return which pictures the model is certain of, bool ``(n,)``; only if they are more than by chance."""
        if attribute not in self._classes_reached:
            asked = self.evidence.understood.of(attribute)
            shown = {key for one in asked for key in (one.key, *one.shown_with)}
            names = [name for name, keys in classes(attribute).items() if shown.intersection(keys[:1])]
            reached, expected = np.zeros(self.facts.senses.shape[1], bool), 0.0
            for modality, among in self._by_modality(attribute).items():
                for name in names:
                    limit = self._limits.get(f"{attribute}:{name}@{modality}", self._limits.get(f"{attribute}:{name}"))
                    if limit:
                        reached |= among & (self.facts.senses[column(attribute, name)] <= _byte(limit[0]))
                        expected += limit[1] * int(among.sum())
            if not more_than_chance(int(reached.sum()), expected):
                reached[:] = False
            self._classes_reached[attribute] = reached
        return self._classes_reached[attribute]

    def _by_modality(self, attribute: str) -> dict[str, Flags]:
        """Return which pictures are of each modality that is asked for, as headers or else the model say."""
        names = [name for name in classes("modality") if name != NEITHER["modality"]]
        columns = [column("modality", name) for name in names]
        if attribute == "modality":
            return {"": np.ones(self.facts.senses.shape[1], bool)}
        taken = self.facts.senses[columns].argmin(axis=0)
        of_term = {
            term: at
            for at, name in enumerate(names)
            for key in classes("modality")[name]
            for term in lexicon().concept("modality", key).terms
        }
        asked = {name for one in self._asked("modality") for name in names if one.key in classes("modality")[name]}
        said = np.array([of_term.get(header.modality or "", -1) for header in self.facts.headers])[self.facts.codes]
        taken = np.where(said >= 0, said, taken)
        return {name: taken == at for at, name in enumerate(names) if name in (asked or names)}

    def _shows(self, concept: Concept, row: int) -> bool:
        if concept.kind == "view":
            said = self.facts.headers[int(self.facts.codes[row])].view
            if said and concept.terms:
                return said in concept.terms
        reached = self._reached.get(detectable_key(concept))
        return reached is not None and bool(reached[row])

    @cached_property
    def _reached(self) -> Mapping[str, Flags]:
        """Which pictures reach what makes a thing certain, bool ``(n,)``; only if they are more than by chance."""
        weights, found = self.evidence.weights, {}
        keys = list(weights.detectable)
        for key in (detectable_key(one) for kind in self._detected for one in self._asked(kind)):
            if key not in weights.certain:
                continue
            kinds = weights.detectable[key]
            among = self._of_kind("modality", kinds["modality"]) & self._of_kind("body_part", kinds["body_part"])
            reached = among & (self.facts.senses[found_column(keys.index(key))] <= _byte(weights.certain[key]))
            if more_than_chance(int(reached.sum()), FALSE_ALARM * int(among.sum())):
                found[key] = reached
        return found

    def _of_kind(self, attribute: str, names: Sequence[str]) -> Flags:
        """Return which pictures are likelier of some classes of an attribute than not, bool ``(n,)``."""
        own = [column(attribute, name) for name in classes(attribute) if name in names]
        return np.asarray((self.facts.senses[own] <= EVEN).any(axis=0))


def _byte(limit: float) -> int:
    """Return the highest byte that reaches a log-probability; they count downwards from certainty, to even odds."""
    return min(int(-limit / STEP), EVEN)


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
