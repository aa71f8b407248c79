"""How a word of a query was meant to be spelt.

A word is corrected to the nearest one of the vocabulary or of the captions that are indexed, and only if nothing knows
it: a rare word of radiology is often one letter from a frequent one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache

from roco_search.vocabulary.concepts import caption_words, english_words, implied_by_words, lexicon, word_lists

LEAST = 5  # Letters from which a word is corrected; nearly every shorter one is one letter from another.
SURE = 10  # Letters from which two may be wrong, not one.


def corrected(word: str, known: Collection[str] | Callable[[], Collection[str]], spoken: frozenset[str]) -> str | None:
    """Return what a word is a misspelling of; None if it is known, too short, or like nothing.

    Parameters
    ----------
    word
        A folded word.
    known
        Folded words that are right as they are, and to which others may be corrected, such as those of captions; or
        what returns them, called only for a word that the vocabulary does not know.
    spoken
        The languages to whose words it may be corrected.
    """
    if len(word) < LEAST or not word.isalpha() or word in english_words() or _is_right(word):
        return None
    others = known() if callable(known) else known
    return None if word in others else _nearest(word, others, spoken)


def _nearest(word: str, known: Collection[str], spoken: frozenset[str]) -> str | None:
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    most = 2 if len(word) >= SURE else 1
    best: tuple[int, int, str] | None = None
    for rank, choices in enumerate((_correctable(spoken), tuple(caption_words()), tuple(known))):
        for found, distance, _ in process.extract(word, choices, scorer=OSA.distance, score_cutoff=most, limit=8):
            # The first letter is seldom wrong, unless the first two have changed places.
            if found[0] == word[0] or sorted(found[:2]) == sorted(word[:2]):
                best = min(best or (99, 0, ""), (int(distance), rank, str(found)))
    return best[2] if best else None


def _is_right(word: str) -> bool:
    """Whether a word is part of a phrase, such as "circumference", or a known word with a prefix: "avascular"."""
    if word in _known_words() or word in implied_by_words():
        return True
    stems = (word.removeprefix(prefix) for prefix in word_lists()["prefix"] if word.startswith(prefix))
    return any(len(stem) >= LEAST - 1 and (stem in _known_words() or stem in english_words()) for stem in stems)


@cache
def _known_words() -> frozenset[str]:
    """Return every word of the vocabulary, of phrases too."""
    return frozenset(word for phrase in lexicon().phrases for word in phrase.split())


@cache
def _correctable(spoken: frozenset[str]) -> tuple[str, ...]:
    """Return the words of some languages that a misspelt one can be meant as: "plica" beside "MRI" is no "placa"."""
    phrases = (phrase for phrase, (_, languages) in lexicon().phrases.items() if languages & spoken)
    words = {word for phrase in phrases for word in phrase.split()}
    if "en" in spoken:
        words |= implied_by_words().keys()
    return tuple(sorted(word for word in words if len(word) >= LEAST - 1))
