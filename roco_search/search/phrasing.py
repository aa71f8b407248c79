"""How what a query asks for is said to a model: several phrasings, whose embeddings are averaged."""

from __future__ import annotations

from typing import NamedTuple

from roco_search.search.understanding import Understood
from roco_search.vocabulary.concepts import Concept, lexicon

SHOWN = 2  # Usual modalities of a finding that are named where the query names none.


class Phrasings(NamedTuple):
    """Texts, in groups of which each is averaged; a group may be empty.

    Attributes
    ----------
    text
        The whole query.
    present, absent
        With its findings, and the same pictures without them.
    excluded, excluded_absent
        With what is ruled out, and without.
    """

    text: tuple[str, ...]
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    excluded_absent: tuple[str, ...] = ()

    @property
    def sides(self) -> tuple[tuple[str, ...], ...]:
        """All groups but the first."""
        return self.present, self.absent, self.excluded, self.excluded_absent


def phrasings(understood: Understood) -> Phrasings:
    """Return the phrasings of a query; of a query in which nothing is understood, its words alone.

    >>> from roco_search.search.understanding import understand
    >>> phrasings(understand("cxr pneumonia")).text
    ('X-ray chest pneumonia', 'chest X-ray with pneumonia')
    """
    findings = understood.of("finding")
    if not understood.wanted and not understood.excluded:
        return Phrasings((understood.english or understood.text,))
    whole = [understood.english] if understood.english else []
    named = " and ".join(finding.name for finding in findings if finding.key != "normal")
    subjects = subjects_of(understood)
    for subject in subjects:
        if any(finding.key == "normal" for finding in findings):
            whole.append(f"normal {subject}")
        whole.append(f"{subject} with {named}" if named else subject)
    present, absent = _sides(findings, subjects[0])
    excluded, excluded_absent = _sides(tuple(c for c in understood.excluded if c.kind == "finding"), subjects[0])
    return Phrasings(tuple(dict.fromkeys(whole)), present, absent, excluded, excluded_absent)


def subjects_of(understood: Understood) -> tuple[str, ...]:
    """Return what kinds of pictures are asked for, such as "axial T2-weighted brain MRI"; "image" if any.

    Where no modality is named, those that commonly show the findings are, up to `SHOWN`.

    >>> from roco_search.search.understanding import understand
    >>> subjects_of(understand("kidney stone"))
    ('kidney CT', 'kidney ultrasound')
    """
    findings = understood.of("finding")
    modalities = [concept.name for concept in understood.of("modality")][:1]
    if not modalities:
        shown = dict.fromkeys(key for finding in findings for key in finding.shown_on)
        modalities = [lexicon().concept("modality", key).name for key in list(shown)[:SHOWN]]
    places = [_adjective(concept) for concept in understood.of("body_part")][:2]
    if not places:
        found = (lexicon().concept("body_part", finding.place) for finding in findings if finding.place)
        places = [_adjective(concept) for concept in found][:1]
    before = [concept.name for kind in ("plane", "view", "sequence") for concept in understood.of(kind)]
    kinds = modalities or ["scan" if places else "image"]
    return tuple(" ".join([*before, *places, kind]) for kind in kinds)


def _adjective(concept: Concept) -> str:
    return {"teeth": "dental", "fetus": "fetal", "heart": "cardiac", "limb": "bone", "coronary": "coronary"}.get(
        concept.key, concept.name
    )


def _sides(findings: tuple[Concept, ...], subject: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    present: list[str] = []
    absent: list[str] = []
    for finding in findings:
        if finding.key == "normal":
            present += [f"normal {subject}", f"{subject}, no finding"]
            absent += [f"abnormal {subject}", f"{subject} with an abnormality"]
        else:
            present += [f"{subject} with {finding.name}", f"{finding.name} on {subject}"]
            absent += [subject, f"normal {subject}"]
    return tuple(dict.fromkeys(present)), tuple(dict.fromkeys(absent))
