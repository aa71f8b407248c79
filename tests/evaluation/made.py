"""Pairs whose pictures and captions are known beforehand, and embeddings with given similarities."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roco_search.datasets.pair import Pair, PairSet
from roco_search.errors import UnreadableImage
from roco_search.imaging import CtWindows
from tests.concepts import picture


def unit(random: np.random.Generator, n: int, dim: int = 8) -> np.ndarray:
    vectors = random.normal(size=(n, dim)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def towers(scores: Sequence[Sequence[float]] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings whose dot products are exactly these scores."""
    matrix = np.array(scores, np.float32)
    return matrix, np.eye(len(matrix), dtype=np.float32)


def scattered(seed: int, n: int) -> np.ndarray:
    """Random scores ``(n, n)`` that are all well apart."""
    return np.random.default_rng(seed).permutation(n * n).reshape(n, n) / (n * n)


@dataclass
class Drawn:
    """A picture of some words; counts how often it is read."""

    name: str
    words: tuple[str, ...]
    reads: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, ct_windows: CtWindows | None = None) -> np.ndarray:
        with self.lock:
            self.reads += 1
        return picture(*self.words)


@dataclass
class Broken:
    """A picture that cannot be read."""

    name: str
    error: Exception = field(default_factory=lambda: UnreadableImage("it ends too early; copy it again"))

    def read(self, ct_windows: CtWindows | None = None) -> np.ndarray:
        raise self.error


def pair(number: int, caption: str, /, *words: str, **columns: Any) -> Pair:
    return Pair(Drawn(f"images/{number}.png", words), caption, columns=columns)


def pairs(count: int = 8) -> list[Pair]:
    """Turns of four kinds of image, each with a caption that says what is bright in it and a column that does."""
    kinds = (("pneumonia", "ct"), ("pneumonia", "mri"), ("normal", "ct"), ("normal", "mri"))
    return [
        pair(
            i,
            " ".join(kinds[i % 4]),
            *kinds[i % 4],
            modality={"ct": "CT", "mri": "MR"}[kinds[i % 4][1]],
            labels=[kinds[i % 4][1], kinds[i % 4][0].title()],
            source="a" if i < count // 2 else "b",
            number=i,
        )
        for i in range(count)
    ]


def pair_set(made: Sequence[Pair]) -> PairSet:
    return PairSet(made, "drawn", "imagefolder", "test")
