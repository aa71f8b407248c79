"""What people ask radiology images for, as concepts with their phrases in six languages: the data of ``lexicon/``.

Reading it costs a query a few milliseconds, so it is JSON, and all phrases are folded in one pass.
"""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from roco_search.system.process import collector_paused
from roco_search.vocabulary import DATA, attributes, image_classes

LANGUAGES = ("en", "de", "es", "fr", "it", "pt")
KINDS = ("modality", "body_part", "laterality", "plane", "view", "sequence", "contrast", "finding")
_FILES = ("shorthand", "modality", "body_part", "context", "finding")
_CAPITALISED = re.compile(r"\b[A-Z][a-z]+")
_APART = re.compile(r"[^0-9a-z\n,]+")


class Concept(NamedTuple):
    """One thing that a query can ask for.

    Attributes
    ----------
    kind
        One of `KINDS`.
    key
        What the data calls it, such as "MR" or "pleural effusion"; unique within its kind.
    name
        What a person calls it.
    terms
        The DICOM terms in a header that agree with it.
    related
        Keys of the same kind that contain it ("within") or are part of it ("parts"), or of which it is a kind.
    place
        Of a finding, the key of the body part where it is found; None if that can be anywhere.
    shown_on
        Of a finding, keys of the modalities that commonly show it, the most usual first; none if any may.
    usually
        Of a general finding, the key of the kind that is meant where the query names no other place: see `meant_at`.
    shown_with
        Of a body part, keys of others whose pictures all show it: those of the head show the brain.
    opposite
        The key of the same kind that a denial means: what is not normal is abnormal.
    """

    kind: str
    key: str
    name: str
    terms: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    place: str | None = None
    shown_on: tuple[str, ...] = ()
    usually: str | None = None
    opposite: str | None = None
    shown_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All concepts, and what they are called.

    Attributes
    ----------
    concepts
        By (kind, key).
    phrases
        Folded phrases, each with (the concepts that it names, the languages in which it does).
    elsewhere
        The other concepts that a phrase names in another language, by (phrase, language): "PE" is an embolism, and
        "pé" a foot in Portuguese.
    longest
        The number of words of the longest phrase.
    """

    concepts: Mapping[tuple[str, str], Concept]
    phrases: Mapping[str, tuple[tuple[Concept, ...], frozenset[str]]]
    elsewhere: Mapping[tuple[str, str], tuple[Concept, ...]]
    longest: int

    def concept(self, kind: str, key: str) -> Concept:
        """Return the concept of a kind with a key."""
        return self.concepts[kind, key]


def fold(text: str) -> str:
    """Return a text as phrases are compared: small letters and digits without accents, words apart by one space.

    >>> fold("Röntgen-Thorax, p.a.")
    'rontgen thorax, p a'
    """
    plain = unicodedata.normalize("NFKD", text.casefold().replace("œ", "oe").replace("ø", "o"))
    plain = plain.encode("ascii", "ignore").decode()  # What NFKD has taken apart leaves its accents here.
    return _APART.sub(" ", plain).replace(" ,", ",").strip()


@cache
def lexicon() -> Lexicon:
    """Return the lexicon; a phrase that two concepts share has its English meaning, or else the one read first."""
    with collector_paused():  # which takes a sixth of the time
        return _made()


def _made() -> Lexicon:
    entries = [(name, key, entry) for name in _FILES for key, entry in _read(name).items()]
    concepts = {}
    for name, key, entry in entries:
        if name != "shorthand":
            found = _concept(name, key, entry)
            concepts[found.kind, found.key] = found
    phrases: dict[str, tuple[tuple[Concept, ...], frozenset[str]]] = {}
    other: dict[tuple[str, str], tuple[Concept, ...]] = {}
    # The accents of all phrases are taken off in one pass.
    meanings = [_meant(name, key, entry, concepts) for name, key, entry in entries]
    lines = [
        (meant, language, entry[language])
        for meant, (_, _, entry) in zip(meanings, entries, strict=True)
        for language in LANGUAGES
        if entry.get(language)
    ]
    folded = fold("\n".join(text for _, _, text in lines)).split("\n")
    alone = {language: frozenset((language,)) for language in LANGUAGES}
    for (meant, language, _), text in zip(lines, folded, strict=True):
        first = meant, alone[language]
        for phrase in text.split(", "):
            had = phrases.get(phrase)
            if had is None:
                phrases[phrase] = first
            elif had[0] is meant or had[0] == meant:
                phrases[phrase] = (meant, had[1] | first[1])
            elif language == "en" and "en" not in had[1]:
                phrases[phrase] = first
                other |= {(phrase, one): had[0] for one in had[1]}
            else:
                other[phrase, language] = meant
    phrases.pop("", None)
    longest = 1 + max(map(str.count, phrases, itertools.repeat(" ")))
    return Lexicon(concepts, phrases, other, longest)


def meant_at(finding: Concept, places: Sequence[Concept]) -> Concept:
    """Return the kind of a general finding that is meant at some body parts.

    An effusion is pleural, unless the query names a place: of the knee it is one of a joint, and of the abdomen none of
    the kinds that have a word.

    >>> effusion, knee = lexicon().concept("finding", "effusion"), lexicon().concept("body_part", "knee")
    >>> meant_at(effusion, ()).key, meant_at(effusion, (knee,)).key
    ('pleural effusion', 'joint effusion')
    """
    if finding.usually is None:
        return finding
    usual = lexicon().concept("finding", finding.usually)
    if not places:
        return usual
    concepts = lexicon().concepts.values()
    kinds = (usual, *(one for one in concepts if one.kind == "finding" and finding.key in one.within and one != usual))
    near = [(min(_distance(kind.place, place.key) for place in places), kind) for kind in kinds if kind.place]
    least = min((distance for distance, _ in near), default=APART)
    return finding if least == APART else next(kind for distance, kind in near if distance == least)


APART = 3


def _distance(found: str, named: str) -> int:
    """Return 0 for the same body part, 1 for a part of where a thing is found, 2 for the whole of it, else `APART`."""
    place, other = lexicon().concept("body_part", found), lexicon().concept("body_part", named)
    if found == named:
        return 0
    if found in other.within or named in place.parts:
        return 1
    return 2 if named in place.within or found in other.parts else APART


@cache
def word_lists() -> Mapping[str, tuple[str, ...]]:
    """Return the words around concepts, folded: "negation", "filler", and what else ``lexicon/words.json`` names."""
    found = {}
    for name, text in _read("words").items():
        phrases = [phrase.strip() for phrase in fold(text).split(",")]
        found[name] = tuple(sorted(dict.fromkeys(phrases), key=len, reverse=True))
    return found


def elsewhere() -> tuple[str, ...]:
    """Return texts of other worlds, in six languages: a radiology image that is near one is near it by chance."""
    return tuple((DATA / "lexicon" / "elsewhere.txt").read_text("utf-8").splitlines())


@cache
def typical_queries() -> tuple[str, ...]:
    """Return what people ask for, in English: kinds of images, and each finding where and on what it is seen.

    A text is embedded far from all images, so what has to hold of queries is measured with these, never with images.
    """
    kinds = (prompt for name in attributes() for entry in image_classes(name) for prompt in entry.prompts)
    found = []
    for concept in lexicon().concepts.values():
        if concept.kind == "finding":
            place = f" of the {lexicon().concept('body_part', concept.place).name}" if concept.place else ""
            shown = (f"{lexicon().concept('modality', key).name}{place}" for key in concept.shown_on)
            found += [concept.name, *(f"{concept.name} on {where}" for where in shown)]
    return tuple(dict.fromkeys((*kinds, *found)))


@cache
def everyday_words() -> frozenset[str]:
    """Return general English words that captions of radiology images do not use."""
    return _word_file("everyday.txt")


@cache
def english_words() -> frozenset[str]:
    """Return the English words that are taken for right without being a phrase: general ones and those of captions."""
    return everyday_words() | caption_words()


@cache
def implied_by_words() -> Mapping[str, tuple[Concept, ...]]:
    """Return what words imply that name no concept: the body parts and modalities whose images they are said of."""
    found: dict[str, tuple[Concept, ...]] = {}
    for kind, entries in _read("implied").items():
        for key, words in entries.items():
            for word in words.split():
                found[word] = (*found.get(word, ()), lexicon().concept(kind, key))
    return found


@cache
def caption_words() -> frozenset[str]:
    """Return the English words of radiology that name no concept."""
    return _word_file("captions.txt")


def _word_file(name: str) -> frozenset[str]:
    return frozenset((DATA / "lexicon" / name).read_text("ascii").split())


def split(text: str) -> tuple[str, ...]:
    """Return what stands between the commas of a value of the data."""
    return tuple(part for part in map(str.strip, text.split(",")) if part) if text else ()


def _read(name: str) -> dict[str, Any]:
    content = json.loads((DATA / "lexicon" / f"{name}.json").read_bytes())
    assert isinstance(content, dict)
    return content


def _concept(name: str, key: str, entry: Mapping[str, str]) -> Concept:
    kind, _, short = key.partition(":") if name == "context" else (name, "", key)
    return Concept(
        kind=kind,
        key=short,
        name=entry["name"],
        terms=split(entry.get("terms", "")),
        within=split(entry.get("within", entry.get("kind_of", ""))),
        parts=split(entry.get("parts", "")),
        place=entry.get("in"),
        shown_on=split(entry.get("on", "")),
        usually=entry.get("usually"),
        opposite=entry.get("opposite"),
        shown_with=split(entry.get("shown_with", "")),
    )


def _meant(
    name: str, key: str, entry: Mapping[str, str], concepts: Mapping[tuple[str, str], Concept]
) -> tuple[Concept, ...]:
    own = () if name == "shorthand" else (_place(name, key),)
    named = (*own, *(tuple(part.split(":", 1)) for part in split(entry.get("means", entry.get("implies", "")))))
    return tuple(concepts[kind, short] for kind, short in named)


def _place(name: str, key: str) -> tuple[str, str]:
    if name != "context":
        return name, key
    kind, _, short = key.partition(":")
    return kind, short


def spoken_term(attribute: str, term: str) -> str:
    """Return what a person calls a DICOM term of a modality, a body part or a view.

    A modality that no concept has keeps the meaning that it has in the standard (CID 33 of PS3.16).

    >>> spoken_term("modality", "DX"), spoken_term("body_part", "CSPINE"), spoken_term("body_part", "SCROTUM")
    ('X-ray', 'cervical spine', 'scrotum')
    >>> spoken_term("modality", "OT"), spoken_term("modality", "RTDOSE"), spoken_term("modality", "IVOCT")
    ('other', 'RT dose', 'intravascular optical coherence tomography')
    """
    if attribute == "modality":
        return _spoken_terms(attribute).get(term) or _meanings().get(term, term)
    if attribute == "view":
        return term.lower() if len(term) > 3 else term  # such as axial, and PA
    return _spoken_terms(attribute).get(term) or term.lower()


@cache
def _meanings() -> dict[str, str]:
    """Return the standard's meaning of each modality, in small letters but for abbreviations."""
    table: dict[str, str] = json.loads((DATA / "modalities.json").read_bytes())
    return {term: _CAPITALISED.sub(lambda word: word[0].lower(), meaning) for term, meaning in table.items()}


@cache
def _spoken_terms(attribute: str) -> dict[str, str]:
    concepts = [one for one in lexicon().concepts.values() if one.kind == attribute and one.key != "photo"]
    # "PT" is the first term of PET and another of scintigraphy; "NECK" is a body part of its own, and where others are.
    found = {one.terms[0]: one.name for one in reversed(concepts) if one.terms}
    if attribute == "modality":
        found = {term: one.name for one in reversed(concepts) for term in one.terms} | found
    return found
