"""Random changes to a radiograph that leave what it shows true.

Never flipped left to right: situs is a finding.
"""

from __future__ import annotations

import numpy as np
from PIL import Image


def augment(image: Image.Image, size: int, random: np.random.Generator) -> Image.Image:
    """Crop, turn, window and mask an ``L`` or ``RGB`` image into ``(size, size)`` of the same mode."""
    image = _crop_and_turn(image, size, random)
    pixels = np.asarray(image).astype(np.float32) / 255
    pixels = _window(pixels, random)
    if random.random() < 0.3:
        _mask_corner(pixels, random)
    if random.random() < 0.3:
        pixels += random.normal(0, random.uniform(0.01, 0.04), pixels.shape).astype(np.float32)
    return Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8), image.mode)


def _crop_and_turn(image: Image.Image, size: int, random: np.random.Generator) -> Image.Image:
    """Cut out 55 to 100 % of the area at a changed aspect ratio, turn by up to ten degrees, resample once."""
    width, height = image.size
    area = random.uniform(0.55, 1.0)
    ratio = np.exp(random.uniform(-0.22, 0.22))
    crop_w, crop_h = min(1.0, (area * ratio) ** 0.5) * width, min(1.0, (area / ratio) ** 0.5) * height
    centre_x = random.uniform(crop_w / 2, width - crop_w / 2)
    centre_y = random.uniform(crop_h / 2, height - crop_h / 2)
    angle = np.deg2rad(random.uniform(-10, 10)) if random.random() < 0.5 else 0.0
    scale_x, scale_y, cos, sin = crop_w / size, crop_h / size, np.cos(angle), np.sin(angle)
    # Affine map from an output pixel to the input pixel it is taken from.
    a, b = cos * scale_x, -sin * scale_y
    d, e = sin * scale_x, cos * scale_y
    c = centre_x - (a + b) * size / 2
    f = centre_y - (d + e) * size / 2
    return image.transform((size, size), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC)


def _window(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Another window and gamma, as another workstation would show it; seldom, the inverted greyscale."""
    low, high = random.uniform(-0.12, 0.12), random.uniform(0.85, 1.15)
    pixels = ((pixels - low) / (high - low)).clip(0, 1) ** np.float32(np.exp(random.uniform(-0.35, 0.35)))
    return 1 - pixels if random.random() < 0.03 else pixels


def _mask_corner(pixels: np.ndarray, random: np.random.Generator) -> None:
    """Blot a corner out: logos and burnt-in text are found there, and reveal the source instead of the finding."""
    side = pixels.shape[0]
    height, width = (random.uniform(0.08, 0.25, 2) * side).astype(int)
    rows = slice(0, height) if random.random() < 0.5 else slice(side - height, side)
    columns = slice(0, width) if random.random() < 0.5 else slice(side - width, side)
    pixels[rows, columns] = random.choice((0.0, random.random()))
