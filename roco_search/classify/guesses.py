"""What the model guesses for images whose header says nothing: modality and body part, zero-shot.

A guess is computed from embeddings when it is asked for, and never stored: what a library keeps is what headers say.
The classes are those of ``vocabulary/classes``, which `roco eval` measures; `vocabulary/terms.yaml` says which DICOM
terms each of them stands for.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from roco_search.models.encoder import Encoder
from roco_search.models.onnx_encoder import encode_texts_once
from roco_search.vocabulary import ImageClass, image_classes

Guessable = Literal["modality", "body_part"]
ATTRIBUTES: tuple[Guessable, ...] = ("modality", "body_part")
AT_ONCE = 65_536  # Rows compared in one product: 3 MB of scores.


class Guesses:
    """The classes of modality and body part, embedded by one model at the first guess (Radford et al. 2021, 3.1.4)."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._directions: dict[Guessable, npt.NDArray[np.float32]] = {}

    def guess(self, attribute: Guessable, vectors: npt.NDArray[np.float32]) -> list[str]:
        """Return the nearest DICOM term for each embedding, float32 ``(n, dim)`` of unit norm."""
        names = [entry.terms[0] for entry in guessable(attribute)]
        return [names[number] for number in self._nearest(attribute, vectors)]

    def fit(
        self, attribute: Guessable, vectors: npt.NDArray[np.float32], terms: tuple[str, ...]
    ) -> npt.NDArray[np.bool_]:
        """Return whether each embedding's guess stands for one of `terms`: float32 ``(n, dim)`` to bool ``(n,)``."""
        fits = [not set(terms).isdisjoint(entry.terms) for entry in guessable(attribute)]
        return np.array(fits)[self._nearest(attribute, vectors)]

    @staticmethod
    def terms(attribute: Guessable) -> frozenset[str]:
        """Return every term that a guess can stand for."""
        return frozenset(term for entry in guessable(attribute) for term in entry.terms)

    def _nearest(self, attribute: Guessable, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        if attribute not in self._directions:
            self._directions[attribute] = _embed(self._encoder, guessable(attribute))
        directions = self._directions[attribute].T
        parts = [vectors[start : start + AT_ONCE] @ directions for start in range(0, len(vectors), AT_ONCE)]
        return np.concatenate([np.empty(0, np.int64), *(part.argmax(axis=1) for part in parts)])


def guessable(attribute: Guessable) -> tuple[ImageClass, ...]:
    """Return the classes that a guess chooses from: those that stand for a DICOM term."""
    return tuple(entry for entry in image_classes(attribute) if entry.terms)


def _embed(encoder: Encoder, classes: tuple[ImageClass, ...]) -> npt.NDArray[np.float32]:
    """Return one direction a class, float32 ``(classes, dim)`` of unit norm: the mean of its prompts."""
    vectors = encode_texts_once(encoder, [text for entry in classes for text in entry.prompts])
    ends = np.cumsum([len(entry.prompts) for entry in classes])
    means = np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)
