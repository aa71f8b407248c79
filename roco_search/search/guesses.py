"""What the model supposes of images whose header says nothing: modality and body part, by zero-shot prompts.

A guess is computed from the stored vectors when it is asked for, and never stored: what a library keeps is what
headers say. The prompts are in ``guesses.json``, to be read and argued about. There, ``also`` names the terms that a
guess cannot be told from: the picture of a computed radiograph (CR) is that of a digital one (DX).
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from roco_search.models.encoder import Encoder

Guessable = Literal["modality", "body_part"]
ATTRIBUTES: tuple[Guessable, ...] = ("modality", "body_part")
AT_ONCE = 65_536  # Rows compared in one product: 3 MB of scores.


class Guesses:
    """The prompts of every term, embedded by one model (Radford et al. 2021, section 3.1.4)."""

    def __init__(self, encoder: Encoder) -> None:
        self._prompts = {attribute: _embed(encoder, attribute) for attribute in ATTRIBUTES}

    def guess(self, attribute: Guessable, vectors: npt.NDArray[np.float32]) -> list[str]:
        """Return the nearest term for each vector, float32 ``(n, dim)``."""
        names = list(_data()[attribute])
        return [names[number] for number in self._nearest(attribute, vectors)]

    def fit(
        self, attribute: Guessable, vectors: npt.NDArray[np.float32], terms: tuple[str, ...]
    ) -> npt.NDArray[np.bool_]:
        """Tell of each vector, float32 ``(n, dim)``, whether its guess is, or cannot be told from, one of `terms`."""
        fits = [not set(terms).isdisjoint({name, *entry["also"]}) for name, entry in _data()[attribute].items()]
        return np.array(fits)[self._nearest(attribute, vectors)]

    @staticmethod
    def terms(attribute: Guessable) -> frozenset[str]:
        """Return every term that a guess can stand for."""
        return frozenset(term for name, entry in _data()[attribute].items() for term in (name, *entry["also"]))

    def _nearest(self, attribute: Guessable, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        prompts = self._prompts[attribute].T
        parts = [vectors[start : start + AT_ONCE] @ prompts for start in range(0, len(vectors), AT_ONCE)]
        return np.concatenate([np.empty(0, np.int64), *(part.argmax(axis=1) for part in parts)])


@cache
def _data() -> dict[str, dict[str, dict[str, list[str]]]]:
    content: dict[str, Any] = json.loads((files("roco_search.search") / "guesses.json").read_text("utf-8"))
    return content


def _embed(encoder: Encoder, attribute: Guessable) -> npt.NDArray[np.float32]:
    """Return one vector a term, float32 ``(terms, dim)`` of unit norm: the mean of its prompts."""
    entries = _data()[attribute].values()
    vectors = np.asarray(encoder.encode_texts([text for entry in entries for text in entry["prompts"]]), np.float32)
    ends = np.cumsum([len(entry["prompts"]) for entry in entries])
    means = np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)
