"""An encoder whose every answer can be told beforehand: each quarter of an image stands for a word."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

QUARTERS = ("pneumonia", "normal", "ct", "mri")
"""What the top left, top right, bottom left and bottom right say when they are bright."""


class ConceptEncoder:
    """Texts are the sum of their words' directions; images the sum of what their bright quarters say."""

    name = "concepts"
    dim = 1024  # so many that different words hardly have anything in common
    image_size = 32
    logit_bias: float | None = None

    def __init__(self, fingerprint: str = "concepts-1", logit_scale: float = 10.0) -> None:
        self.fingerprint, self.logit_scale = fingerprint, logit_scale
        self.texts: list[str] = []
        self.images = 0

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        self.images += len(images)
        rows = []
        for image in images:
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            small = np.asarray(Image.fromarray(image).convert("L").resize((2, 2), Image.Resampling.BOX), np.float64)
            words = np.stack([_direction(word) for word in QUARTERS])
            rows.append(_direction("picture") * 0.2 + small.reshape(-1) / 255 @ words)
        return _unit(rows)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.texts.extend(texts)
        return _unit(
            [np.sum([_direction(word) for word in re.findall(r"\w+", text.lower())], axis=0) for text in texts]
        )


def _direction(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
    vector = np.random.default_rng(seed).normal(size=ConceptEncoder.dim)
    return np.asarray(vector / np.linalg.norm(vector))


def _unit(rows: Sequence[np.ndarray]) -> np.ndarray:
    vectors = np.asarray(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def picture(*words: str, side: int = 64) -> np.ndarray:
    """An image that shows these words."""
    pixels = np.zeros((side, side, 3), np.uint8)
    half = side // 2
    for word in words:
        row, column = divmod(QUARTERS.index(word), 2)
        pixels[row * half : (row + 1) * half, column * half : (column + 1) * half] = 255
    return pixels


def draw(path: Path, *words: str, own: bool = False) -> Path:
    """Write an image; with ``own``, its path is in it, so that no other file has the same content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = PngInfo()
    said.add_text("path", str(path))
    options: dict[str, Any] = {"pnginfo": said, "comment": str(path)} if own else {}
    Image.fromarray(picture(*words)).save(path, **options)
    return path
