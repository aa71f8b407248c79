"""Every real scan at hand becomes a picture or is refused with a reason."""

import json
from pathlib import Path

import pytest
from pydicom.data import get_testdata_files

from roco_search.errors import ImageError, NotAnImage, UnreadableImage
from roco_search.imaging import open_image, sniff
from tests.imaging.drawing import SHARED

SCANS = SHARED / "scans"
needs_scans = pytest.mark.skipif(not SCANS.is_dir(), reason="the shared scans are not beside this checkout")

# Of pydicom's own files: those that are broken on purpose, and headers without pixels.
UNREADABLE = {
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "MR_truncated.dcm",
    "UN_sequence.dcm",
    "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
    "no_meta.dcm",
    "no_meta_group_length.dcm",
    "priv_SQ.dcm",
}


def test_files_that_pydicom_ships() -> None:
    refused, rendered = set(), 0
    for path in map(Path, get_testdata_files()):
        if path.is_dir() or "dicomdirtests" in path.parts or sniff(path) is None:
            continue
        try:
            pixels = next(open_image(path)).pixels
        except NotAnImage:
            continue
        except UnreadableImage:
            refused.add(path.name)
            continue
        rendered += 1
        assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.flags.c_contiguous
        assert path.name in {"liver.dcm"} or pixels.std() > 0, f"{path.name} is blank"
    assert refused == UNREADABLE
    assert rendered >= 40


@needs_scans
def test_scans_of_the_manifest() -> None:
    folder = SCANS / "dicom"
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        picture = "Segmentation" not in row["sop_class"]
        try:
            frame = next(open_image(folder / row["path"]))
        except ImageError as error:
            assert isinstance(error, NotAnImage) == (not picture), row["path"]
            assert not (picture and row["decodes_here"]), f"{row['path']}: {error}"
            continue
        assert picture and frame.pixels.std() > 1, row["path"]


@needs_scans
def test_png_scans() -> None:
    files = sorted((SCANS / "png").rglob("*.png"))
    assert files
    for path in files[:40]:
        (frame,) = open_image(path)
        assert frame.pixels.std() > 1
