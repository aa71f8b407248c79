"""Raster files of every kind, drawn here and read back."""

import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from roco_search.errors import ImageError, UnreadableImage
from roco_search.imaging import Tags, Window, open_image
from tests.imaging.drawing import PATIENT, grey, only

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
LOSSLESS: dict[str, dict[str, Any]] = {"webp": {"lossless": True}}
"""What has to be asked for in those formats that would lose something."""


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp"])
def test_lossless_formats_return_what_was_drawn(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOUR).save(path, **LOSSLESS.get(suffix, {}))
    frame = only(path)
    assert (frame.pixels == COLOUR).all() and frame.pixels.flags.c_contiguous
    assert frame.tags == Tags(rows=6, columns=8) and (frame.index, frame.count) == (0, 1)


@pytest.mark.parametrize("suffix", ["avif", "heic"])
def test_pictures_of_phones_are_read(tmp_path: Path, suffix: str) -> None:
    smooth = np.dstack([np.tile(np.linspace(0, 255, 96), (64, 1)), np.tile(np.linspace(255, 0, 64), (96, 1)).T])
    drawn = np.dstack([smooth, smooth.mean(axis=2)]).round().astype(np.uint8)
    path = tmp_path / f"a.{suffix}"
    if suffix == "heic":
        pillow_heif.from_pillow(Image.fromarray(drawn)).save(path, quality=95)
    else:
        Image.fromarray(drawn).save(path, quality=95)
    frame = only(path)
    assert frame.pixels.shape == drawn.shape
    assert np.abs(frame.pixels.astype(int) - drawn).mean() < 3


def test_a_heic_picture_names_the_package_that_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.heic"
    pillow_heif.from_pillow(Image.new("RGB", (64, 64))).save(path)
    monkeypatch.setattr("roco_search.imaging.raster.find_spec", lambda _: None)
    with pytest.raises(UnreadableImage, match=r"pip install 'roco-search\[heic\]'"):
        only(path)


def test_jpeg_grey(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 200, np.uint8)).save(tmp_path / "a.jpg")
    assert np.abs(grey(only(tmp_path / "a.jpg")).astype(int) - 200).max() <= 1


def test_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = only(tmp_path / "a.jpg").pixels[8, 8]
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize(
    ("mode", "pixel", "seen"),
    [
        ("1", 1, (255, 255, 255)),
        ("LA", (200, 0), (0, 0, 0)),
        ("LA", (200, 255), (200, 200, 200)),
        ("RGBA", (200, 100, 50, 0), (0, 0, 0)),
        ("RGBA", (200, 100, 50, 255), (200, 100, 50)),
    ],
)
def test_transparency_lies_over_black(
    tmp_path: Path, mode: str, pixel: int | tuple[int, ...], seen: tuple[int, ...]
) -> None:
    Image.new(mode, (4, 4), pixel).save(tmp_path / "a.png")
    assert tuple(only(tmp_path / "a.png").pixels[0, 0].tolist()) == seen


