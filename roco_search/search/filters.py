"""Conditions of a query in a person's words, checked against what the library contains."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.library import Library, Selection
from roco_search.library.truth.frames import Attribute

if TYPE_CHECKING:
    from roco_search.classify.guesses import Guessable, Guesses

Ids = npt.NDArray[np.int64]

NAMES: dict[Attribute, str] = {"modality": "modality", "body_part": "body part", "view": "view"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which pictures to look at. Values of one kind are alternatives; every kind that is given has to hold.

    Attributes
    ----------
    modality, body_part, view
        DICOM's terms or what people call them, in any case, such as "CT", "ultrasound", "chest", "lateral".
    under
        Folders and files.
    path
        Patterns of the whole path, as a shell's; ``*`` stands for ``/`` too.
    text_match
        A condition on the words of captions and reports, such as ``"pleural effusion" NOT resolved``: see
        `Captions.matching`.
    """

    modality: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    view: tuple[str, ...] = ()
    under: tuple[str | os.PathLike[str], ...] = ()
    path: tuple[str, ...] = ()
    text_match: str | None = None


def resolve(library: Library, filters: Filters, guesses: "Guesses | None" = None) -> Ids | None:
    """Return the ids of the frames that pass, int64, ascending; None if there is no filter.

    Parameters
    ----------
    library
        Inside a snapshot, so that everything speaks of the same state.
    filters
        The conditions.
    guesses
        Supplies modality and body part of frames whose header says nothing; None to pass these over.

    Raises
    ------
    InputError
        If the library has no picture of a value, with the values that it has; if a condition on words cannot be read.
    """
    if filters == Filters():
        return None
    view = _terms(library, "view", filters.view, None)
    under = tuple(_under(library, folder) for folder in filters.under)
    passing = library.frames.select(Selection(view=view, under=under, path=filters.path))
    if filters.text_match is not None:
        passing = np.intersect1d(passing, _saying(library, filters.text_match))
    if filters.modality:
        terms = _terms(library, "modality", filters.modality, guesses)
        said, silent = Selection(modality=terms), Selection(modality=(None,))
        passing = np.intersect1d(passing, _either(library, "modality", terms, said, silent, guesses))
    if filters.body_part:
        terms = _terms(library, "body_part", filters.body_part, guesses)
        said, silent = Selection(body_part=terms), Selection(body_part=(None,))
        passing = np.intersect1d(passing, _either(library, "body_part", terms, said, silent, guesses))
    return passing


def _saying(library: Library, expression: str) -> Ids:
    if not library.captions.any():
        raise InputError(
            "This library has no captions to look into; add them with `roco index --captions`, or leave `text_match` "
            "out."
        )
    return library.captions.matching(expression)


def _either(
    library: Library,
    attribute: "Guessable",
    terms: tuple[str, ...],
    said: Selection,
    silent: Selection,
    guesses: "Guesses | None",
) -> Ids:
    """Return the frames whose header says one of `terms`, or says nothing and is guessed to be one."""
    ids = library.frames.select(said)
    if guesses is None:
        return ids
    open_ids = library.embedded(library.frames.select(silent))
    fitting = guesses.fit(attribute, library.embeddings(open_ids), terms)
    return np.union1d(ids, open_ids[fitting])


def _terms(
    library: Library, attribute: Attribute, written: tuple[str, ...], guesses: "Guesses | None"
) -> tuple[str, ...]:
    if not written:
        return ()
    known = library.frames.count_terms(attribute)
    guessable = guesses.terms(attribute) if guesses is not None and attribute != "view" else frozenset()
    wanted: list[str] = []
    for text in written:
        there = [value for value in read_term(attribute, text) if value in known or value in guessable]
        if not there:
            raise InputError(_unknown(attribute, text, known, guessed=guesses is not None))
        wanted += there
    return tuple(dict.fromkeys(wanted))


def read_term(attribute: Attribute, text: str) -> tuple[str, ...]:
    """Return the DICOM terms that a person's word stands for; an unknown word, in capitals, where there is none.

    A term of the standard stands for itself. Any other word is looked for in the vocabulary, where one may stand for
    several terms.

    >>> read_term("modality", "MRI"), read_term("modality", "ct"), read_term("body_part", "lumbar spine")
    (('MR',), ('CT',), ('LSPINE',))
    """
    from roco_search.imaging.dicom.tags import body_part, view_position
    from roco_search.imaging.dicom.terms import MODALITIES

    code = text.strip().upper()
    if attribute == "view":
        return (view_position(text) or code,)
    standard = body_part(text) if attribute == "body_part" else code if code in MODALITIES else None
    return (standard,) if standard else _spoken(attribute, text) or (code,)


def _spoken(attribute: str, text: str) -> tuple[str, ...]:
    from roco_search.imaging.dicom.terms import MODALITIES
    from roco_search.vocabulary import image_classes

    wanted = {_compact(text), _compact(text).removesuffix("s")}
    for entry in image_classes(attribute):
        if not wanted.isdisjoint(map(_compact, (entry.name, *entry.aliases))):
            # A class that is never guessed has no terms, but the standard's codes are among its other names.
            return entry.terms or tuple(alias for alias in entry.aliases if alias in MODALITIES)
    return ()


def _compact(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum())


def _unknown(attribute: Attribute, text: str, known: dict[str, int], *, guessed: bool) -> str:
    has = ", ".join(f"{value} ({count})" for value, count in known.items()) or "none: no header says one"
    remedy = "Give one of these" if known else "Leave this filter out"
    if attribute != "view" and not guessed:
        remedy += ", or use `guess=True` to let the model say what headers do not"
    return f"No image of this library has the {NAMES[attribute]} '{text}'; it has {has}. {remedy}."


def _under(library: Library, folder: str | os.PathLike[str]) -> str:
    real = os.path.realpath(folder)
    if not len(library.frames.select(Selection(under=(real,)))):
        raise InputError(
            f"The library has no image under {real}; it was made from {', '.join(library.roots())}. Give a folder of "
            f"these, or index it with `roco index {os.fspath(folder)}`."
        )
    return real
