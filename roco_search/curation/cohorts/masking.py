"""Text that is burnt into pixels, found by a detector, and masked: a help for whoever looks at the images, no proof.

The detector is PP-OCRv4, as the package rapidocr-onnxruntime brings it (two networks of 16 MB, in the wheel). Where its
first network sees text, its second has to read some, or vertebrae and ribs would be masked, too; what it read is
forgotten. It sees each grey frame twice: as it is shown, and with all its stored values, since a window can hide what
is written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError, UnreadableImage
from roco_search.imaging import open_image
from roco_search.imaging.archives import Member, locate
from roco_search.imaging.dicom.header import read_header
from roco_search.imaging.dicom.pixels import FrameDecoder

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; the last two are outside."""

MARGIN = 0.3  # Of a box's height, added on every side: the detector's boxes are tight.
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_UNCOMPRESSED = ("1.2.840.10008.1.2", _EXPLICIT)


class TextFinder:
    """Finds text in pictures. Raises `InputError` unless the package is installed."""

    def __init__(self) -> None:
        try:
            package: Any = import_module("rapidocr_onnxruntime")
        except ImportError:
            raise InputError(
                "Finding text in images needs the package rapidocr-onnxruntime, which is not installed; run `pip "
                "install 'roco-search[ocr]'`."
            ) from None
        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        self._detect = package.RapidOCR()

    def boxes(self, pixels: npt.NDArray[np.uint8]) -> list[Box]:
        """Return the boxes of what looks like text in a picture, uint8 ``(height, width, 3)``."""
        found, _ = self._detect(np.ascontiguousarray(pixels[..., ::-1]), use_cls=False)
        height, width = pixels.shape[:2]
        boxes = []
        for corners, _, _ in found or ():
            across, down = np.asarray(corners, np.float64).T
            margin = MARGIN * (down.max() - down.min())
            box = (across.min() - margin, down.min() - margin, across.max() + margin + 1, down.max() + margin + 1)
            left, top, right, bottom = (int(value) for value in np.round(box))
            boxes.append((max(0, left), max(0, top), min(width, right), min(height, bottom)))
        return boxes


def masked(pixels: npt.NDArray[Any], boxes: Iterable[Box], value: int) -> npt.NDArray[Any]:
    """Return a copy of a picture ``(height, width)`` or ``(height, width, 3)`` with boxes of one value."""
    copy = pixels.copy()
    for left, top, right, bottom in boxes:
        copy[top:bottom, left:right] = value
    return copy


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Frames of a DICOM file without what looked like text.

    Attributes
    ----------
    frames
        Stored values ``(frames, rows, columns)`` or with a last axis of 3, of an integer type.
    photometric
        What they mean now: a compressed image in luminance and colour differences has become RGB.
    bits
        The number of bits stored.
    boxes
        What was masked, in every frame.
    """

    frames: npt.NDArray[Any]
    photometric: str
    bits: int
    boxes: tuple[Box, ...]

    def put_into(self, dataset: Dataset) -> None:
        """Replace the pixels of a dataset, uncompressed; its file meta information is there already."""
        from pydicom.uid import UID

        size = self.frames.dtype.itemsize
        content = self.frames.astype(self.frames.dtype.newbyteorder("<")).tobytes()
        dataset.add_new("PixelData", "OB" if size == 1 else "OW", content + bytes(len(content) % 2))
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * size, self.bits, self.bits - 1
        dataset.PhotometricInterpretation = self.photometric
        dataset.SamplesPerPixel = 3 if self.frames.ndim == 4 else 1
        if self.frames.ndim == 4:
            dataset.PlanarConfiguration = 0
        for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if keyword in dataset:
                delattr(dataset, keyword)
        if str(dataset.file_meta.TransferSyntaxUID) not in _UNCOMPRESSED:
            dataset.file_meta.TransferSyntaxUID = UID(_EXPLICIT)


def find_in_dicom(path: str, finder: TextFinder) -> tuple[Box, ...]:
    """Return what looks like text in any frame of a DICOM file, in pixels of its stored rows and columns.

    Raises
    ------
    ImageError
        If the file cannot be read.
    """
    boxes: set[Box] = set()
    with locate(path).open("rb") as file:
        decoder = _decoder(file)
        rows, columns = decoder.layout.rows, decoder.layout.columns
        for frame in open_image(path, frames="all"):
            height, width = frame.pixels.shape[:2]
            scale = np.array([columns / width, rows / height] * 2)
            boxes |= {_scaled(box, scale, columns, rows) for box in finder.boxes(frame.pixels)}
            values, photometric = decoder.decode(frame.index)
            if photometric.startswith("MONOCHROME"):
                boxes |= set(finder.boxes(_whole_range(values)))
    return tuple(sorted(boxes))


def rewrite(source: Path | Member, boxes: Sequence[Box]) -> Rewritten:
    """Return all frames of a DICOM file with boxes masked, in the value that is shown darkest.

    Raises
    ------
    UnreadableImage
        If the file cannot be read, or its pixels are of a kind that cannot be written again.
    """
    with source.open("rb") as file:
        decoder = _decoder(file)
        frames = []
        for index in range(decoder.layout.frames):
            values, photometric = decoder.decode(index)
            if values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
                raise UnreadableImage("its pixels are no whole numbers of 8 or 16 bits, and cannot be masked")
            frames.append(masked(values, boxes, _darkest(values, photometric)))
    bits = min(decoder.layout.bits_stored, 8 * frames[0].dtype.itemsize)
    return Rewritten(np.stack(frames), photometric, bits, tuple(boxes))


def _decoder(file: Any) -> FrameDecoder:
    header = read_header(file)
    if header.pixels is None or header.syntax == _BIG_ENDIAN or header.dataset.get("BitsAllocated") == 1:
        raise UnreadableImage("its pixels are stored in a way that cannot be masked")
    return FrameDecoder(header, header.pixels)


def _darkest(values: npt.NDArray[Any], photometric: str) -> int:
    """Return the stored value to mask with; of a palette, the one that is most frequent, and so the background."""
    if photometric == "PALETTE COLOR":
        numbers, counts = np.unique(values, return_counts=True)
        return int(numbers[counts.argmax()])
    if photometric == "MONOCHROME1":
        return int(values.max())
    return 0 if values.ndim == 3 else int(values.min())


def _whole_range(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    wide = values.astype(np.float32)
    low, high = float(wide.min()), float(wide.max())
    grey = ((wide - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _scaled(box: Box, scale: npt.NDArray[np.float64], columns: int, rows: int) -> Box:
    left, top, right, bottom = np.asarray(box) * scale
    return int(left), int(top), min(columns, int(np.ceil(right))), min(rows, int(np.ceil(bottom)))
