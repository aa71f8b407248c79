"""The demo's model, as many threads use it at once."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from roco_search.models import Encoder

Vector = npt.NDArray[np.float32]

MOST_TEXTS = 5_000  # embeddings of texts that are kept: 8 MB at 384 dimensions


class SharedEncoder:
    """An encoder that many threads may use: one at a time in each tower. Repeated texts cost nothing."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._texts, self._images = Lock(), Lock()
        self._known: dict[str, Vector] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def encode_texts(self, texts: Sequence[str]) -> Vector:
        """Embed texts as float32 ``(n, dim)`` of unit norm."""
        with self._texts:
            if fresh := [text for text in dict.fromkeys(texts) if text not in self._known]:
                if len(self._known) > MOST_TEXTS:
                    self._known.clear()
                    fresh = list(dict.fromkeys(texts))
                vectors = np.asarray(self._encoder.encode_texts(fresh), np.float32)
                self._known.update(zip(fresh, vectors, strict=True))
            return np.stack([self._known[text] for text in texts])

    def encode_images(self, images: Sequence[npt.NDArray[np.uint8]]) -> Vector:
        """Embed uint8 ``(height, width, 3)`` images as float32 ``(n, dim)`` of unit norm."""
        with self._images:
            return np.asarray(self._encoder.encode_images(images), np.float32)
