"""TIFF of every number type, byte order, arrangement and compression, written here and read back."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from roco_search.errors import UnreadableImage
from roco_search.imaging import Window, open_image
from tests.imaging.drawing import draw_dicom, grey, only, ramp

RAMP = np.linspace(0, 1, 64 * 48).reshape(48, 64)


def write(path: Path, array: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


def spread(values: np.ndarray) -> np.ndarray:
    """Return what a picture of this range must look like."""
    low, high = np.percentile(values, [1, 99])
    return np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("inverted", [False, True])
def test_grey_of_every_kind_of_number(
    tmp_path: Path, dtype: str, byteorder: str, compression: str | None, inverted: bool
) -> None:
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "ui" else None
    low, high = (max(limits.min, -30000), min(limits.max, 60000)) if limits else (-0.5, 3.25)
    values = (low + RAMP * (high - low)).astype(dtype)
    photometric = "miniswhite" if inverted else "minisblack"
    path = write(tmp_path / "a.tif", values, byteorder=byteorder, compression=compression, photometric=photometric)
    expected = spread(values)
    assert np.abs(grey(only(path)) - (255 - expected if inverted else expected)).max() <= 2
    windowed = grey(only(path, window=Window(float(low + high) / 2, 1)))
    assert set(np.unique(windowed)) <= {0, 255} or dtype.startswith("float")


@pytest.mark.parametrize(
    "options", [{"bigtiff": True}, {"tile": (32, 32)}, {"rowsperstrip": 7}, {"predictor": True, "compression": "zlib"}]
)
def test_how_it_is_laid_out_does_not_matter(tmp_path: Path, options: dict[str, Any]) -> None:
    values = (RAMP * 4095).astype(np.uint16)
    np.testing.assert_array_equal(
        only(write(tmp_path / "a.tif", values, **options)).pixels, only(write(tmp_path / "b.tif", values)).pixels
    )


@pytest.mark.parametrize("compression", ["jpeg2000", "packbits", "lzma", "zstd"])
def test_sixteen_bits_in_other_compressions(tmp_path: Path, compression: str) -> None:
    values = (RAMP * 4095).astype(np.uint16)
    path = write(tmp_path / "a.tif", values, compression=compression)
    assert np.abs(grey(only(path)) - spread(values)).max() <= 2


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(("dtype", "full"), [("uint8", 255), ("uint16", 65535), ("uint16", 4095), ("float32", 1)])
def test_colour_of_any_depth(tmp_path: Path, dtype: str, full: int, byteorder: str, planarconfig: str) -> None:
    rgb = np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1] / 2])
    stored = (rgb * full).astype(dtype)
    if planarconfig == "separate":
        stored = np.moveaxis(stored, -1, 0)
    path = write(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planarconfig, byteorder=byteorder)
    assert np.abs(only(path).pixels - rgb * 255).max() <= (8 if dtype == "float32" else 2)


@pytest.mark.parametrize("suffix", ["tif", "png"])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_radiograph_in_three_equal_channels_is_grey(tmp_path: Path, suffix: str, alpha: bool) -> None:
    import imagecodecs

    values = (RAMP * 4095).astype(np.uint16)
    channels = [values] * 3 + [np.full_like(values, 65535)] * alpha
    array, path = np.dstack(channels), tmp_path / f"a.{suffix}"
    if suffix == "png":
        path.write_bytes(imagecodecs.png_encode(array))
    else:
        write(path, array, photometric="rgb", extrasamples=["unassalpha"] * alpha)
    assert np.abs(grey(only(path)) - spread(values)).max() <= 2


@pytest.mark.parametrize("suffix", ["tif", "png"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_transparent_is_black(tmp_path: Path, suffix: str, dtype: str, channels: int) -> None:
    import imagecodecs

    full = np.iinfo(dtype).max
    values = (RAMP * full).astype(dtype)
    alpha = np.zeros_like(values)
    alpha[:, 32:] = full
    array, path = np.dstack([values] * channels + [alpha]), tmp_path / f"a.{suffix}"
    if suffix == "png":
        path.write_bytes(imagecodecs.png_encode(array))
    else:
        photometric = "rgb" if channels == 3 else "minisblack"
        write(path, array, photometric=photometric, extrasamples=["unassalpha"])
    found = grey(only(path))
    assert not found[:, :32].any() and np.abs(found[:, 32:] - RAMP[:, 32:] * 255).max() <= 4


@pytest.mark.parametrize("bits", [1, 4])
def test_few_bits_are_display_values(tmp_path: Path, bits: int) -> None:
    values = np.arange(16, dtype=np.uint8).reshape(4, 4) % 2**bits
    path = write(
        tmp_path / "a.tif", values.astype(bool) if bits == 1 else values, bitspersample=bits, photometric="minisblack"
    )
    np.testing.assert_array_equal(grey(only(path)), values * (255 // (2**bits - 1)))


def test_a_palette(tmp_path: Path) -> None:
    table = np.stack([np.arange(256), np.arange(255, -1, -1), np.arange(256) // 2]).astype(np.uint16) * 257
    values = (RAMP * 255).astype(np.uint8)
    path = write(tmp_path / "a.tif", values, photometric="palette", colormap=table)
    np.testing.assert_array_equal(only(path).pixels, (table >> 8).T[values])


def test_cmyk(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((8, 8, 4), (0, 255, 255, 0), np.uint8), photometric="separated")
    assert only(path).pixels[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("space", ["ycbcr", "rgb"])
def test_jpeg_in_tiff(tmp_path: Path, space: str) -> None:
    rgb = (np.dstack([RAMP, RAMP[::-1], RAMP / 2]) * 255).astype(np.uint8)
    options = {"compression": "jpeg", "compressionargs": {"level": 98, "outcolorspace": space}}
    path = write(tmp_path / "a.tif", rgb, photometric="rgb", **options)
    assert np.abs(only(path).pixels.astype(int) - rgb).max() <= 6
    shades = write(tmp_path / "b.tif", rgb[:, :, 0], photometric="minisblack", **options | {"compressionargs": {}})
    assert np.abs(grey(only(shades)).astype(int) - rgb[:, :, 0]).max() <= 6


@pytest.mark.parametrize(
    ("array", "options", "reason"),
    [
        (np.zeros((8, 8), np.complex64), {}, "no numbers that can be shown"),
        (np.zeros((8, 8), np.uint8), {"compression": "lerc"}, "its compression"),
        (np.zeros((8, 8, 3), np.uint8), {"photometric": "cielab"}, "its colours"),
        (np.zeros((16, 16, 16), np.uint8), {"volumetric": True, "tile": (16, 16, 16)}, "a volume in one page"),
    ],
)
def test_what_is_not_read_is_refused_with_the_true_reason(
    tmp_path: Path, array: np.ndarray, options: dict[str, Any], reason: str
) -> None:
    path = write(tmp_path / "a.tif", array, **options)
    with pytest.raises(UnreadableImage, match=reason):
        only(path)


@pytest.mark.parametrize("compression", [None, "zlib", "jpeg2000"])
def test_a_file_that_is_cut_short_says_so(tmp_path: Path, compression: str | None) -> None:
    path = write(
        tmp_path / "a.tif", np.random.default_rng(0).integers(0, 4096, (64, 64), np.uint16), compression=compression
    )
    # The directory of a TIFF may be in front of the pixels or behind them.
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UnreadableImage, match="cut short"):
        only(path)


def test_nothing_is_said_on_the_error_stream(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.tif", (RAMP * 255).astype(np.uint8), compression="lzw")
    whole, random = path.read_bytes(), np.random.default_rng(0)
    with warnings.catch_warnings(record=True) as warned:
        for _ in range(150):
            data = bytearray(whole)
            for place in random.integers(0, len(data), 6):
                data[place] = random.integers(256)
            path.write_bytes(data)
            try:
                list(open_image(path, frames="all"))
            except UnreadableImage as error:
                assert "; " in str(error)
    assert capfd.readouterr().err == "" and not warned


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numbers_beyond_all_range_become_a_picture_without_a_warning(
    tmp_path: Path, dtype: str, capfd: pytest.CaptureFixture[str]
) -> None:
    most = np.finfo(dtype).max
    values = np.resize(np.array([np.nan, np.inf, -np.inf, most, -most, 0, 1], dtype), (48, 64))
    tiff = write(tmp_path / "a.tif", values)
    rescaled = draw_dicom(tmp_path / "a.dcm", ramp(), RescaleSlope="1e38", RescaleIntercept="-1e38")
    windowed = draw_dicom(tmp_path / "b.dcm", ramp(), WindowCenter="1e300", WindowWidth="1e308")
    with warnings.catch_warnings(record=True) as warned:
        for path in (tiff, rescaled, windowed):
            for window in (None, Window(0, 1), Window(-1e38, 1e-30), Window(1e300, 1e308)):
                assert only(path, window=window).pixels.dtype == np.uint8
    assert capfd.readouterr().err == "" and not warned


def test_a_jpeg_larger_than_its_segment_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.tif", (RAMP * 255).astype(np.uint8), compression="jpeg")
    data = bytearray(path.read_bytes())
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = (60000).to_bytes(2, "big") * 2
    path.write_bytes(data)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(UnreadableImage, match="damaged"):
        only(path)
