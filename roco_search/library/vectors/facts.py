"""What is known of each row of the matrix apart from its vector: its header's terms, and what the model takes it for.

A cache like the matrix, in one file that is replaced whole: a page with JSON (what it was made of, and each distinct
combination of header terms), a uint32 a row (which combination), and a byte a class and row. The page also has what
all rows together have, from which their `noise` follows. Where the matrix grew at its end, only what is new is judged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from roco_search.library.directory import FACTS, FACTS_SEAL
from roco_search.library.faults import corrupt
from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.store import Store
from roco_search.library.vectors.matrix import Generation
from roco_search.system.files import replacing
from roco_search.system.seals import open_sealed, seal_file

MAGIC = b"ROCOFAC2"  # 2: with the parts of the matrix.
PAGE = 4096

Parts = Sequence[tuple[int, str]]


class Judge(Protocol):
    """What a model makes of vectors, float32 ``(n, dim)``."""

    @property
    def key(self) -> str:
        """Changes whenever any judgement might."""

    def judge(self, vectors: npt.NDArray[np.float32], /) -> npt.NDArray[np.uint8]:
        """Return what it takes each row for, uint8 ``(classes, n)``."""

    def nearest(self, vectors: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32] | None:
        """Return how near each text that nothing answers comes to any row, as a cosine; None without such texts."""

    def noise(self, nearest: npt.NDArray[np.float32], /) -> float:
        """Return what of that counts as chance."""


class Header(NamedTuple):
    """The terms of a header that speak for a query; None where it is silent."""

    modality: str | None
    body_part: str | None
    view: str | None
    laterality: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of n rows.

    Attributes
    ----------
    headers
        Each distinct combination.
    codes
        Index into `headers`, uint32 ``(n,)``.
    senses
        What the model takes each row for, uint8 ``(classes, n)``.
    noise
        How near texts that nothing here answers come to the nearest row, as a cosine; None if that is not known.
    """

    headers: list[Header]
    codes: npt.NDArray[np.uint32]
    senses: npt.NDArray[np.uint8]
    noise: float | None = None


def open_facts(
    store: Store, chosen: EmbeddingSet, matrix: npt.NDArray[np.float32], parts: Parts, judge: Judge
) -> Facts:
    """Map the facts of a set, making them first if there are none, or those of other vectors or another judge.

    Parameters
    ----------
    store, chosen
        The caller holds a snapshot of the store, of which `chosen` is part.
    matrix
        The vectors of the set, float32 ``(n, dim)``, ascending by frame id.
    parts
        (rows, digest) of the parts that the matrix was written in; those that are here already are not judged again.
    judge
        The model's; equal keys mean equal judgements.
    """
    generation = Generation.of(store, chosen)
    found = _Written.read(store.directory)
    if found is None or found.key != judge.key or not found.begins(generation, parts):
        found = None
    elif found.generation == generation:
        return found.facts
    headers, codes, senses, nearest = _extended(store, chosen, matrix, judge, found)
    noise = None if nearest is None or not len(codes) else judge.noise(nearest)
    written = _Written(generation, judge.key, [*parts], nearest, Facts(headers, codes, senses, noise))
    with suppress(OSError):  # A full or read-only disk costs the time of making them again.
        written.write(store.directory)
    return written.facts


def _extended(
    store: Store, chosen: EmbeddingSet, matrix: npt.NDArray[np.float32], judge: Judge, before: _Written | None
) -> tuple[list[Header], npt.NDArray[np.uint32], npt.NDArray[np.uint8], npt.NDArray[np.float32] | None]:
    """Return headers, codes, senses and the nearest of all rows, taking from before what is known of the first."""
    first = 0 if before is None else len(before.facts.codes)
    places = {} if before is None else {header: place for place, header in enumerate(before.facts.headers)}
    codes = np.empty(len(matrix), np.uint32)
    row = first
    for row, terms in enumerate(store.frames.headers(chosen, first), first + 1):
        codes[row - 1] = places.setdefault(Header(*terms), len(places))
    if row != len(codes):
        raise corrupt(store.directory)
    senses, nearest = judge.judge(matrix[first:]), judge.nearest(matrix[first:])
    if before is not None:
        codes[:first] = before.facts.codes
        senses = np.concatenate([before.facts.senses, senses], axis=1)
        if nearest is not None and before.nearest is not None:
            nearest = np.maximum(nearest, before.nearest)
    return list(places), codes, senses, nearest


@dataclass(frozen=True, slots=True)
class _Written:
    """The content of the file."""

    generation: Generation
    key: str
    parts: list[tuple[int, str]]
    nearest: npt.NDArray[np.float32] | None
    facts: Facts

    def begins(self, generation: Generation, parts: Parts) -> bool:
        """Whether a matrix that was written in these parts is, or begins with, what this was made of."""
        if self.generation == generation:
            return True
        return self.generation.kin(generation) and bool(self.parts) and self.parts == [*parts[: len(self.parts)]]

    @classmethod
    def read(cls, directory: Path) -> _Written | None:
        """Map the file, or return None if there is none that is sound."""
        content = open_sealed(directory / FACTS, directory / FACTS_SEAL)
        if content is None or content[: len(MAGIC)].tobytes() != MAGIC:
            return None
        head = len(MAGIC) + 8
        length = int.from_bytes(content[len(MAGIC) : head].tobytes(), "little")
        found = json.loads(content[head : head + length].tobytes())
        generation = Generation(**found["generation"])
        start = -(-(head + length) // PAGE) * PAGE
        middle = start + 4 * generation.count
        return cls(
            generation,
            found["key"],
            [(rows, digest) for rows, digest in found["parts"]],
            None if found["nearest"] is None else np.array(found["nearest"], np.float32),
            Facts(
                [Header(*terms) for terms in found["headers"]],
                content[start:middle].view("<u4"),
                content[middle:].reshape(found["classes"], generation.count),
                found["noise"],
            ),
        )

    def write(self, directory: Path) -> None:
        """Replace the file. Raises OSError."""
        content = {
            "generation": asdict(self.generation),
            "key": self.key,
            "parts": self.parts,
            "nearest": None if self.nearest is None else self.nearest.tolist(),
            "headers": self.facts.headers,
            "classes": len(self.facts.senses),
            "noise": self.facts.noise,
        }
        head = json.dumps(content).encode()
        pages = -(-(len(MAGIC) + 8 + len(head)) // PAGE)
        with replacing(directory / FACTS) as temporary, temporary.open("rb+") as file:
            file.write((MAGIC + len(head).to_bytes(8, "little") + head).ljust(pages * PAGE))
            file.write(self.facts.codes.astype("<u4").tobytes())
            file.write(np.ascontiguousarray(self.facts.senses).tobytes())
        seal_file(directory / FACTS, directory / FACTS_SEAL)
