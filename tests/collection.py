"""A library of many synthetic pictures, and what an exhaustive computation says that a search in it must find."""

from __future__ import annotations

import fnmatch
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roco_search.search import NEAR, Filters, Hit
from tests.library.toy import Builder, Opened, draw


def fill(opened: Opened, root: Path, files: int = 120, seed: int = 0) -> None:
    """Put frames straight into the tables: series over several files, several frames a file, twins, open headers."""
    chance = np.random.default_rng(seed)
    opened.index(draw(root / "first.png", 1))
    first = opened.library.embedding(1)
    assert first is not None
    vectors = [first]
    with Builder.of(opened.directory) as builder:
        for number in range(files):
            folder = ("2023", "2024", "2024/deep")[number % 3]
            name = f"{('axial', 'Sagittal', 'x')[chance.integers(3)]}{number}.dcm"
            pick = lambda *values: values[chance.integers(len(values))]  # noqa: E731
            tags = {
                "modality": pick("CT", "MR", "CR", None),
                "body_part": pick("CHEST", "HEAD", None),
                "view": pick("PA", "LATERAL", None),
                "series_uid": pick(None, *(f"series{i}" for i in range(12))),
                "study_uid": pick(None, *(f"study{i}" for i in range(6))),
            }
            count = int(chance.choice([1, 1, 1, 4]))
            for _ in range(count):
                vector = chance.normal(size=opened.encoder.dim).astype(np.float32)
                if chance.random() < 0.3:  # Equal to an earlier one, or nearly, or not nearly enough.
                    vector = vectors[chance.integers(len(vectors))] + vector * chance.choice([0, 0.005, 0.03])
                vectors.append((vector / np.linalg.norm(vector)).astype(np.float32))
            case = f"case{number % 7}" if number % 2 else None
            builder.add(str(root / folder / name), number, vectors[-count:], case, **tags)


@dataclass
class Expected:
    """What has to be found: by sorting everything and looking at each pair."""

    rows: list[dict[str, Any]]
    matrix: np.ndarray

    def __post_init__(self) -> None:
        self.near = self.matrix @ self.matrix.T >= NEAR
        self.passing: dict[Filters, list[int]] = {}

    @classmethod
    def of(cls, opened: Opened) -> Expected:
        columns = (
            "frames.id, path, number, modality, body_part, view, series, study, case_key, hex(content_hash), vector"
        )
        sql = f"SELECT {columns} FROM vectors JOIN frames ON frames.id = frame_id JOIN files ON files.id = file_id"
        attributes = ("modality", "body_part", "view", "series", "study", "case")
        names = ("id", "path", "frame", *attributes, "content", "vector")
        rows = [dict(zip(names, row, strict=True)) for row in opened.rows(f"{sql} ORDER BY frames.id")]
        return cls(rows, np.stack([np.frombuffer(row.pop("vector"), "<f4") for row in rows]))

    def hits(
        self,
        query: np.ndarray,
        *,
        filters: Filters,
        group_by: str,
        fold: bool,
        min_score: float | None = None,
        n: int = 10,
        offset: int = 0,
        own: Path | None = None,
        guessed: dict[str, list[set[str]]] | None = None,
    ) -> list[tuple[Any, ...]]:
        scores = (self.matrix.astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
        if filters not in self.passing or guessed:
            self.passing[filters] = [
                number for number, row in enumerate(self.rows) if self._passes(number, row, filters, guessed or {})
            ]
        path = own and os.path.realpath(own)
        pool = [
            number
            for number in self.passing[filters]
            if (min_score is None or scores[number] >= min_score) and not (path and self.rows[number]["path"] == path)
        ]
        pool.sort(key=lambda number: (-scores[number], self.rows[number]["id"]))
        groups: dict[Any, list[int]] = {}
        for number in pool:
            groups.setdefault(self._group(self.rows[number], group_by), []).append(number)
        shown: list[int] = []
        folded: dict[int, int] = {}
        sizes = {}
        for numbers in groups.values():
            best = numbers[0]
            twins = [other for other in shown if self.near[other, best]]
            if len(shown) == offset + n:
                break
            if fold and twins:
                folded[twins[0]] = folded.get(twins[0], 0) + 1
                continue
            shown.append(best)
            sizes[best] = len(numbers)
        return [
            (rank, self.rows[b]["path"], self.rows[b]["frame"], float(scores[b]), sizes[b] - 1, folded.get(b, 0))
            for rank, b in enumerate(shown, start=1)
        ][offset:]

    def _passes(self, number: int, row: dict[str, Any], filters: Filters, guessed: dict[str, list[set[str]]]) -> bool:
        for name in ("modality", "body_part", "view"):
            wanted = {value.upper() for value in getattr(filters, name)}
            has = {row[name]} if row[name] else guessed[name][number] if name in guessed else set()
            if wanted and not wanted & has:
                return False
        below = [os.path.realpath(folder) for folder in filters.under]
        if below and not any(row["path"] == folder or row["path"].startswith(folder + "/") for folder in below):
            return False
        return not filters.path or any(fnmatch.fnmatchcase(row["path"], pattern) for pattern in filters.path)

    @staticmethod
    def _group(row: dict[str, Any], group_by: str) -> Any:
        if group_by == "none":
            return row["id"]
        named = None if group_by == "file" else row[group_by] or row["case"]
        return row["path"] if named is None else (group_by, named)


def found(hits: list[Hit]) -> list[tuple[Any, ...]]:
    """Hits in the form of `Expected.hits`."""
    return [(hit.rank, hit.path, hit.frame, hit.score, hit.more, hit.folded) for hit in hits]


def every(**choices: list[Any]) -> list[dict[str, Any]]:
    """Every combination of choices."""
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
