"""Pixels with text in them are found and masked, and nothing else of an image changes."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont

from roco_search.curation.cohorts.cohort import Definition, gather
from roco_search.curation.cohorts.deidentify import Deidentifier
from roco_search.curation.cohorts.export import MANIFEST, Options, export_cohort
from roco_search.curation.cohorts.masking import Box, TextFinder, rewrite
from roco_search.errors import InputError
from roco_search.imaging import open_image
from tests.imaging.drawing import shipped
from tests.library.toy import Opened

needs_detector = pytest.mark.skipif(
    find_spec("rapidocr_onnxruntime") is None, reason="rapidocr-onnxruntime (extra ocr) is not installed"
)
needs_table = pytest.mark.skipif(find_spec("dicomanonymizer") is None, reason="dicom-anonymizer is not installed")
BOX: Box = (3, 5, 20, 11)


@needs_table
@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "693_J2KI.dcm", "SC_jpeg_no_color_transform.dcm", "SC_rgb_rle_2frame.dcm", "examples_palette.dcm"],
)
def test_a_rewritten_copy_shows_the_same_around_a_mask(tmp_path: Path, name: str) -> None:
    """Grey and colour, palette and several frames, compressed or not: as pydicom reads it, and as roco shows it."""
    source, target = Path(shipped(name)), tmp_path / "copy.dcm"
    before = [frame.pixels for frame in open_image(source, frames="all")]
    Deidentifier().copy(source, target, rewrite(source, [BOX]))
    copy = pydicom.dcmread(target)
    assert not copy.file_meta.TransferSyntaxUID.is_compressed and copy.PixelRepresentation in {0, 1}
    left, top, right, bottom = BOX
    stored = copy.pixel_array.reshape(len(before), copy.Rows, copy.Columns, -1)
    assert all(len(np.unique(frame[top:bottom, left:right])) == 1 for frame in stored), "no pixel of the text is left"
    after = [frame.pixels for frame in open_image(target, frames="all")]
    around = np.ones(before[0].shape[:2], bool)
    around[top:bottom, left:right] = False
    for was, now in zip(before, after, strict=True):
        difference = np.abs(was[around].astype(int) - now[around])
        # What is masked is out of the automatic range of an image without a window, which can move by a little.
        assert difference.mean() < 1 and (np.median(difference) == 0)


def test_what_cannot_be_written_again_is_refused(tmp_path: Path) -> None:
    from roco_search.errors import UnreadableImage

    for name in ("liver_1frame.dcm", "ExplVR_BigEnd.dcm"):
        with pytest.raises(UnreadableImage, match="cannot be masked"):
            rewrite(Path(shipped(name)), [BOX])


def written(size: int, text: str) -> np.ndarray:
    chance = np.random.default_rng(size)
    picture = Image.fromarray(chance.integers(0, 60, (size, size + 40)).astype(np.uint8))
    ImageDraw.Draw(picture).text((20, 30), text, fill=255, font=ImageFont.load_default(20))
    return np.asarray(picture)


@needs_detector
@needs_table
def test_text_is_found_masked_and_reported(opened: Opened, scans: Path, tmp_path: Path) -> None:
    scans.mkdir(exist_ok=True)
    Image.fromarray(written(300, "SMITH JOHN 1971")).save(scans / "named.png")
    Image.linear_gradient("L").resize((300, 300)).save(scans / "plain.png")
    dataset = pydicom.dcmread(shipped("CT_small.dcm"))
    pixels = np.repeat(np.repeat(dataset.pixel_array, 3, 0), 3, 1)
    pixels[40:75, 30:370] = np.where(written(340, "DOE^JANE 77")[25:60, 20:360] > 200, pixels.max(), pixels.min())
    dataset.Rows, dataset.Columns, dataset.PixelData = *pixels.shape, pixels.tobytes()
    dataset.save_as(scans / "named.dcm")
    opened.index(scans)
    cohort = gather(opened.library, "all", Definition(path=("*",)))
    with pytest.raises(InputError, match="keep their pixels"):
        export_cohort(opened.library, cohort, tmp_path / "x", Options(form="files", mask_text=True))
    done = export_cohort(
        opened.library, cohort, tmp_path / "out", Options(deidentify=True, mask_text=True, test=0, validation=0)
    )
    assert done.text_found == 2
    said = json.loads((tmp_path / "out" / MANIFEST).read_text())["may_carry_text_in_its_pixels"]
    masked = [name for name, why in said.items() if "text was found and masked" in why]
    assert sorted(Path(name).suffix for name in masked) == [".dcm", ".png"]
    assert sum("which proves nothing" in why for why in said.values()) == 1
    finder = TextFinder()
    assert not any(finder.boxes(next(open_image(tmp_path / "out" / name)).pixels) for name in said)
    (copy,) = (tmp_path / "out").rglob("*.dcm")
    kept = pydicom.dcmread(copy).pixel_array
    assert np.array_equal(kept[120:], pixels[120:]) and kept[45:70, 40:200].max() == pixels.min()
    found = export_cohort(opened.library, cohort, tmp_path / "seen", Options(find_text=True, test=0, validation=0))
    assert found.text_found == 2 and not any("masked" in why for why in found.burned_in.values())