def test_palette(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).quantize(48).save(tmp_path / "a.png")
    expected = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert (only(tmp_path / "a.png").pixels == expected).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_twelve_bits_in_sixteen_span_the_whole_range(tmp_path: Path, suffix: str) -> None:
    deep = np.linspace(0, 4095, 10_000).astype(np.uint16).reshape(100, 100)
    deep[0, 0] = 65535  # A hot pixel
    Image.fromarray(deep).save(tmp_path / f"a.{suffix}")
    shown = grey(only(tmp_path / f"a.{suffix}"))
    low, high = np.percentile(deep, [1, 99])
    expected = (np.clip((deep - low) / (high - low), 0, 1) * 255).round()
    assert np.abs(shown - expected).max() <= 1


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def deep_png(values: np.ndarray, *, interlaced: bool, chunks: bytes = b"", data: bytes | None = None) -> bytes:
    """Write 16-bit samples ``(rows, columns, channels)`` as a PNG, by ISO 15948."""
    rows, columns, channels = values.shape
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for left, top, across, down in passes if interlaced else [(0, 0, 1, 1)]:
        for row in values[top::down, left::across]:
            raw += b"\0" + row.astype(">u2").tobytes() if row.size else b""
    head = struct.pack(">IIBBBBB", columns, rows, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, interlaced)
    packed = zlib.compress(raw) if data is None else data
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunks + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_pngs_of_every_kind_are_read_without_a_word(
    tmp_path: Path, channels: int, interlaced: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    doubtful = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile")) + chunk(b"tIME", b"\0" * 7) + chunk(b"bKGD", b"")
    for rows, columns in ((1, 1), (3, 5), (8, 8), (9, 17), (2, 1)):
        values = np.random.default_rng(rows).integers(0, 65536, (rows, columns, channels))
        if channels in {2, 4}:
            values[:, :, -1] = 65535
        plain, path = tmp_path / "plain.png", tmp_path / "a.png"
        plain.write_bytes(deep_png(values, interlaced=False))
        path.write_bytes(deep_png(values, interlaced=interlaced, chunks=doubtful))
        assert (only(path).pixels == only(plain).pixels).all()
        assert only(path).pixels.shape == (rows, columns, 3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("change", ["checksum", "short", "long", "broken"])
def test_damaged_pixels_of_a_deep_png_are_refused_without_a_word(
    tmp_path: Path, change: str, capfd: pytest.CaptureFixture[str]
) -> None:
    values = np.arange(48).reshape(6, 8, 1)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    packed = zlib.compress({"short": raw[:-3], "long": raw + b"more"}.get(change, raw))
    if change == "checksum":
        packed = packed[:-1] + bytes([packed[-1] ^ 1])
    if change == "broken":
        packed = packed[: len(packed) // 2]
    path = tmp_path / "a.png"
    path.write_bytes(deep_png(values, interlaced=False, data=packed))
    with pytest.raises(UnreadableImage, match="damaged"):
        only(path)
    assert capfd.readouterr() == ("", "")


def test_window_applies_to_deep_images_alone(tmp_path: Path) -> None:
    deep = np.array([[0, 999, 1001, 4095]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert grey(only(tmp_path / "a.png", window=Window(1000.5, 1))).tolist() == [[0, 0, 255, 255]]
    Image.fromarray(GREY).save(tmp_path / "b.png")
    assert (grey(only(tmp_path / "b.png", window=Window(0, 1))) == GREY).all()


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_tiff_of_32_bits(tmp_path: Path, dtype: str) -> None:
    values = np.linspace(-1000, 1000, 400).reshape(20, 20).astype(dtype)
    if dtype == "float32":
        values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    shown = grey(only(tmp_path / "a.tif"))
    assert shown[-1, -1] == 255 and shown[0, 0] == 0 and abs(int(shown[10, 0]) - 128) < 4


def test_white_is_zero_tiff_of_16_bits(tmp_path: Path) -> None:
    values = np.arange(400, dtype=np.uint16).reshape(20, 20) * 100
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "a.tif") as image:
        assert isinstance(image, TiffImageFile) and image.tag_v2[262] == 0
    assert grey(only(tmp_path / "a.tif"))[0, 0] == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, PATIENT
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    frame = only(tmp_path / "a.png")
    assert (frame.pixels == expected).all()
    assert PATIENT not in repr(frame.tags)


@pytest.mark.parametrize("suffix", ["tif", "webp", "png"])
def test_frames_of_multi_page_and_animated_files(tmp_path: Path, suffix: str) -> None:
    pages = [Image.new("RGB", (16, 16), (40 * i, 0, 0)) for i in range(5)]
    path = tmp_path / f"a.{suffix}"
    pages[0].save(path, save_all=True, append_images=pages[1:], **LOSSLESS.get(suffix, {}))
    assert [(f.index, f.count, int(f.pixels[0, 0, 0])) for f in open_image(path)] == [(2, 5, 80)]
    assert [int(f.pixels[0, 0, 0]) for f in open_image(path, frames="all")] == [0, 40, 80, 120, 160]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
def test_cut_short(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # As another library may have left it.
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    for kept in (0.3, 0.8):
        path.write_bytes(data[: int(len(data) * kept)])
        with pytest.raises(UnreadableImage, match=r"; (copy|export)"):
            list(open_image(path))


def test_bomb_is_refused_from_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    monkeypatch.setattr("roco_search.imaging.costs.MAX_PIXELS", 40)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UnreadableImage, match="too large"):
        list(open_image(tmp_path / "a.png"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
def test_damaged_files_become_frames_or_refusals(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOUR).save(path)
    whole, chance = path.read_bytes(), random.Random(suffix)
    for _ in range(80):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            assert all(frame.pixels.dtype == np.uint8 for frame in open_image(path, frames="all"))
        except ImageError as error:
            assert ";" in str(error)
    assert capfd.readouterr().err == ""
    assert not recwarn.list
