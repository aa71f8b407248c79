"""The window that is named is the one that is shown: rendering with it gives the same picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roco_search.errors import NotAnImage, UnreadableImage
from roco_search.imaging import Window, read_levels
from tests.imaging.drawing import draw_dicom, grey, only, ramp, shipped


@pytest.mark.parametrize(
    ("attributes", "window"),
    [
        ({"WindowCenter": 40, "WindowWidth": 80}, Window(40, 80)),
        ({"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "HU"}, Window(40, 400)),
        ({"Modality": "MR"}, None),
        (
            {"Modality": "MR", "RescaleSlope": 2, "RescaleIntercept": 5, "PhotometricInterpretation": "MONOCHROME1"},
            None,
        ),
    ],
)
def test_the_named_window_shows_the_same_picture(
    tmp_path: Path, attributes: dict[str, Any], window: Window | None
) -> None:
    path = draw_dicom(tmp_path / "a", ramp(), **attributes)
    levels = read_levels(path)
    assert levels is not None
    assert window is None or levels.window == window
    shown, again = (grey(only(path, window=chosen)).astype(int) for chosen in (None, levels.window))
    assert abs(shown - again).max() <= 1
    slope, intercept = attributes.get("RescaleSlope", 1), attributes.get("RescaleIntercept", 0)
    assert (levels.low, levels.high) == (ramp().min() * slope + intercept, ramp().max() * slope + intercept)
    assert levels.hounsfield == (attributes.get("RescaleType") == "HU")


def test_of_several_frames_the_one_that_is_asked_for(tmp_path: Path) -> None:
    frames = np.stack([ramp(0, 100), ramp(0, 1000)])
    path = draw_dicom(tmp_path / "a", frames, Modality="MR")
    assert [read_levels(path, number).high for number in (0, 1)] == [100, 1000]  # type: ignore[union-attr]


def test_where_a_window_changes_nothing_there_are_no_levels(tmp_path: Path) -> None:
    Image.linear_gradient("L").save(tmp_path / "a.png")
    flat = draw_dicom(tmp_path / "flat", np.full((8, 8), 7, np.int16))
    for path in (tmp_path / "a.png", shipped("SC_rgb_rle.dcm"), flat):
        assert read_levels(path) is None
    (tmp_path / "no.txt").write_text("no picture")
    with pytest.raises(UnreadableImage):
        read_levels(tmp_path / "no.txt")
    with pytest.raises(NotAnImage):
        read_levels(shipped("reportsi.dcm"))
