"""Pairs that tests draw: discs and boxes of different greys, with captions that say so."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from roco_search.datasets.pair import Pair, PairSet, PictureFile

SHAPES = {"disc": "ellipse", "box": "rectangle"}
WORDS = ("chest x ray", "brain mri", "ct of the chest")


def draw(folder: Path, count: int = 12, size: tuple[int, int] = (44, 36)) -> list[Pair]:
    """Draw so many images of different shapes and greys; every third caption is shared by two images."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for i in range(count):
        shape = list(SHAPES)[i % 2]
        image = Image.new("L", size, 10)
        place = (4 + i % 5, 4 + i % 3, 24 + i % 7, 26 + i % 4)
        getattr(ImageDraw.Draw(image), SHAPES[shape])(place, fill=40 + (i * 53) % 200)
        path = folder / f"{i:03d}.png"
        image.save(path)
        name = i - 1 if i % 3 == 2 else i
        found.append(Pair(PictureFile(path), f"{WORDS[i % 3]} {shape} {name}", case=f"case {i // 2}"))
    return found


def pair_set(folder: Path, count: int = 12, split: str = "train") -> PairSet:
    return PairSet(draw(folder, count), "drawn shapes", "drawn", split)
