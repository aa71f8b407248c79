"""The arithmetic of the pipeline, against pydicom's and against the formulas of the standard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from roco_search.errors import InputError
from roco_search.imaging import Window
from roco_search.imaging.frame import choose_frames
from roco_search.imaging.render import (
    LookupTable,
    apply_lookup_table,
    apply_window,
    colour_to_picture,
    robust_range,
    square_pixels,
    stretch,
    to_picture,
)

VALUES = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)


@given(
    center=st.integers(-1500, 1500),
    width=st.integers(2, 4000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_equal_pydicoms(center: int, width: int, function: str) -> None:
    dataset = Dataset()
    dataset.PhotometricInterpretation, dataset.PixelRepresentation, dataset.BitsStored = "MONOCHROME2", 1, 12
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = center, width, function
    with np.errstate(over="ignore"):
        theirs = apply_windowing(VALUES, dataset)  # in the stored range, -2048..2047
    ours = apply_window(VALUES.astype(np.float32), Window(center, width), function)  # type: ignore[arg-type]
    np.testing.assert_allclose(ours, (theirs + 2048) / 4095, atol=2e-5)


def test_linear_window_of_width_one_is_a_threshold() -> None:
    shown = apply_window(np.array([9, 9.4, 9.6, 10], np.float32), Window(10, 1))
    assert shown.tolist() == [0, 0, 1, 1]


@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=50), st.booleans())
def test_no_value_escapes(values: list[float], windowed: bool) -> None:
    array = np.array(values, np.float32).reshape(1, -1)
    shown = apply_window(array, Window(0, 1e-9)) if windowed else stretch(array, *robust_range(array))
    assert shown.min() >= 0 and shown.max() <= 1
    assert to_picture(shown, inverted=True).dtype == np.uint8


def test_robust_range_ignores_hot_pixels_padding_and_nan() -> None:
    values = np.linspace(0, 1000, 10_000, dtype=np.float32).reshape(100, 100)
    values[0, 0], values[0, 1] = 1e6, np.nan
    padding = np.zeros(values.shape, bool)
    values[50:, :], padding[50:, :] = -2000, True
    low, high = robust_range(values, padding)
    assert 0 <= low <= 20 and 480 <= high <= 510


def test_robust_range_of_a_nearly_empty_image_is_its_extremes() -> None:
    values = np.zeros((100, 100), np.float32)
    values[0, :5] = 7
    assert robust_range(values) == (0, 7)
    assert stretch(np.full((2, 2), 3, np.float32), 3, 3).tolist() == [[0, 0], [0, 0]]


def test_lookup_table_clamps_outside_its_domain() -> None:
    table = LookupTable(-2, np.array([10, 20, 30], np.uint16))
    assert apply_lookup_table(np.array([-9, -2, -1, 0, 9], np.float32), table).tolist() == [
        10,
        10,
        20,
        30,
        30,
    ]


@pytest.mark.parametrize(("bits", "full"), [(1, 1), (8, 255), (12, 4095), (16, 65535)])
def test_colour_of_any_depth_spans_the_same_range(bits: int, full: int) -> None:
    assert colour_to_picture(np.array([[[0, full, full]]], np.uint32), bits).tolist() == [[[0, 255, 255]]]


@pytest.mark.parametrize(
    ("aspect", "shape"),
    [(None, (10, 20, 3)), (1.0, (10, 20, 3)), (2.0, (20, 20, 3)), (0.5, (10, 40, 3)), (1e9, (10, 20, 3))],
)
def test_pixels_become_square_by_enlarging(aspect: float | None, shape: tuple[int, ...]) -> None:
    assert square_pixels(np.zeros((10, 20, 3), np.uint8), aspect).shape == shape


@given(st.integers(1, 500), st.integers(1, 600))
def test_chosen_frames_are_distinct_ascending_and_centred(count: int, wanted: int) -> None:
    chosen = choose_frames(count, wanted)
    assert chosen == sorted(set(chosen)) and len(chosen) == min(wanted, count)
    assert chosen[0] >= 0 and chosen[-1] < count
    assert abs(chosen[0] - (count - 1 - chosen[-1])) <= 1
    assert choose_frames(count, 1) == choose_frames(count, "middle") == [count // 2]
    assert choose_frames(count, "all") == list(range(count))


@pytest.mark.parametrize("choice", [0, -1, "first", True, 1.5])
def test_other_choices_are_refused(choice: object) -> None:
    with pytest.raises(InputError):
        choose_frames(5, choice)  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [(0, 0), (0, -1), (float("nan"), 1), (0, float("inf"))])
def test_impossible_windows_are_refused(window: tuple[float, float]) -> None:
    with pytest.raises(InputError):
        Window(*window)
