"""Mirror images of training pairs, true ones: what lay on the left lies on the right, in the image and in the words.

Only of body parts without situs: a mirrored chest or abdomen would show its organs on the wrong side, and a heart on
the right is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from names import LIMBS

from roco_search.datasets.pair import Pair, Picture
from roco_search.imaging import CtWindows

SYMMETRIC = {"brain", "head", "head and neck", "neck", "orbit", "spine", "musculoskeletal", "pelvis", "prostate",
             "breast", "teeth", *LIMBS}  # fmt: skip
_SIDES = {"left": "right", "right": "left", "lt": "rt", "rt": "lt", "l": "r", "r": "l"}
# A lone L or R is a side, but L4 is a vertebra and "R/O" is rule out.
_SIDE = re.compile(r"\b(?:left|right|lt|rt)(?=\b|sided)|(?<![\w/.'-])[LR](?![\w/'-])", re.IGNORECASE)
# Words that name a side and have no opposite.
_ONE_SIDED = re.compile(r"\b(?:dextro|levo|laevo|appendi|hepat|liver|spleen|splen|cec|caec|sigmoid)\w*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The mirror image of a picture."""

    picture: Picture

    @property
    def name(self) -> str:
        """The name of the picture."""
        return self.picture.name

    def read(self, ct_windows: CtWindows | None = None) -> npt.NDArray[np.uint8]:
        """Return uint8 ``(height, width, 3)``, left and right exchanged. Raises `ImageError`."""
        return np.ascontiguousarray(self.picture.read(ct_windows)[:, ::-1])


def with_mirrored(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs and, after them, the mirror images of those that may be mirrored, by what is said of them."""
    return [*pairs, *(mirrored(pair) for pair in pairs if may_be_mirrored(pair))]


def may_be_mirrored(pair: Pair) -> bool:
    """Whether the mirror image is of a body that is as usual as this one."""
    return pair.columns["body_part"] in SYMMETRIC and not any(map(_ONE_SIDED.search, _said(pair)))


def mirrored(pair: Pair) -> Pair:
    """Exchange left and right in the image and in all captions."""
    captions: dict[str, float] = {}
    for caption, weight in pair.captions.items():
        other = exchange_sides(caption)
        captions[other] = captions.get(other, 0.0) + weight
    return replace(
        pair,
        picture=Mirrored(pair.picture),
        caption=exchange_sides(pair.caption),
        captions=captions,
        image=f"{pair.image} mirrored",
    )


def exchange_sides(text: str) -> str:
    """Write left for right and right for left."""
    return _SIDE.sub(_exchanged, text)


def _exchanged(match: re.Match[str]) -> str:
    word = match.group()
    other = _SIDES[word.lower()]
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def _said(pair: Pair) -> Iterable[str]:
    return (str(pair.columns.get(name) or "") for name in ("text", "title", "case_findings"))
