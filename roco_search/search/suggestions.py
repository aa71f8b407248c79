"""Queries that a library can answer, drawn from what it holds: its modalities, body parts and captions' findings."""

from collections import Counter

from roco_search.classify.guesses import Guesses
from roco_search.library import Library
from roco_search.search.browsing import kinds_of
from roco_search.search.captions import affirmed_by_captions
from roco_search.vocabulary.concepts import lexicon

KINDS, FINDINGS = 6, 4
MOST_LOOKED = 200_000  # pictures, which takes half a second
VAGUE = frozenset({"normal", "abnormal", "trauma", "infection", "mass", "edema", "opacity", "nodule", "cyst"})


def suggest(library: Library, guesses: Guesses, kinds: int = KINDS, findings: int = FINDINGS) -> list[str]:
    """Return queries: of each modality its most frequent body part, then the findings that most captions affirm.

    Parameters
    ----------
    library
        What it holds.
    guesses
        Says what the headers do not.
    kinds, findings
        The most of each.
    """
    with library.snapshot():
        few = library.active().count <= MOST_LOOKED
        counts = Counter(kinds_of(library, guesses) if few else [])
        affirmed = affirmed_by_captions(library, [one for one in lexicon().concepts.values() if one.kind == "finding"])
    known = {one.name for one in lexicon().concepts.values() if one.kind == "modality"}
    ranked = [
        kind for kind, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if kind[0] in known and kind[1]
    ]
    # The best of each modality first, then the second best of each: ten kinds of CT would hide the one ultrasound.
    places = Counter[str]()
    turns = {}
    for kind in ranked:
        turns[kind] = places[kind[0]]
        places[kind[0]] += 1
    chosen = sorted(ranked, key=lambda kind: (turns[kind], -counts[kind]))[:kinds]
    said = sorted(affirmed, key=lambda concept: (-affirmed[concept], concept.name))
    named = [concept.name for concept in said if concept.key not in VAGUE]
    return [_phrase(*kind) for kind in chosen] + named[:findings]


def _phrase(modality: str, body_part: str) -> str:
    """Return a modality and a body part as a person asks for them, such as "chest X-ray" and "mammogram"."""
    if modality == "mammogram":
        return modality
    return f"{modality} of {body_part}" if " and " in body_part else f"{body_part} {modality}"
