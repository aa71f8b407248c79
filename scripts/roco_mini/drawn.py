"""Pictures of nothing: test patterns, pages, noise, blank frames and everyday drawings, with captions of their own.

A model that has seen radiographs only calls anything one of them. These are drawn when they are read, each from its
kind and its number alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import drawings
import numpy as np
import numpy.typing as npt
from drawings import Random
from PIL import Image

from roco_search.datasets.pair import Pair
from roco_search.imaging import CtWindows

SOURCE = "drawn"
NOTHING = ("not a medical image", "no radiology image", "something that is not a scan")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn picture, of a kind and with a number."""

    kind: str
    number: int

    @property
    def name(self) -> str:
        """The kind and the number."""
        return f"{SOURCE}/{self.kind}-{self.number}"

    def read(self, ct_windows: CtWindows | None = None) -> npt.NDArray[np.uint8]:
        """Draw it: uint8 ``(height, width, 3)``."""
        random = np.random.default_rng((sorted(KINDS).index(self.kind), self.number))
        size = int(random.integers(200, 320)), int(random.integers(200, 320))
        draw, _ = KINDS[self.kind]
        image = draw(random, *size)
        if random.random() < 0.35:
            image = image.convert("L")
        return np.asarray(image.convert("RGB"))


def drawn_pairs(each: int, kinds: Sequence[str] | None = None, first: int = 0) -> list[Pair]:
    """Return so many pairs of each kind, numbered from ``first``; each is a case of its own."""
    pairs = []
    for kind in kinds or sorted(KINDS):
        captions = KINDS[kind][1]
        shares = {**dict.fromkeys(captions, 0.8 / len(captions)), **dict.fromkeys(NOTHING, 0.2 / len(NOTHING))}
        for number in range(first, first + each):
            columns = {"source": SOURCE, "modality": "none", "body_part": kind, "labels": [kind], "text_kind": "drawn"}
            pairs.append(Pair(Drawing(kind, number), captions[0], shares, columns, case=f"{SOURCE}:{kind}:{number}"))
    return pairs


KINDS: Mapping[str, tuple[Callable[[Random, int, int], Image.Image], Sequence[str]]] = {
    "colour_bars": (
        drawings.colour_bars,
        ("colour bars", "SMPTE colour bars", "a test pattern of bars", "grey scale bars"),
    ),
    "test_pattern": (
        drawings.test_pattern,
        ("a monitor test pattern", "test pattern", "a resolution test chart", "a grid"),
    ),
    "checkerboard": (
        drawings.checkerboard,
        ("a checkerboard", "checkerboard pattern", "stripes", "a pattern of squares"),
    ),
    "gradient": (drawings.gradient, ("a colour gradient", "a smooth gradient", "a background")),
    "page": (
        drawings.page,
        ("a page of text", "a document", "a letter", "text", "a scanned page", "a patient sheet with text only"),
    ),
    "form": (drawings.form, ("an invoice", "a table of numbers", "a form", "a spreadsheet", "a receipt")),
    "blank": (
        drawings.blank,
        ("a blank image", "an empty frame", "a black picture", "nothing", "a uniform grey picture"),
    ),
    "noise": (drawings.noise, ("noise", "random noise", "static on a television", "a noisy frame")),
    "phantom": (
        drawings.phantom,
        ("a phantom", "a quality assurance phantom", "a test object with inserts", "calibration phantom"),
    ),
    "house": (
        drawings.house,
        ("a drawing of a house", "a house with a garden", "a building", "a landscape with a sun"),
    ),
    "face": (drawings.face, ("a drawing of a face", "a smiley", "a cartoon", "a cat", "an animal")),
    "vehicle": (drawings.vehicle, ("a car", "a drawing of a car", "a boat", "a vehicle on a road")),
    "flower": (drawings.flower, ("a flower", "a drawing of a flower", "a plant", "a tree")),
    "chart": (drawings.chart, ("a bar chart", "a graph", "a plot of a curve", "a pie chart", "a diagram")),
    "screen": (drawings.screen, ("a screenshot", "a window of a program", "a user interface", "a web page")),
    "code": (drawings.code, ("a QR code", "a bar code", "black and white squares")),
    "shapes": (drawings.shapes, ("abstract shapes", "a logo", "coloured shapes", "a drawing", "an icon")),
}
