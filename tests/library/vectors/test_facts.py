"""What is known of each row is made once: where the matrix grows, only the new rows are judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roco_search.library import Library
from roco_search.library.directory import FACTS
from roco_search.library.vectors.facts import Facts
from tests.library.toy import Builder, Opened, draw

BANK = np.linalg.qr(np.random.default_rng(1).normal(size=(24, 5)))[0].T.astype(np.float32)


class Counting:
    """Judges by the signs of the first numbers, and remembers how many rows it was asked about."""

    def __init__(self, key: str = "signs") -> None:
        self.key = key
        self.asked = 0

    def judge(self, vectors: np.ndarray) -> np.ndarray:
        self.asked += len(vectors)
        return (vectors[:, :3].T > 0).astype(np.uint8)

    def nearest(self, vectors: np.ndarray) -> np.ndarray:
        return np.asarray((vectors @ BANK.T).max(axis=0, initial=-1))

    def noise(self, nearest: np.ndarray) -> float:
        return float(nearest.mean())


@pytest.fixture
def filled(opened: Opened, scans: Path) -> Opened:
    for number in range(12):
        draw(scans / f"{number:02}.png", number)
    opened.index(scans)
    return opened


def look(opened: Opened, judge: Counting) -> Facts:
    """Return the facts as another process finds them, compared with what each row says on its own."""
    with Library.open(opened.directory) as library:
        facts = library.facts(judge)
        matrix = np.array(library.vectors().matrix)
        ids = library.vectors().ids.tolist()
    said = {row[0]: row[1:] for row in opened.rows("SELECT id, modality, body_part, view, laterality FROM frames")}
    assert [tuple(facts.headers[code]) for code in facts.codes] == [said[number] for number in ids]
    assert np.array_equal(facts.senses, matrix[:, :3].T > 0)
    assert facts.noise == pytest.approx((matrix.astype(np.float64) @ BANK.T).max(axis=0).mean(), abs=1e-6)
    return facts


def test_only_what_is_new_is_judged(filled: Opened, scans: Path) -> None:
    judge = Counting()
    look(filled, judge)
    look(filled, judge)
    assert judge.asked == 12
    for _ in range(3):
        with Builder.of(filled.directory) as builder:
            vectors = np.random.default_rng(judge.asked).normal(size=(2, 24)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            builder.add(
                str(scans / f"late{judge.asked}.dcm"), judge.asked, list(vectors), None, modality="CT", view="PA"
            )
        look(filled, judge)
    assert judge.asked == 18


def test_all_is_judged_again_where_rows_went_or_the_judge_is_another(filled: Opened, scans: Path) -> None:
    judge = Counting()
    look(filled, judge)
    (scans / "05.png").unlink()
    draw(scans / "new.png", 100)
    draw(scans / "newer.png", 101)
    filled.index(scans)
    look(filled, judge)
    assert judge.asked == 12 + 13
    other = Counting("another")
    look(filled, other)
    assert other.asked == 13


@pytest.mark.parametrize("content", [b"", b"ROCOFACT" + bytes(9000)])
def test_a_file_that_is_none_is_made_again(filled: Opened, content: bytes) -> None:
    judge = Counting()
    look(filled, judge)
    (filled.directory / FACTS).write_bytes(content)
    look(filled, judge)
    assert judge.asked == 24
