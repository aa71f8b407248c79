"""The terms of a query become one vector."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roco_search.errors import ImageError, InputError
from roco_search.library import Library
from roco_search.models.encoder import Encoder
from roco_search.search.terms import Term
from roco_search.system.files import sha256

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
        the files that were given and of their copies.

    Raises
    ------
    InputError
        If there is no term, an image cannot be read, or the terms cancel out.
    """
    if not terms:
        raise InputError('Say what to look for, such as `roco query "pleural effusion"`.')
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

    own = library.frames.of_content(digest, os.path.realpath(path))
    if (stored := _stored(library, digest)) is not None:
        return stored, own
    try:
        frame = next(open_image(path))
    except ImageError as error:
        raise InputError(f"{path} is no image to search with: {error}.") from None
    return np.asarray(encoder.encode_images([frame.pixels]), np.float32)[0], own


def _stored(library: Library, digest: bytes) -> Vector | None:
    """Return the embedding of the middle frame of a content that the library holds."""
    from roco_search.imaging.frame import choose_frames

    copies = library.frames.get(library.frames.of_content(digest).tolist())
    middle = [found.id for found in copies.values() if choose_frames(found.frames, "middle") == [found.frame]]
    return library.embedding(middle[0]) if middle else None
