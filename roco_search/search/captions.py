"""What the captions of images say about a query: how much of it they affirm, and the words that do."""

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from roco_search.library import Library
from roco_search.library.truth.captions import Part
from roco_search.search.evidence import Extra
from roco_search.search.understanding import Understood
from roco_search.vocabulary.concepts import Concept, lexicon

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]

NORMAL = ("finding", "normal")
SHARPNESS = 1.5  # Exponent by which a caption that affirms half of a query speaks for less than half as much.
SEEN = 0.35  # What a caption counts for where the picture shows all that is asked: "coronary" is said to be chest, too.
SNIPPET = 100  # characters
UNNEEDED = 0.7  # Weight of what the picture and its header say too; a finding has log 2 or more, and 4 if it is rare.
_ENDINGS = ("", "s", "es")
_NONE = np.empty(0, np.int64)
_WORD = re.compile(r"\w+")


class Asked(NamedTuple):
    """One thing that is asked for: its phrasings, of which a caption has to have one.

    What is not `needed`, the picture and its header say too: captions of chest X-rays seldom say that they are such.
    `part` is where it is looked for: "no finding" is not affirmed.
    """

    phrases: tuple[str, ...]
    needed: bool = True
    part: Part = "affirmed"


class Captioned(NamedTuple):
    """Frames, int64, ascending, how much of the query the caption of each affirms, 0 to 1, and which affirm each part.

    `affirming` has the frames, int64, ascending, of each of those that are wanted.
    """

    ids: Ids
    scores: Scores
    affirming: tuple[Ids, ...]


def said_by_captions(library: Library, understood: Understood) -> Extra | None:
    """Return what captions say about a query, as evidence; None if there are none, or they do not bear on it."""
    if not library.captions.any():  # Then the words need not be looked up either: most libraries have none.
        return None
    wanted, excluded = asked_of(understood)
    ids, scores, affirming = caption_scores(library, wanted, excluded)
    if not scores.any():
        return None

    def explain(frames: Sequence[int]) -> dict[int, str]:
        return {frame: snippet(texts, wanted) or "" for frame, texts in library.captions.texts(frames).items()}

    values = scores**SHARPNESS if any(asked.needed for asked in wanted) else scores * SEEN
    names = (*(concept.key for concept in understood.wanted), *understood.rest)
    return Extra("captions", ids, values, "caption", explain, dict(zip(names, affirming, strict=True)))


def asked_of(understood: Understood) -> tuple[list[Asked], list[Asked]]:
    """Return what a query asks for and what it excludes, in the words of captions.

    A caption speaks of a body part or a finding also where it names a part or a kind of it. Only findings, and words
    of which nothing is understood, have to be in a caption: the rest, the picture and its header say too.
    """
    excluded = understood.excluded
    if any((concept.kind, concept.key) == NORMAL for concept in understood.wanted):
        # "Heart size normal" stands in many a report of something else.
        concepts = lexicon().concepts.values()
        excluded += tuple(other for other in concepts if other.kind == "finding" and (other.kind, other.key) != NORMAL)
    phrases = _phrases((*understood.wanted, *excluded))
    wanted = [
        Asked(
            phrases[concept], concept.kind == "finding", "text" if (concept.kind, concept.key) == NORMAL else "affirmed"
        )
        for concept in understood.wanted
    ]
    wanted += [Asked((word,)) for word in understood.rest]
    return wanted, [Asked(phrases[concept]) for concept in excluded]


@cache
def _below() -> dict[Concept, set[Concept]]:
    """Return the parts and the kinds of each concept that has any."""
    found: defaultdict[Concept, set[Concept]] = defaultdict(set)
    concepts = lexicon().concepts
    for concept in concepts.values():
        for key in concept.within:
            if (around := concepts.get((concept.kind, key))) is not None:
                found[around].add(concept)
        found[concept].update(part for key in concept.parts if (part := concepts.get((concept.kind, key))) is not None)
    return dict(found)


@cache
def _general() -> tuple[Concept, ...]:
    return tuple(concept for concept in lexicon().concepts.values() if concept.usually is not None)


def _phrases(concepts: Sequence[Concept]) -> dict[Concept, tuple[str, ...]]:
    """Return all that each concept, its parts and its kinds, and theirs, are called, in every language."""
    whole: defaultdict[Concept, set[Concept]] = defaultdict(set)
    below = _below()
    for concept in concepts:
        reached, waiting = {concept}, [concept]
        while waiting:
            new = below.get(waiting.pop(), set()) - reached
            reached |= new
            waiting += new
        # A caption of a chest film says "effusion" and means a pleural one.
        reached |= {other for other in _general() if other.usually == concept.key and concept.kind == other.kind}
        for other in reached:
            whole[other].add(concept)
    found: dict[Concept, list[str]] = {concept: [] for concept in concepts}
    for phrase, (named, _) in lexicon().phrases.items():
        for concept in {concept for other in named for concept in whole.get(other, ())}:
            found[concept].append(phrase)
    return {concept: tuple(phrases) for concept, phrases in found.items()}


