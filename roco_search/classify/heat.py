"""Which part of an image supports a label: occlusion, with any encoder.

A soft spot is moved over the image, and what it covers is blurred; where that lowers the label's score, the evidence is
found (occlusion sensitivity: Zeiler and Fergus 2014, section 4.2; blurring rather than painting grey, so that the
covered image stays an image: Fong and Vedaldi 2017; averaging the losses under soft masks: RISE, Petsiuk et al. 2018).
It shows what the model looked at; it does not outline a finding.
"""

from __future__ import annotations

import io
import os
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, PngImagePlugin

from roco_search.classify.reading import HEAT_ENDING
from roco_search.models.encoder import Encoder
from roco_search.system.files import write_errors, write_file

GRID = 12
"""Spots along each side: 144 embeddings an image."""
SPOT = 0.09
"""Standard deviation of a spot, as a share of the side: neighbours overlap, so that the map is smooth."""
MAX_DRAWN = 1024  # pixels of the longer side of the picture that is written
_BATCH = 24
_WRITTEN_BY = "roco classify --explain"


def heat_maps(
    encoder: Encoder, pixels: npt.NDArray[np.uint8], directions: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Return by how much each part of an image carried it along some directions.

    Parameters
    ----------
    encoder
        The model.
    pixels
        uint8 ``(height, width, 3)``.
    directions
        float ``(directions, dim)``, such as `Classifier.contrast` gives; all of them cost as much as one.

    Returns
    -------
    float32 ``(directions, height, width)`` for a copy reduced to what the model sees. Each value is the mean loss of
    the similarity along the direction when that place is covered: above 0 where the image supports the label, below
    0 where it contradicts it.
    """
    small = _reduced(pixels, encoder.image_size)
    height, width = small.shape[:2]
    blur = ImageFilter.GaussianBlur(SPOT * max(height, width))
    blurred = np.asarray(Image.fromarray(small).filter(blur), np.float32)
    whole = np.asarray(encoder.encode_images([small]), np.float64)[0] @ directions.T
    heat = np.zeros((len(directions), height, width))
    covered = np.zeros((height, width))
    centres = [((row + 0.5) / GRID, (column + 0.5) / GRID) for row in range(GRID) for column in range(GRID)]
    for start in range(0, len(centres), _BATCH):
        masks = np.stack([_spot(height, width, *centre) for centre in centres[start : start + _BATCH]])
        hidden = [np.rint(small + (blurred - small) * mask[..., None]).astype(np.uint8) for mask in masks]
        lost = whole - np.asarray(encoder.encode_images(hidden), np.float64) @ directions.T
        heat += np.einsum("ml,mhw->lhw", lost, masks)
        covered += masks.sum(axis=0)
    return (heat / covered).astype(np.float32)


def _reduced(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Shrink so that the shorter side has as many pixels as the model sees: 144 copies of a radiograph are slow."""
    height, width = pixels.shape[:2]
    factor = side / min(height, width)
    if factor >= 1:
        return pixels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), np.uint8)


def _spot(height: int, width: int, row: float, column: float) -> npt.NDArray[np.float32]:
    down = np.exp(-((((np.arange(height) + 0.5) / height - row) / SPOT) ** 2) / 2)
    across = np.exp(-((((np.arange(width) + 0.5) / width - column) / SPOT) ** 2) / 2)
    # Cut off at 1, so that the middle of the spot is hidden whole while its edge fades.
    return np.minimum(1, 1.5 * np.outer(down, across)).astype(np.float32)


def draw(pixels: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> Image.Image:
    """Lay a heat map over its image: red supports the label, blue contradicts it, and the more opaque, the stronger."""
    image = Image.fromarray(pixels).convert("L")
    image.thumbnail((MAX_DRAWN, MAX_DRAWN))
    strongest = float(np.abs(heat).max())
    scaled = heat / strongest if strongest > 0 else heat
    spread = np.asarray(Image.fromarray(scaled).resize(image.size, Image.Resampling.BICUBIC)).clip(-1, 1)
    opacity = 0.6 * np.abs(spread)[..., None]
    colour = np.where(spread[..., None] > 0, np.array([255, 40, 0]), np.array([0, 90, 255]))
    grey = np.asarray(image, np.float32)[..., None]
    return Image.fromarray(np.rint(grey * (1 - opacity) + colour * opacity).astype(np.uint8))


def write(picture: Image.Image, directory: Path, source: Path, label: str, frame: int | None = None) -> Path:
    """Write a heat map as ``<stem>.<label>.heat.png`` and return its path.

    Only earlier heat maps of the same image are replaced; where another file has the name, a number is added.

    Raises
    ------
    StorageFull, InputError
        If the folder cannot be written to.
    """
    # A path may name a patient, but it is the person's own folder; only its hash goes into the file.
    origin = f"{_WRITTEN_BY} {source} {frame}"
    mark = sha256(origin.encode("utf-8", "surrogateescape")).hexdigest()
    stem = source.name.removesuffix(source.suffix) if source.suffix else source.name
    of_frame = "" if frame is None else f".frame{frame + 1}"
    name = re.sub(r"[^\w+-]+", "-", label.lower()).strip("-")[:40] or "label"
    with write_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            target = directory / f"{stem}{of_frame}.{name}{'' if number == 1 else f'.{number}'}{HEAT_ENDING}"
            if not os.path.lexists(target) or _mark(target) == mark:
                break
            number += 1
        _save(picture, target, mark)
    return target


def _mark(path: Path) -> str | None:
    try:
        with Image.open(path) as image:
            return str(image.info.get("roco", "")) or None
    except (OSError, ValueError):
        return None


def _save(picture: Image.Image, target: Path, mark: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", _WRITTEN_BY)
    info.add_text("roco", mark)
    content = io.BytesIO()
    picture.save(content, "PNG", pnginfo=info)
    write_file(target, content.getvalue())  # for its owner alone: it is a picture of a patient
