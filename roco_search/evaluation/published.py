"""What others have published, with the name that each figure really has.

The original, ROCO-Radiology-CLIP (github.com/Youngboy01/CLIP-Project), first reported its 6.02 % as "global recall@5".
The output of its own notebook (notebooks/Testing.ipynb at commit 711bd30) shows it to be image-to-text recall@1, which
its author corrected too (commit 3205095). Its other global figures are in the same output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .metrics import Direction

ROCO_TEST = 8176
SOURCE = "ROCO-Radiology-CLIP, CLIP ViT-B/32 fine-tuned on ROCO"


@dataclass(frozen=True, slots=True)
class Published:
    """A published figure of the original on the ROCO test set, N = 8,176.

    ``candidates`` is the pool that a query was ranked in: a batch of 32, or the whole test set.
    """

    direction: Direction
    candidates: int
    metric: str
    value: float


ROCO_V1: Sequence[Published] = (
    Published("image-to-text", 32, "recall@1", 0.7083),
    Published("image-to-text", 32, "recall@5", 0.9699),
    Published("image-to-text", ROCO_TEST, "recall@1", 0.0602),
    Published("image-to-text", ROCO_TEST, "recall@5", 0.1634),
    Published("text-to-image", ROCO_TEST, "recall@1", 0.0594),
    Published("text-to-image", ROCO_TEST, "recall@5", 0.1601),
)