def caption_scores(library: Library, wanted: Sequence[Asked], excluded: Sequence[Asked] = ()) -> Captioned:
    """Compare a query with the captions and reports of a library.

    What is needed counts by its rarity among the captions, -log of the share that affirms it; what is not, by
    `UNNEEDED`. A caption that affirms something excluded scores 0. What a caption denies ("no effusion") it does not
    affirm. A caption that affirms nothing that is needed scores 0, too, unless it affirms everything: that a coronary
    angiogram is called an X-ray makes it no chest X-ray.
    """
    conditions = _conditions(library, [*wanted, *excluded])
    count = library.captions.frame_count()
    parts, weights = [], 0.0
    for asked, condition in zip(wanted, conditions, strict=False):
        affirming = library.captions.matching(condition, asked.part) if condition else _NONE
        weight = math.log((count + 1) / (len(affirming) + 0.5)) if asked.needed else UNNEEDED
        parts.append((affirming, weight))
        weights += weight
    ids = np.unique(np.concatenate([_NONE, *(affirming for affirming, _ in parts)]))
    total, needed = np.zeros(len(ids)), np.zeros(len(ids), bool)
    for asked, (affirming, weight) in zip(wanted, parts, strict=True):
        rows = np.searchsorted(ids, affirming)
        total[rows] += weight
        needed[rows] |= asked.needed
    total[~needed & (total < weights - 1e-9)] = 0
    if ruled_out := " OR ".join(filter(None, conditions[len(wanted) :])):
        total[np.isin(ids, library.captions.matching(ruled_out, "affirmed"))] = 0
    scores = (total / weights if weights else total).astype(np.float32)
    return Captioned(ids, scores, tuple(affirming for affirming, _ in parts))


def affirmed_by_captions(library: Library, concepts: Sequence[Concept]) -> dict[Concept, int]:
    """Return how many pictures have a text that affirms each concept; concepts that none affirms are left out."""
    if not library.captions.any():
        return {}
    phrases = _phrases(concepts)
    conditions = _conditions(library, [Asked(phrases[concept]) for concept in concepts])
    counts = {
        concept: len(library.captions.matching(condition, "affirmed"))
        for concept, condition in zip(concepts, conditions, strict=True)
        if condition
    }
    return {concept: count for concept, count in counts.items() if count}


def _conditions(library: Library, asked: Sequence[Asked]) -> list[str]:
    """Return the condition that a text has one of the phrases of each; "" where no text can.

    A phrase is looked for in the singular and the plural. One with a word that no text has is left out: of hundreds of
    phrases in six languages few remain.
    """
    forms = [
        [
            [*words[:-1], words[-1] + ending]
            for phrase in one.phrases
            if (words := _words(phrase))
            for ending in _ENDINGS
        ]
        for one in asked
    ]
    known = library.captions.known({word for phrases in forms for phrase in phrases for word in phrase})
    return [
        " OR ".join(dict.fromkeys(f'"{" ".join(phrase)}"' for phrase in phrases if known.issuperset(phrase)))
        for phrases in forms
    ]


def snippet(texts: Sequence[str], wanted: Sequence[Asked], most: int = SNIPPET) -> str | None:
    """Return the part of an image's texts that says the most of what is asked for; None if it has no text.

    It is one line of at most `most` characters, with ``…`` where it was cut. Where no text has any of the words, it is
    the beginning of the first.
    """
    best: tuple[int, int, str] | None = None
    for text in texts:
        line = " ".join(text.split())
        folded = _fold(line)
        found = [
            (not asked.needed, match.start())
            for asked in wanted
            if asked.phrases and (match := re.search(_pattern(asked.phrases), folded)) is not None
        ]
        if best is None or len(found) > best[0]:
            best = (len(found), min(found, default=(False, 0))[1], line)
    return None if best is None else _cut(best[2], best[1], most)


def _words(phrase: str) -> list[str]:
    """Return the words of a phrase as the full-text index has them."""
    return _WORD.findall(_fold(phrase))


def _pattern(phrases: Sequence[str]) -> str:
    choices = "|".join(r"\W+".join(map(re.escape, _words(phrase))) for phrase in phrases)
    return rf"\b(?:{choices})(?:e?s)?\b"


def _fold(text: str) -> str:
    """Return a text in small letters without accents, of the same length."""
    return "".join(plain[0] if len(plain := unicodedata.normalize("NFKD", char).casefold()) else char for char in text)


def _cut(line: str, at: int, most: int) -> str:
    if len(line) <= most:
        return line
    start = max(0, min(at - most // 3, len(line) - most + 2))
    if start:
        start = line.find(" ", start) + 1 or start
    end = start + most - 1 - (start > 0)
    cut = line[start:end]
    if end < len(line):
        cut = (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"
    return f"…{cut}" if start else cut
