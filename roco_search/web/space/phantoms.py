"""Phantoms for the examples of a Space: drawn from ellipses of grey, like those used to test computed tomography.

They show no patient, and nobody owns what a formula draws. The head is the phantom of Shepp and Logan (1974), with the
contrast of Toft (1996); chest and abdomen are our own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 256
# Grey value to add, half axes (x, y), centre (x, y), rotation in degrees; lengths in units of half the side.
Ellipse = tuple[float, float, float, float, float, float]

HEAD: tuple[Ellipse, ...] = (
    (1.0, 0.69, 0.92, 0, 0, 0),
    (-0.8, 0.6624, 0.874, 0, -0.0184, 0),
    (-0.2, 0.11, 0.31, 0.22, 0, -18),
    (-0.2, 0.16, 0.41, -0.22, 0, 18),
    (0.1, 0.21, 0.25, 0, 0.35, 0),
    (0.1, 0.046, 0.046, 0, 0.1, 0),
    (0.1, 0.046, 0.046, 0, -0.1, 0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0),
    (0.1, 0.023, 0.023, 0, -0.606, 0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0),
)
CHEST: tuple[Ellipse, ...] = (
    (0.55, 0.9, 0.66, 0, 0, 0),
    (-0.5, 0.33, 0.46, 0.42, 0.06, -8),
    (-0.5, 0.33, 0.46, -0.42, 0.06, 8),
    (0.15, 0.24, 0.27, -0.1, 0.12, 25),
    (0.42, 0.11, 0.11, 0, -0.42, 0),
    (-0.3, 0.035, 0.035, 0, -0.42, 0),
    (0.2, 0.07, 0.07, 0.14, -0.34, 0),
)
ABDOMEN: tuple[Ellipse, ...] = (
    (0.45, 0.88, 0.64, 0, 0, 0),
    (0.12, 0.4, 0.34, -0.38, 0.14, 20),
    (0.12, 0.13, 0.19, 0.48, -0.18, -20),
    (0.12, 0.13, 0.19, -0.48, -0.26, 20),
    (-0.35, 0.2, 0.12, 0.3, 0.34, 10),
    (0.45, 0.11, 0.11, 0, -0.4, 0),
    (0.2, 0.06, 0.06, 0.08, -0.2, 0),
)
PHANTOMS = {"head": HEAD, "chest": CHEST, "abdomen": ABDOMEN}


def draw(
    ellipses: tuple[Ellipse, ...], *, scale: float = 1.0, turn: float = 0.0, noise: float = 0.0, seed: int = 0
) -> Image.Image:
    """Draw a phantom of 256 x 256 pixels in 8-bit grey.

    Parameters
    ----------
    ellipses
        The parts that are added up.
    scale, turn
        Size relative to the original, and rotation in degrees.
    noise
        Standard deviation of Gaussian noise, where white is 1.
    seed
        Seed of the noise.
    """
    axis = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    x, y = np.meshgrid(axis / scale, -axis / scale)
    angle = np.deg2rad(turn)
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    grey: npt.NDArray[np.float64] = np.zeros((SIDE, SIDE))
    for added, across, up, cx, cy, degrees in ellipses:
        tilt = np.deg2rad(degrees)
        along = (x - cx) * np.cos(tilt) + (y - cy) * np.sin(tilt)
        beside = (y - cy) * np.cos(tilt) - (x - cx) * np.sin(tilt)
        grey += added * ((along / across) ** 2 + (beside / up) ** 2 <= 1)
    grey += np.random.default_rng(seed).normal(0, noise, grey.shape) if noise else 0
    return Image.fromarray((grey.clip(0, 1) * 255).round().astype(np.uint8))


def write_examples(folder: Path) -> list[Path]:
    """Write each phantom four times into a folder (as it is, smaller, turned, noisy) and return the files."""
    folder.mkdir(exist_ok=True)
    variants: tuple[dict[str, float], ...] = ({}, {"scale": 0.8}, {"turn": 12.0}, {"noise": 0.05})
    written = []
    for name, ellipses in PHANTOMS.items():
        for number, options in enumerate(variants, start=1):
            path = folder / f"phantom-{name}-{number}.png"
            draw(ellipses, seed=number, **options).save(path, "PNG")
            written.append(path)
    return written
