"""What was understood of a query, as chips: each says one thing, and knows the query without it."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from roco_search.search.understanding import Understood
from roco_search.vocabulary.concepts import Concept, fold, lexicon


class Chip(NamedTuple):
    """One thing that was understood.

    Attributes
    ----------
    label
        What a person reads.
    kind
        "wanted", "excluded", "words" (of which nothing is understood) or "read" (a word was read as another).
    without
        The query without it; of a word that was read as another, the query as it was typed.
    """

    label: str
    kind: str
    without: str


def chips_of(understood: Understood) -> list[Chip]:
    """Return the chips of a query, in the order of its text; none where nothing was understood."""
    if not (understood.wanted or understood.excluded or understood.corrected or understood.implied):
        return []
    parts = [(concept.name, "wanted", spoken(concept)) for concept in understood.wanted]
    parts += [(f"not {concept.name}", "excluded", f"without {spoken(concept)}") for concept in understood.excluded]
    if understood.rest:
        label = " ".join(_with_implied(word, understood) for word in understood.rest)
        parts += [(label, "words", " ".join(understood.rest))]
    # What is excluded comes last: a negation reaches to the end.
    said = sorted((kind == "excluded", number) for number, (_, kind, _) in enumerate(parts))
    chips = []
    for number, (label, kind, _) in enumerate(parts):
        others = [parts[other][2] for _, other in said if other != number]
        chips.append(Chip(label, kind, " ".join(others)))
    read = [Chip(f"“{typed}” read as “{meant}”", "read", understood.text) for typed, meant in understood.corrected]
    return [*chips, *read]


def _with_implied(word: str, understood: Understood) -> str:
    names = ", ".join(concept.name for concept in understood.implied.get(word, ()))
    return f"{word} ({names})" if names else word


def spoken(concept: Concept) -> str:
    """Return a phrase that is read as a concept and nothing else: its name where that is one."""
    phrases = _phrases().get(concept, ())
    return concept.name if fold(concept.name) in phrases or not phrases else phrases[0]


@cache
def _phrases() -> dict[Concept, list[str]]:
    found: dict[Concept, list[str]] = {}
    for phrase, (named, languages) in lexicon().phrases.items():
        if len(named) == 1 and "en" in languages:
            found.setdefault(named[0], []).append(phrase)
    return found
