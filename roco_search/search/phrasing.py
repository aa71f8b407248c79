"""How what a query asks for is said to a model: several phrasings, whose embeddings are averaged."""

from __future__ import annotations

from typing import NamedTuple

from roco_search.search.understanding import Understood
from roco_search.vocabulary.concepts import Concept


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
    subject = subject_of(understood)
    findings = understood.of("finding")
    if not understood.wanted and not understood.excluded:
        return Phrasings((understood.english or understood.text,))
    whole = [understood.english] if understood.english else []
    named = [finding.name for finding in findings if finding.key != "normal"]
    if any(finding.key == "normal" for finding in findings):
        whole.append(f"normal {subject}")
    whole.append(f"{subject} with {' and '.join(named)}" if named else subject)
    present, absent = _sides(findings, subject)
    excluded, excluded_absent = _sides(tuple(c for c in understood.excluded if c.kind == "finding"), subject)
    return Phrasings(tuple(dict.fromkeys(whole)), present, absent, excluded, excluded_absent)


def subject_of(understood: Understood) -> str:
    """Return what kind of picture is asked for, such as "axial T2-weighted brain MRI"; "image" if any."""
    modalities = [concept.name for concept in understood.of("modality")]
    places = [_adjective(concept) for concept in understood.of("body_part")]
    if not places:
        places = [found.place for found in understood.of("finding") if found.place][:1]
    before = [concept.name for kind in ("plane", "view", "sequence") for concept in understood.of(kind)]
    return " ".join([*before, *places[:2], *(modalities[:1] or ["image" if not places else "scan"])])


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
