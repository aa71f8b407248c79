"""What a query is made of: texts and images, each with a weight; how they are written, and their sum as a vector."""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roco_search.errors import ImageError, InputError
from roco_search.library import Library
from roco_search.models.encoder import Encoder, ct_windows
from roco_search.system.files import sha256

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
            raise InputError('No query is given; write what to look for, such as `roco query "pleural effusion"`.')
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
    except (OSError, ValueError, RuntimeError):  # Too long for a name, a NUL byte, the home of an unknown user.
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


Vector = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
CANCELLED = 1e-3  # Length of the sum against that of its parts below which only rounding is left of a query.


def embed(library: Library, encoder: Encoder, terms: Sequence[Term]) -> tuple[Vector, Ids]:
    """Add the weighted embeddings of all terms.

    Of an image file with several frames the middle one counts, as in an index. An image that the library holds with
    the same content is not read again.

    Returns
    -------
    vector, own
        The query, float32 ``(dim,)`` of unit norm, and the ids of the frames that are themselves part of it: those of
        the very files that were given. A copy of one that is elsewhere in the library is a hit.

    Raises
    ------
    InputError
        If there is no term, an image cannot be read, or the terms cancel out.
    """
    if not terms:
        raise InputError('No query is given; write what to look for, such as `roco query "pleural effusion"`.')
    texts = [term for term in terms if isinstance(term.content, str)]
    parts = [(term.weight, vector) for term, vector in zip(texts, _texts(encoder, texts), strict=True)]
    own: list[Ids] = []
    for term in terms:
        if isinstance(term.content, Path):
            vector, same = _image(library, encoder, term.content)
            parts.append((term.weight, vector))
            own.append(same)
    total = np.sum([weight * vector.astype(np.float64) for weight, vector in parts], axis=0)
    most = sum(abs(weight) * float(np.linalg.norm(vector)) for weight, vector in parts)
    if len(parts) > 1 and np.linalg.norm(total) < CANCELLED * most:
        raise InputError("The terms cancel out, so nothing is left to look for; change a weight or a term.")
    return unit(total), np.unique(np.concatenate(own)) if own else np.empty(0, np.int64)


LESS = 0.5  # Weight of what is unwanted: less than that of what is wanted, as is usual since Salton and Buckley (1990).


def steer(base: Sequence[Vector], wanted: Sequence[Vector], unwanted: Sequence[Vector]) -> Vector:
    """Move a query towards some images and away from others (relevance feedback: Rocchio 1971).

    Parameters
    ----------
    base
        What is asked for, each float32 ``(dim,)`` of unit norm; their sum counts as one.
    wanted, unwanted
        The embeddings of images, of each of which the mean counts, that of what is unwanted with the weight -`LESS`.

    Returns
    -------
    float32 ``(dim,)`` of unit norm

    Raises
    ------
    InputError
        If nothing is asked for and nothing wanted, or the parts cancel out.
    """
    if not len(base) and not len(wanted):
        raise InputError("Nothing is asked for from which an image could be taken away; write words, or press plus.")
    parts = [unit(np.sum(base, axis=0)).astype(np.float64)] if len(base) else []
    if len(wanted):
        parts.append(np.mean(wanted, axis=0, dtype=np.float64))
    if len(unwanted):
        parts.append(np.mean([-LESS * vector for vector in unwanted], axis=0, dtype=np.float64))
    return unit(np.sum(parts, axis=0))


def unit(vector: npt.NDArray[np.floating]) -> Vector:
    """Return a query vector in unit norm, float32 ``(dim,)``.

    Raises
    ------
    InputError
        If it is zero or not finite.
    """
    flat = np.asarray(vector, np.float32).reshape(-1)
    norm = float(np.linalg.norm(flat))
    if not np.isfinite(norm) or norm < 1e-6:
        raise InputError("The model could not embed this query; rephrase it.")
    return flat / np.float32(norm)


def _texts(encoder: Encoder, terms: Sequence[Term]) -> npt.NDArray[np.float32]:
    if not terms:  # A query of images alone need not load the text tower.
        return np.empty((0, encoder.dim), np.float32)
    return np.asarray(encoder.encode_texts([str(term.content) for term in terms]), np.float32)


def _image(library: Library, encoder: Encoder, path: Path) -> tuple[Vector, Ids]:
    try:
        digest = bytes.fromhex(sha256(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from None
    from roco_search.imaging import open_image

    own = _frames_of(library, path)
    if (stored := _stored(library, digest)) is not None:
        return stored, own
    try:
        frame = next(open_image(path, ct_windows=ct_windows(encoder)))
    except ImageError as error:
        raise InputError(f"{path} is no image to search with: {error}.") from None
    return np.asarray(encoder.encode_images([frame.pixels]), np.float32)[0], own


def named_in(library: Library, terms: Sequence[Term]) -> list[Path]:
    """Return the images among the terms whose very files are in the library, and are therefore not among the hits."""
    images = (term.content for term in terms if isinstance(term.content, Path))
    return [path for path in images if len(_frames_of(library, path))]


def _frames_of(library: Library, path: Path) -> Ids:
    return np.array([frame.id for frame in library.frames.of_file(os.path.realpath(path))], np.int64)


def _stored(library: Library, digest: bytes) -> Vector | None:
    """Return the embedding of the middle frame of a content that the library holds."""
    from roco_search.imaging.frame import choose_frames

    copies = library.frames.get(library.frames.of_content(digest).tolist())
    middle = [found.id for found in copies.values() if choose_frames(found.frames, "middle") == [found.frame]]
    return library.embedding(middle[0]) if middle else None
