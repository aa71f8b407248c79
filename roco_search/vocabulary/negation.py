"""What a caption or a report says that there is, without what it says that there is not.

>>> affirmed("Left lower lobe pneumonia. No pleural effusion or pneumothorax.")
'Left lower lobe pneumonia.'
>>> affirmed("Pneumothorax has resolved, but the effusion persists; no change in the mass.")
'the effusion persists no change in the mass.'
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from roco_search.vocabulary import read_yaml

# A point in a number or an abbreviation of one letter ends no sentence.
_SENTENCE = re.compile(r"[^.!?;:()\n]+(?:(?:\.(?=\w)|(?<=\b\w)\.)[^.!?;:()\n]*)*[.!?;:()\n]*")


class _Cues(NamedTuple):
    pseudo: re.Pattern[str]
    before: re.Pattern[str]
    behind: re.Pattern[str]
    clause: re.Pattern[str]


def affirmed(text: str) -> str:
    """Return what of a text is not denied in it: its clauses up to a word such as "no", in their order.

    A cue denies the rest of its clause ("no effusion or mass"), or what comes before it ("effusion has resolved").
    "No change in" and "rule out" deny nothing. It reads English, and the usual cues of German, Spanish, French, Italian
    and Portuguese.
    """
    kept = [part for sentence in _SENTENCE.findall(text) for part in _clauses(sentence)]
    return " ".join(filter(None, kept))


def _clauses(sentence: str) -> list[str]:
    cues = _cues()
    # A cue within a harmless phrase is hidden by letters that are no cue, so that positions stay.
    seen = cues.pseudo.sub(lambda phrase: "x" * len(phrase[0]), sentence)
    borders = [(0, 0), *(border.span() for border in cues.clause.finditer(seen)), (len(seen), len(seen))]
    kept = []
    for (_, start), (stop, _) in pairwise(borders):
        begin, end = cues.before.search(seen, start, stop), cues.behind.search(seen, start, stop)
        if end is not None and (begin is None or begin.start() >= end.start()):
            kept.append(sentence[end.end() : stop])
        else:
            kept.append(sentence[start : stop if begin is None else begin.start()])
    return [part for text in kept if re.search(r"\w", part := text.strip(" ,;()"))]


@cache
def _cues() -> _Cues:
    words = read_yaml("negation.yaml")
    return _Cues(*(_pattern(words[name]) for name in _Cues._fields))


def _pattern(words: list[str]) -> re.Pattern[str]:
    longest = sorted(words, key=len, reverse=True)
    choices = "|".join(r"[\s-]+".join(map(re.escape, word.split())) for word in longest)
    return re.compile(rf"(?<!\w)(?:{choices})(?!\w)", re.IGNORECASE)
