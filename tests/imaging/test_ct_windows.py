"""CT in three windows, as red, green and blue: values computed by hand, and only where there are Hounsfield units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels import pixel_array

from roco_search.imaging import CtWindows, Window, open_image
from tests.imaging.drawing import SHARED, draw_dicom, ramp, shipped

WINDOWS: CtWindows = (Window(-100, 2250), Window(40, 350), Window(40, 80))


def by_hand(hounsfield: np.ndarray) -> np.ndarray:
    """Air to bone, soft tissue, brain: from -1225 to 1025, from -135 to 215, from 0 to 80 HU, each as 0 to 255."""
    channels = [np.clip((hounsfield - low) / (high - low), 0, 1) for low, high in ((-1225, 1025), (-135, 215), (0, 80))]
    return np.round(np.stack(channels, axis=2) * 255)


def draw_ct(path: Path) -> tuple[Path, np.ndarray]:
    """Write a CT of 64 × 64 pixels from -1024 to 3071 HU, stored with an intercept; return its Hounsfield units too."""
    stored = ramp(0, 4095, "uint16")
    draw_dicom(path, stored, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024)
    return path, stored.astype(float) - 1024


def pixels(path: Path, **options: object) -> np.ndarray:
    return next(open_image(path, **options)).pixels  # type: ignore[arg-type]


def check(path: Path) -> None:
    dataset = dcmread(path)
    hounsfield = pixel_array(path) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    found = pixels(path, ct_windows=WINDOWS)
    assert np.abs(found - by_hand(hounsfield)).max() <= 1
    assert not np.array_equal(found[..., 0], found[..., 1])


def test_a_slice_is_shown_in_three_windows_at_once() -> None:
    check(shipped("693_J2KI.dcm"))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared scans are not beside this checkout")
def test_so_is_a_slice_of_the_shared_scans() -> None:
    check(SHARED / "scans" / "dicom" / "dcm_qa_ct" / "14.dcm")


def test_other_images_are_rendered_as_always(tmp_path: Path) -> None:
    scaled: dict[str, Any] = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    mr = draw_dicom(tmp_path / "mr", ramp(0, 4095, "uint16"), Modality="MR", **scaled)
    other_units = draw_dicom(tmp_path / "us", ramp(0, 4095, "uint16"), Modality="CT", RescaleType="US", **scaled)
    localizer = draw_dicom(
        tmp_path / "scout",
        ramp(0, 4095, "uint16"),
        Modality="CT",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        **scaled,
    )
    for path in (mr, other_units, localizer):
        assert np.array_equal(pixels(path, ct_windows=WINDOWS), pixels(path))
    ct = draw_dicom(tmp_path / "ct", ramp(0, 4095, "uint16"), Modality="CT", **scaled)
    assert not np.array_equal(pixels(ct, ct_windows=WINDOWS), pixels(ct))
    assert np.array_equal(pixels(ct, ct_windows=WINDOWS, window=WINDOWS[1]), pixels(ct, window=WINDOWS[1]))
