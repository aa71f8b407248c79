"""What is known of each row of the matrix apart from its vector: its header's terms, and what the model takes it for.

A cache like the matrix, in one file that is replaced whole: a page with JSON (what it was made of, and each distinct
combination of header terms), a uint32 a row (which combination), and a byte a class and row. The page also has one
number of all rows together, their `noise`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from roco_search.library.directory import FACTS, FACTS_SEAL
from roco_search.library.faults import corrupt
from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.store import Store
from roco_search.library.vectors.matrix import Generation
from roco_search.system.files import replacing
from roco_search.system.seals import open_sealed, seal_file

MAGIC = b"ROCOFACT"
PAGE = 4096


class Judge(Protocol):
    """What a model makes of vectors, float32 ``(n, dim)``."""

    @property
    def key(self) -> str:
        """Changes whenever any judgement might."""

    def judge(self, vectors: npt.NDArray[np.float32], /) -> npt.NDArray[np.uint8]:
        """Return what it takes each row for, uint8 ``(classes, n)``."""

    def noise(self, vectors: npt.NDArray[np.float32], /) -> float | None:
        """Return how near texts come to the rows by chance, as a cosine; None if that is not known of the model."""


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


def open_facts(store: Store, chosen: EmbeddingSet, matrix: npt.NDArray[np.float32], judge: Judge) -> Facts:
    """Map the facts of a set, making them first if there are none, or those of other vectors or another judge.

    Parameters
    ----------
    store, chosen
        The caller holds a snapshot of the store, of which `chosen` is part.
    matrix
        The vectors of the set, float32 ``(n, dim)``, ascending by frame id.
    judge
        The model's; equal keys mean equal judgements.
    """
    about = {"generation": asdict(Generation.of(store, chosen)), "key": judge.key}
    if (found := _mapped(store.directory, about, len(matrix))) is not None:
        return found
    places: dict[Header, int] = {}
    codes = np.empty(len(matrix), np.uint32)
    row = 0
    for row, terms in enumerate(store.frames.headers(chosen), 1):
        codes[row - 1] = places.setdefault(Header(*terms), len(places))
    if row != len(codes):
        raise corrupt(store.directory)
    facts = Facts(list(places), codes, judge.judge(matrix), judge.noise(matrix))
    with suppress(OSError):  # A full or read-only disk costs the time of making them again.
        _write(store.directory, about, facts)
    return facts


def _write(directory: Path, about: dict[str, Any], facts: Facts) -> None:
    headers = [list(header) for header in facts.headers]
    content = {**about, "headers": headers, "classes": len(facts.senses), "noise": facts.noise}
    head = json.dumps(content).encode()
    pages = -(-(len(MAGIC) + 8 + len(head)) // PAGE)
    with replacing(directory / FACTS) as temporary, temporary.open("rb+") as file:
        file.write((MAGIC + len(head).to_bytes(8, "little") + head).ljust(pages * PAGE))
        file.write(facts.codes.astype("<u4").tobytes())
        file.write(np.ascontiguousarray(facts.senses).tobytes())
    seal_file(directory / FACTS, directory / FACTS_SEAL)


def _mapped(directory: Path, about: dict[str, Any], rows: int) -> Facts | None:
    content = open_sealed(directory / FACTS, directory / FACTS_SEAL)
    if content is None:
        return None
    head = len(MAGIC) + 8
    length = int.from_bytes(content[len(MAGIC) : head].tobytes(), "little")
    found = json.loads(content[head : head + length].tobytes())
    if {name: found[name] for name in about} != about:
        return None
    start = -(-(head + length) // PAGE) * PAGE
    codes, senses = content[start : start + 4 * rows].view("<u4"), content[start + 4 * rows :]
    senses = senses.reshape(found["classes"], rows)
    return Facts([Header(*terms) for terms in found["headers"]], codes, senses, found.get("noise"))
