"""One library for the whole room: small pictures with a bright middle, or a bright corner, or neither."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.library.toy import Opened, ToyEncoder

COUNT, PER_CASE = 72, 2


@dataclass
class Taught:
    """A library, the table of its labels, and the pictures in the order of the table."""

    opened: Opened
    table: Path
    paths: list[Path]
    middle: np.ndarray
    corner: np.ndarray


def picture(chance: np.random.Generator, *, middle: bool, corner: bool) -> np.ndarray:
    pixels = chance.integers(40, 120, (32, 32))
    if middle:
        pixels[9:23, 9:23] += 100
    if corner:
        pixels[:5, :5] = 250
    return pixels.astype(np.uint8)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taught]:
    folder = tmp_path_factory.mktemp("probe")
    chance = np.random.default_rng(5)
    cases = np.arange(COUNT) // PER_CASE
    of_case = chance.permutation(COUNT // PER_CASE) % 2 == 0
    middle, corner = of_case[cases], (chance.permutation(COUNT // PER_CASE) % 2 == 0)[cases]
    paths = []
    for number in range(COUNT):
        paths.append(folder / "films" / f"{number:03}.png")
        paths[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(picture(chance, middle=bool(middle[number]), corner=bool(corner[number]))).save(paths[-1])
    table = folder / "labels.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "middle", "corner", "patient"])
        rows = zip(paths, middle, corner, cases, strict=True)
        writer.writerows((f"films/{p.name}", int(m), int(c), f"p{k}") for p, m, c, k in rows)
    with Opened(folder / "library", ToyEncoder()) as opened:
        opened.index(folder / "films")
        yield Taught(opened, table, paths, middle, corner)
