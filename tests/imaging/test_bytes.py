"""The content of a file in memory becomes the same picture as the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roco_search.errors import InputError, NotAnImage, UnreadableImage
from roco_search.imaging import Window, open_image, open_image_bytes
from tests.imaging.drawing import PATIENT, draw_dicom, only, ramp, shipped

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp"])
def test_a_raster_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GREY).save(path)
    (frame,) = open_image_bytes(path.read_bytes())
    assert (frame.pixels == only(path).pixels).all()
    assert (frame.tags, frame.index, frame.count) == (only(path).tags, 0, 1)


# Uncompressed, JPEG 2000, RLE with several frames, deflated.
@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "SC_rgb_rle_2frame.dcm", "image_dfl.dcm"])
def test_a_dicom_file(name: str) -> None:
    path = shipped(name)
    (frame,) = open_image_bytes(path.read_bytes())
    assert (frame.pixels == only(path).pixels).all()
    assert frame.tags == only(path).tags


def test_a_window_and_all_frames(tmp_path: Path) -> None:
    path = draw_dicom(tmp_path / "a.dcm", np.stack([ramp(), ramp()[::-1]]))
    window = Window(40, 400)
    frames = list(open_image_bytes(path.read_bytes(), window=window, frames="all"))
    assert [frame.index for frame in frames] == [0, 1]
    for found, expected in zip(frames, open_image(path, window=window, frames="all"), strict=True):
        assert (found.pixels == expected.pixels).all()


@pytest.mark.parametrize("content", [b"", b"a caption, by mistake", b"%PDF-1.7"])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableImage, match="not a picture"):
        next(open_image_bytes(content))


def test_what_is_cut_short_is_refused(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 40).save(tmp_path / "a.png")
    with pytest.raises(UnreadableImage, match="cut short"):
        next(open_image_bytes((tmp_path / "a.png").read_bytes()[:1500]))


def test_a_dicom_file_without_pixels_is_no_picture_and_names_nobody(tmp_path: Path) -> None:
    path = draw_dicom(tmp_path / "a.dcm", ramp(), sop_class="1.2.840.10008.5.1.4.1.1.88.11")
    with pytest.raises(NotAnImage) as refused:
        next(open_image_bytes(path.read_bytes()))
    assert PATIENT not in str(refused.value)


@pytest.mark.parametrize("suffix", ["png", "dcm"])
def test_a_bad_choice_of_frames_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    draw_dicom(path, ramp()) if suffix == "dcm" else Image.fromarray(GREY).save(path)
    for frames in (open_image(path, frames=0), open_image_bytes(path.read_bytes(), frames=0)):
        with pytest.raises(InputError, match="frames must be"):
            next(frames)
