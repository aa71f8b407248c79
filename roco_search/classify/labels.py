"""Labels, and what their words mean: a finding, its absence, a normal image, or what is imaged at all.

A negated prompt turns a negative label round: against "no no finding", an image without a finding scores low, and the
AUC of "No Finding" came out as 0.07 (CheXzero, rajpurkarlab/CheXzero#19). So a label is understood before it is
negated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from roco_search.errors import InputError

from .data import Words, words

Mode = Literal["exclusive", "multi-label"]
Kind = Literal["finding", "absence", "normal", "abnormal", "subject"]
"""What a label says: something is seen ("pneumonia"), that is not seen ("no tumor"), nothing is wrong ("normal"),
something is wrong ("abnormal"), or what is imaged ("CT", "hand")."""


@dataclass(frozen=True, slots=True)
class Label:
    """What an image may be called.

    Attributes
    ----------
    name
        As the person wrote it.
    positive, negative
        Prompts of the person's own, used word for word; where empty, those of the prompt sets are used.
    aliases
        Other names under which a truth file knows it.
    """

    name: str
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Meaning:
    """The kind of a label, and for an absence what is absent (else the label itself)."""

    kind: Kind
    of: str


def split_labels(texts: Iterable[str]) -> list[Label]:
    """Return the labels of comma-separated texts, such as ``["normal,pneumonia", "pleural effusion"]``."""
    return [Label(" ".join(part.split())) for text in texts for part in text.split(",") if part.strip()]


def check_labels(labels: Sequence[Label], mode: Mode) -> None:
    """Refuse labels that cannot be told apart.

    Raises
    ------
    InputError
        If there is none, only one where they exclude each other, or one twice (case does not matter).
    """
    if mode not in {"exclusive", "multi-label"}:
        raise InputError(f"{mode!r} is not a mode; it is exclusive or multi-label.")
    if not labels:
        raise InputError('There is no label; give some, such as --labels "normal,pneumonia".')
    seen: dict[str, str] = {}
    for label in labels:
        for name in (label.name, *label.aliases):
            key = fold(name)
            if not key:
                raise InputError("A label is empty; give each a name.")
            if key in seen:
                raise InputError(f"The label {name!r} is given twice; leave one of them out.")
            seen[key] = name
    if len(labels) == 1 and mode == "exclusive":
        raise InputError(
            f"One label alone always gets probability 1; add what else the image could be, such as "
            f'--labels "{labels[0].name},normal", or use --multi-label to set it against its absence.'
        )


def fold(name: str) -> str:
    """Return the form in which names are compared: case, spaces, hyphens and underscores do not matter."""
    return " ".join(re.sub(r"[\s_\-]+", " ", name).casefold().split())


@cache
def meaning(name: str) -> Meaning:
    """Tell what a label says, by its words (``prompts/words.yaml``).

    >>> meaning("Normal lungs").kind, meaning("no tumor"), meaning("normal pressure hydrocephalus").kind
    ('normal', Meaning(kind='absence', of='tumor'), 'finding')
    """
    known = words()
    text = fold(name)
    if kind := _plain(text, known):
        return Meaning(kind, name)
    negated = _negated(text, known)
    if negated is None:
        return Meaning("finding", name)
    inner = _plain(negated, known)
    if inner in {"normal", "abnormal"}:
        return Meaning("normal" if inner == "abnormal" else "abnormal", name)
    return Meaning("absence", negated)


def _plain(text: str, known: Words) -> Kind | None:
    """Return the kind of a text without negation; None if it names a finding or is negated."""
    # "within normal limits", "no acute cardiopulmonary disease": what is left besides the neutral words decides.
    telling = {word.strip(".,;:()") for word in text.split()} - known.neutral - {""}
    if not telling:
        return None
    normal, abnormal = telling & known.normal, telling & known.abnormal
    rest = telling - known.normal - known.abnormal - known.subjects
    # "lung disease" names what is wrong more closely than "disease": a finding.
    if rest or (abnormal and telling - abnormal):
        return None
    if normal or abnormal:
        return "normal" if normal else "abnormal"
    return "subject"


def _negated(text: str, known: Words) -> str | None:
    """Return what a negation in the text denies; None if there is no negation."""
    for negation in sorted(known.negations, key=len, reverse=True):
        if text.startswith(negation + " "):
            return text.removeprefix(negation).strip()
    for negation in known.negations_behind:
        if text.endswith(" " + negation):
            return text.removesuffix(negation).strip()
    return None
