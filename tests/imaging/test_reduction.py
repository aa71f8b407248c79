"""Decoding what a model sees: as good as the whole picture scaled down, in a fraction of the work and of the bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imagecodecs import htj2k_encode, jpeg2k_encode
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from roco_search.imaging import open_image
from roco_search.imaging.render import average

ENOUGH, SEEN = 448, 224


def picture(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Return something with structure at every scale, float ``(rows, columns)`` in 0..1."""
    random = np.random.default_rng(seed)
    total = np.zeros((rows, columns))
    for size in (4, 16, 64, 256):
        coarse = Image.fromarray(random.random((size, size)).astype(np.float32))
        total += np.asarray(coarse.resize((columns, rows), Image.Resampling.BICUBIC)) / size**0.5
    total -= total.min()
    return total / total.max()


def dicom(path: Path, values: np.ndarray, frames: int = 1, **attributes: Any) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = attributes.pop("syntax", ExplicitVRLittleEndian)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = values.shape
    dataset.NumberOfFrames, dataset.SamplesPerPixel, dataset.PixelRepresentation = frames, 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    bits = 8 * values.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, min(bits, 12), min(bits, 12) - 1
    dataset.PixelData = attributes.pop("data", None) or values.tobytes() * frames
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def seen(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((SEEN, SEEN), Image.Resampling.BICUBIC)).astype(int)


def write(path: Path, kind: str) -> Path:
    shade = picture(1500, 1900)
    eight, twelve = (shade * 255).astype(np.uint8), (shade * 4095).astype(np.uint16)
    match kind:
        case "jpeg":
            Image.fromarray(eight).save(path, "JPEG", quality=90)
        case "colour jpeg":
            Image.fromarray(np.stack([eight, eight[::-1], eight[:, ::-1]], axis=2)).save(path, "JPEG", quality=90)
        case "png":
            Image.fromarray(eight).save(path, "PNG")
        case "deep png":
            Image.fromarray(twelve).save(path, "PNG")
        case "cr":
            dicom(path, twelve, WindowCenter=2000, WindowWidth=3000)
        case "cr without a window":
            dicom(path, twelve)
        case "jpeg 2000":
            one = bytes(jpeg2k_encode(twelve, reversible=True, bitspersample=12, codecformat="j2k"))
            dicom(path, twelve, syntax=JPEG2000Lossless, data=encapsulate([one]), WindowCenter=2000, WindowWidth=3000)
        case "htj2k":
            one = bytes(htj2k_encode(twelve, reversible=True))
            dicom(path, twelve, syntax=HTJ2KLossless, data=encapsulate([one]), WindowCenter=2000, WindowWidth=3000)
        case "lossy jpeg 2000 of 8 bits":
            one = bytes(jpeg2k_encode(eight, level=40, codecformat="j2k"))
            dicom(path, eight, syntax=JPEG2000, data=encapsulate([one]))
    return path


KINDS = [
    "htj2k",
    "jpeg 2000",
    "lossy jpeg 2000 of 8 bits",
    "jpeg",
    "colour jpeg",
    "png",
    "deep png",
    "cr",
    "cr without a window",
]


@pytest.mark.parametrize("kind", KINDS)
def test_it_looks_like_the_whole_picture_scaled_down(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "picture", kind)
    whole, small = next(open_image(path)), next(open_image(path, at_least=ENOUGH))
    assert ENOUGH <= min(small.pixels.shape[:2]) < 2 * ENOUGH
    assert small.tags == whole.tags, "the size that is told is that of the file"
    difference = np.abs(seen(whole.pixels) - seen(small.pixels))
    assert difference.mean() < 1 and np.percentile(difference, 99.9) <= 6


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_wish_every_pixel_comes(kind: str, tmp_path: Path) -> None:
    assert next(open_image(write(tmp_path / "picture", kind))).pixels.shape == (1500, 1900, 3)


def test_a_picture_that_is_hardly_larger_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.fromarray((picture(700, 890) * 255).astype(np.uint8)).save(path)
    np.testing.assert_array_equal(next(open_image(path)).pixels, next(open_image(path, at_least=ENOUGH)).pixels)


def test_padding_is_never_averaged_into_the_picture(tmp_path: Path) -> None:
    values = (picture(1000, 1000) * 3000 + 500).astype(np.uint16)
    values[:, :301] = 0
    path = dicom(tmp_path / "padded", values, PixelPaddingValue=0, WindowCenter=2000, WindowWidth=3000)
    assert next(open_image(path, at_least=ENOUGH)).pixels.shape == (1000, 1000, 3)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i2", "<f4", "<i4"])
@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_averages_are_means_of_blocks(dtype: str, factor: int) -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 250, (45, 38)).astype(dtype)
    rows, columns = 45 // factor, 38 // factor
    blocks = values[: rows * factor, : columns * factor].astype(float).reshape(rows, factor, columns, factor)
    np.testing.assert_allclose(average(values, factor), blocks.mean(axis=(1, 3)), rtol=1e-5)


def bytes_read(path: Path) -> int:
    """Return how many bytes opening the middle frame asks the system for."""
    next(open_image(path))  # what is imported or cached at the first time
    counters = Path("/proc/self/io")
    before = int(counters.read_text().split()[1])
    own = int(counters.read_text().split()[1]) - before  # of looking at the counter
    next(open_image(path))
    return int(counters.read_text().split()[1]) - before - 2 * own


@pytest.mark.skipif(not os.access("/proc/self/io", os.R_OK), reason="the kernel does not count here")
@pytest.mark.parametrize("compressed", [False, True])
def test_of_many_frames_only_the_wanted_one_is_read(compressed: bool, tmp_path: Path) -> None:
    frames, (rows, columns) = 200, (240, 320)
    values = (picture(rows, columns) * 255).astype(np.uint8)
    if compressed:
        Image.fromarray(values).save(tmp_path / "one.jpg", quality=95)
        one = (tmp_path / "one.jpg").read_bytes()
        path = dicom(
            tmp_path / "cine", values, frames, syntax=JPEGBaseline8Bit, data=encapsulate([one] * frames, has_bot=True)
        )
    else:
        one = values.tobytes()
        path = dicom(tmp_path / "cine", values, frames)
    assert path.stat().st_size > frames * len(one)
    # Beside it: the head of each fragment (8 bytes), the offset table (4 bytes a frame), and the file's header.
    table = frames * (8 + 4) if compressed else 0
    assert bytes_read(path) < len(one) + table + 5 * 8192 < path.stat().st_size / 20
