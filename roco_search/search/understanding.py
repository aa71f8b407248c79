"""A query is read: which modality, body part, side, plane, view, sequence, contrast and findings it names.

The words are those of `roco_search.vocabulary.concepts`, in English, German, Spanish, French, Italian and Portuguese.
What is denied ("no", "without") is excluded; "rule out" denies nothing. A word that nothing knows is corrected to the
nearest one of the vocabulary, or of the captions that are indexed, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

from roco_search.search.spelling import corrected
from roco_search.vocabulary.concepts import (
    LANGUAGES,
    Concept,
    english_words,
    everyday_words,
    fold,
    implied_by_words,
    lexicon,
    meant_at,
    word_lists,
)

SHORT = 4  # Letters up to which an English word may be an abbreviation, which is written out for the model.
OR = frozenset({"or", "nor", "oder", "noch", "ou", "ni", "o"})
AROUND = ("negation", "not_negation", "negated_behind", "end_of_negation", "qualifier", "filler")


@dataclass(frozen=True)
class Understood:
    """What was read out of a query.

    Attributes
    ----------
    text
        The query as it was typed.
    wanted, excluded
        The concepts that it asks for and that it rules out, each once, in the order of the text.
    corrected
        Words with what they were read as.
    rest
        The folded words that mean nothing here, in the order of the text.
    english
        The query in English words: corrected, abbreviations written out, without what is excluded.
    """

    text: str
    wanted: tuple[Concept, ...] = ()
    excluded: tuple[Concept, ...] = ()
    corrected: tuple[tuple[str, str], ...] = ()
    rest: tuple[str, ...] = ()
    english: str = ""
    _cache: dict[str, object] = field(default_factory=dict, repr=False, compare=False)

    def of(self, kind: str) -> tuple[Concept, ...]:
        """Return the wanted concepts of a kind."""
        return tuple(concept for concept in self.wanted if concept.kind == kind)

    @cached_property
    def elsewhere(self) -> float:
        """Return the share of what was typed that radiology has no word for: 0 to 1 of its concepts and other words."""
        everyday = everyday_words() if self.rest else frozenset()
        strange = sum(word in everyday and word not in implied_by_words() for word in self.rest)
        return strange / max(1, len(self.rest) + len(self.wanted) + len(self.excluded))

    @cached_property
    def unread(self) -> tuple[str, ...]:
        """The words of the rest that may well name something: those that are no general English."""
        general = everyday_words() - implied_by_words().keys() if self.rest else frozenset()
        return tuple(word for word in self.rest if len(word) > 2 and word.isalpha() and word not in general)

    @cached_property
    def implied(self) -> Mapping[str, tuple[Concept, ...]]:
        """Return what words of the rest imply beyond what is asked: "duodenal" is said of images of the abdomen."""
        known, asked = implied_by_words() if self.rest else {}, {concept.kind for concept in self.wanted}
        found = {word: tuple(one for one in known.get(word, ()) if one.kind not in asked) for word in self.rest}
        return {word: implied for word, implied in found.items() if implied}

    def suggested(self, kind: str) -> tuple[Concept, ...]:
        """Return the concepts of a kind that words imply, each once."""
        concepts = (concept for implied in self.implied.values() for concept in implied)
        return tuple(dict.fromkeys(concept for concept in concepts if concept.kind == kind))

    @cached_property
    def line(self) -> str:
        """One line for a person: ``chest · X-ray · pneumonia · "pnuemonia" read as "pneumonia"``."""
        parts = [concept.name for concept in self.wanted]
        parts += [f"not {concept.name}" for concept in self.excluded]
        parts += [f'"{typed}" read as "{read}"' for typed, read in self.corrected]
        parts += [f'"{word}" suggests {_names(implied)}' for word, implied in self.implied.items()]
        return " · ".join(parts)

    def as_json(self) -> dict[str, object]:
        """Return what was understood, for a program: names by kind, and only what there is."""
        found: dict[str, object] = {}
        for concept in self.wanted:
            named = found.setdefault("findings" if concept.kind == "finding" else concept.kind, [])
            assert isinstance(named, list)
            named.append(concept.name)
        if self.excluded:
            found["excluded"] = [concept.name for concept in self.excluded]
        if self.corrected:
            found["corrected"] = dict(self.corrected)
        if self.rest:
            found["rest"] = " ".join(self.rest)
        if self.implied:
            found["implied"] = {word: [concept.name for concept in implied] for word, implied in self.implied.items()}
        return found


def _names(concepts: Sequence[Concept]) -> str:
    return ", ".join(concept.name for concept in concepts)


def as_typed(text: str) -> Understood:
    """Return a query of which nothing is read: its words are taken as they were typed."""
    return Understood(text, english=text)


def understand(
    text: str,
    known: Collection[str] | Callable[[], Collection[str]] = (),
    *,
    correct: bool = True,
) -> Understood:
    """Read a query.

    Parameters
    ----------
    text
        As it was typed.
    known
        Folded words that are right as they are, and to which others may be corrected, such as those of captions; or
        what returns them, called only when there is a word that the vocabulary does not know.
    correct
        Whether to correct the spelling.

    Examples
    --------
    >>> understand("CXR without pnuemonia").line
    'X-ray · chest · not pneumonia · "pnuemonia" read as "pneumonia"'
    """
    return _Reading(text, known, correct).result()


class _Reading:
    """The reading of one query: words are taken from the left, the longest phrase first."""

    def __init__(self, text: str, known: Collection[str] | Callable[[], Collection[str]], correct: bool) -> None:
        self.text = text
        self.correct = correct
        self.known = known
        self.words = [word for word in fold(text).replace(",", " , ").split() if word]
        votes = _votes(self.words)
        self.language = _language(votes)
        self.spoken = frozenset(("en", self.language)) if votes else frozenset(LANGUAGES)
        self.wanted: dict[Concept, None] = {}
        self.excluded: dict[Concept, None] = {}
        self.spared: dict[Concept, None] = {}  # Where a denied finding would be, such as the hip in "no hip fracture".
        self.corrected: dict[str, str] = {}
        self.rest: list[str] = []
        self.english: list[str | Concept] = []
        self.denied = self.fresh = False  # Whether what follows is denied, and whether that was said just before.
        self.last: tuple[Concept, ...] = ()

    def result(self) -> Understood:
        place = 0
        while place < len(self.words):
            place += self._step(place)
        if not any(concept.kind == "body_part" for concept in self.wanted):
            self.wanted |= self.spared
            self.english += self.spared
        places = tuple(concept for concept in self.wanted if concept.kind == "body_part")
        excluded = tuple(dict.fromkeys(meant_at(concept, places) for concept in self.excluded))
        wanted = dict.fromkeys(meant_at(concept, places) for concept in self.wanted)
        english = (word if isinstance(word, str) else meant_at(word, places).name for word in self.english)
        if any(concept.kind == "finding" and concept.opposite is None for concept in wanted):
            wanted.pop(lexicon().concept("finding", "normal"), None)  # A picture that shows a finding is not normal.
        return Understood(
            self.text,
            tuple(concept for concept in wanted if concept not in excluded),
            excluded,
            tuple(self.corrected.items()),
            tuple(self.rest),
            " ".join(english),
        )

    def _step(self, place: int) -> int:
        """Read what begins at a place; return how many words it took."""
        length, concepts = self._phrase(place)
        listed = self._list(place)
        if length and (listed is None or length >= listed[1]):
            self._take(concepts, self.words[place : place + length])
            return length
        if listed is not None:
            own = self.words[place : place + listed[1]]
            self._apply_negation(listed[0], own)
            if listed[0] == "qualifier" and not self.denied:
                self.english += own
            self.fresh |= self.denied and own[0] in OR  # "no fracture or hip dislocation"
            return listed[1]
        word = self.words[place]
        if parts := _compound(word):
            self._take(parts, [word])
        elif (read := self._nearest(word)) is not None:
            self.corrected[word] = read
            self.words[place : place + 1] = read.split()
            return 0
        elif word != "," and not self.denied:  # "no cavitation" asks for none.
            self.rest.append(word)
            self.english.append(word)
        return 1

    def _phrase(self, place: int) -> tuple[int, tuple[Concept, ...]]:
        phrases = lexicon().phrases
        for length in range(min(lexicon().longest, len(self.words) - place), 0, -1):
            phrase = " ".join(self.words[place : place + length])
            for written in (phrase, phrase.removesuffix("s")):
                found = phrases.get(written)
                if found is not None and (length > 1 or self._speaks(written, found[1])):
                    other = lexicon().elsewhere.get((written, self.language))
                    return length, found[0] if other is None or self.language in found[1] else other
        return 0, ()

    def _speaks(self, word: str, languages: frozenset[str]) -> bool:
        """Whether a word may be meant in one of the languages that have it: "main" is no hand in English."""
        return bool(languages & {"en", self.language}) or word not in english_words()

    def _list(self, place: int) -> tuple[str, int] | None:
        """Return the list of words that a phrase here is on, and its length."""
        best: tuple[str, int] | None = None
        for name in AROUND:
            phrases = _lists()[name]
            for length in range(min(3, len(self.words) - place), 0, -1):
                if " ".join(self.words[place : place + length]) in phrases:
                    if best is None or length > best[1]:
                        best = (name, length)
                    break
        return best

    def _apply_negation(self, name: str, words: Sequence[str]) -> None:
        if name == "negation":
            self.denied = self.fresh = True
        elif name == "not_negation":
            self.denied = False
        elif name == "negated_behind":
            for concept in self.last:
                if concept.kind == "finding":
                    self.excluded[concept] = None
        elif name == "end_of_negation" or words == [","]:
            self.denied = False

    def _take(self, concepts: tuple[Concept, ...], words: Sequence[str]) -> None:
        before, self.last = self.last, concepts
        findings = tuple(concept for concept in concepts if concept.kind == "finding")
        if self.denied and findings:
            for place in (*before, *concepts):
                if place.kind == "body_part" and (place in self.excluded or place in concepts):
                    self.excluded.pop(place, None)
                    self.spared[place] = None
            concepts = findings
        elif self.denied and not (self.fresh and len(concepts) == 1):
            self.denied = False  # "no effusion chest film": what is denied ends where the picture is named.
        self.fresh = False
        if self.denied and all(concept.opposite for concept in concepts):
            concepts = tuple(lexicon().concept(concept.kind, str(concept.opposite)) for concept in concepts)
            self.wanted |= dict.fromkeys(concepts)
            self.english += [concept for concept in concepts if concept not in self.english]
            return
        into = self.excluded if self.denied else self.wanted
        for concept in concepts:
            into[concept] = None
        if not self.denied:
            phrase = " ".join(words)
            found = lexicon().phrases.get(phrase)
            whole = max(map(len, words)) > SHORT or phrase in _lists()["whole"]
            spoken = found is not None and "en" in found[1] and whole and phrase not in _lists()["clipped"]
            self.english += words if spoken else [concept for concept in concepts if concept not in self.english]

    def _nearest(self, word: str) -> str | None:
        return corrected(word, self.known, self.spoken) if self.correct else None


def _compound(word: str) -> tuple[Concept, ...]:
    """Return what a German compound of two known words means, such as "Kniegelenksarthrose"."""
    if len(word) < 8 or word in english_words() or word in implied_by_words():
        return ()
    phrases = lexicon().phrases
    for cut in range(len(word) - 3, 3, -1):
        head, tail = word[:cut], word[cut:]
        for first in (head, head.removesuffix("s"), head.removesuffix("n"), head.removesuffix("en")):
            if first in phrases and tail in phrases:
                return tuple(dict.fromkeys(phrases[first][0] + phrases[tail][0]))
            if first in phrases and tail in {"aufnahme", "aufnahmen", "bild", "bilder", "untersuchung", "bereich"}:
                return phrases[first][0]
    return ()


def _votes(words: Sequence[str]) -> dict[str, float]:
    """Return how much of a query each language has words for; a phrase of several is shared among them."""
    votes: dict[str, float] = {}
    phrases = lexicon().phrases
    for size in (1, 2, 3):
        for place in range(len(words) - size + 1):
            phrase = " ".join(words[place : place + size])
            found = phrases.get(phrase)
            spoken = [one for one in LANGUAGES if found and (one in found[1] or (phrase, one) in lexicon().elsewhere)]
            for language in spoken:
                votes[language] = votes.get(language, 0) + 1 / (1 + len(spoken))
    return votes


def _language(votes: Mapping[str, float]) -> str:
    """Return the language with the most votes; English unless another has more."""
    best = max(votes, key=lambda language: votes[language], default="en")
    return best if votes.get(best, 0) > votes.get("en", 0) else "en"


@cache
def _lists() -> dict[str, frozenset[str]]:
    return {name: frozenset(phrases) for name, phrases in word_lists().items()}
