"""What a query is made of: texts and images, each with a weight; and how a person writes them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roco_search.errors import InputError

# Such a word means a file, even where there is none.
_IMAGE_NAME = re.compile(r"(\.{1,2}|~)?/.*|\S+\.(dcm|dicom|ima|png|jpe?g|tiff?|webp|bmp)", re.IGNORECASE | re.DOTALL)
_WEIGHTED = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?):(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a query.

    Attributes
    ----------
    content
        A text as `str`; an image as the `Path` of its file.
    weight
        What its embedding, of unit norm, is multiplied with before all are added; below zero it is taken away.

    Raises
    ------
    InputError
        If the text is empty or undecodable, or the weight is zero or not finite.
    """

    content: str | Path
    weight: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.content, str) and not self.content.strip():
            raise InputError('Say what to look for, such as `roco query "pleural effusion"`.')
        if isinstance(self.content, str) and any("\ud800" <= char <= "\udfff" for char in self.content):
            raise InputError("The text is not UTF-8, so its letters are not known; set the terminal to UTF-8.")
        if not math.isfinite(self.weight) or not self.weight:
            raise InputError(f"The weight {self.weight:g} changes nothing or everything; give a number such as 0.5.")


def read_term(word: str, *, text: bool = False) -> str | Path:
    """Return a word of the command line as a text, or as a file if there is one of this name.

    Parameters
    ----------
    word
        What the person wrote.
    text
        It is a text, whatever files there are.

    Raises
    ------
    InputError
        If it is written like an image file and is none.
    """
    if text:
        return word
    try:
        path = Path(word).expanduser()
        if path.is_file():
            return path
        folder = path.is_dir()
    except (OSError, ValueError, RuntimeError):  # Longer than a name can be, a NUL byte, a home that nobody has.
        return word
    if not _IMAGE_NAME.fullmatch(word):
        return word
    if folder:
        raise InputError(f"{word} is a folder; give one image of it, or use `text=True` to look for these words.")
    raise InputError(f"There is no file {word}; check the path, or use `text=True` to look for these words.")


def read_weighted(word: str, sign: int, *, text: bool = False) -> Term:
    """Return ``WEIGHT:TERM``, or ``TERM`` with the weight 1, to be added (sign 1) or taken away (sign -1).

    Raises
    ------
    InputError
        If the weight is not above zero, or what follows cannot be used.
    """
    weight, content = 1.0, word
    if written := _WEIGHTED.fullmatch(word):
        weight, content = float(written[1]), written[2]
        if not 0 < weight < math.inf:
            raise InputError(
                f"The weight in '{word}' is not above zero; write it as in 0.5:{content or 'TERM'}, with `plus` for "
                "what is wanted and `minus` for what is not."
            )
    return Term(read_term(content, text=text), sign * weight)


def read_query(
    words: Sequence[str], plus: Sequence[str] = (), minus: Sequence[str] = (), *, text: bool = False
) -> list[Term]:
    """Return the terms of a command line.

    Parameters
    ----------
    words
        Each file among them is an image; all others are one text together, as if they stood in quotes.
    plus, minus
        ``WEIGHT:TERM`` or ``TERM``, to be added and to be taken away.
    text
        No term is a file.

    Raises
    ------
    InputError
        If one of them cannot be used.
    """
    read = [read_term(word, text=text) for word in words]
    sentence = " ".join(word for word in read if isinstance(word, str))
    terms = [Term(sentence)] if any(isinstance(word, str) for word in read) else []
    terms += [Term(word) for word in read if isinstance(word, Path)]
    terms += [read_weighted(word, 1, text=text) for word in plus]
    return terms + [read_weighted(word, -1, text=text) for word in minus]
