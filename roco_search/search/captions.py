"""What the captions of images say about a query: how much of it they affirm, and the words that do."""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from roco_search.library import Library

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]

SNIPPET = 100  # characters
_WORD = re.compile(r"\w+")


class Asked(NamedTuple):
    """One thing that is asked for: its phrasings, of which a caption has to have one.

    Without `needed`, it is only asked for where any caption speaks of such a thing at all: captions of chest X-rays
    seldom say that they are chest X-rays.
    """

    phrases: tuple[str, ...]
    needed: bool = True


class Captioned(NamedTuple):
    """The frames that have a caption, int64, ascending, and for each how much of the query that affirms, 0 to 1."""

    ids: Ids
    scores: Scores


def caption_scores(library: Library, wanted: Sequence[Asked], excluded: Sequence[Asked] = ()) -> Captioned:
    """Compare a query with the captions and reports of a library.

    Each thing asked for counts by its rarity among the captions, -log of the share that affirms it. A caption that
    affirms something excluded scores 0. What a caption denies ("no effusion") it does not affirm.

    Returns
    -------
    Captioned
        Without a frame if the library has no caption, or nothing is asked for.
    """
    captioned = library.captions.captioned() if wanted else np.empty(0, np.int64)
    if not len(captioned):
        return Captioned(captioned, np.empty(0, np.float32))
    total, weights = np.zeros(len(captioned)), 0.0
    for asked in wanted:
        affirming = library.captions.matching(_any_of(asked.phrases), "affirmed")
        if not len(affirming) and not asked.needed:
            continue
        weight = math.log((len(captioned) + 1) / (len(affirming) + 0.5))
        total[np.searchsorted(captioned, affirming)] += weight
        weights += weight
    for asked in excluded:
        total[np.searchsorted(captioned, library.captions.matching(_any_of(asked.phrases), "affirmed"))] = 0
    return Captioned(captioned, (total / weights if weights else total).astype(np.float32))


def _any_of(phrases: Sequence[str]) -> str:
    """Return the condition that a text has one of some phrases, in the singular or the plural."""
    written = (" ".join(_WORD.findall(phrase)) for phrase in phrases)
    forms = (f'"{phrase}{ending}"' for phrase in written if phrase for ending in ("", "s", "es"))
    return " OR ".join(dict.fromkeys(forms)) or '""'


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


def _pattern(phrases: Sequence[str]) -> str:
    choices = "|".join(r"\W+".join(map(re.escape, _WORD.findall(_fold(phrase)))) for phrase in phrases)
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
