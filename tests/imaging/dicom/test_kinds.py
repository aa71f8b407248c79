"""What files do in practice, drawn in every codec, both byte orders and every frame: the picture is always the same."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    XRayAngiographicImageStorage,
)

from roco_search.errors import UnreadableImage
from roco_search.imaging import open_image
from roco_search.imaging.dicom.palette import read_palette
from roco_search.imaging.dicom.samples import stored_values, to_rgb, unpack
from tests.imaging.drawing import draw_dicom, grey, only, ramp

JPEG_XL = UID("1.2.840.10008.1.2.4.110")
BYTE_ORDERS = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
TWELVE: dict[str, Any] = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
STORED = ramp(0, 4095, "uint16")


def run_lengths(array: np.ndarray) -> bytes:
    """Return an RLE frame (PS3.5 Annex G) of pixel words."""
    samples = 3 if array.ndim == 3 else 1
    planes = array.astype(array.dtype.newbyteorder(">")).view(np.uint8).reshape(-1, samples * array.itemsize)
    segments = [bytes(imagecodecs.packbits_encode(plane.tobytes())) for plane in planes.T]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    offsets = [64 + sum(map(len, segments[:n])) for n in range(len(segments))]
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


LOSSLESS = {
    RLELossless: run_lengths,
    JPEGLosslessSV1: lambda a: imagecodecs.jpeg8_encode(a, lossless=True, predictor=1, bitspersample=8 * a.itemsize),
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEG2000Lossless: lambda a: imagecodecs.jpeg2k_encode(a, reversible=True, codecformat="j2k"),
    HTJ2KLossless: lambda a: imagecodecs.htj2k_encode(a, reversible=True),
    JPEG_XL: lambda a: imagecodecs.jpegxl_encode(a, lossless=True),
}


def compressed(path: Path, array: np.ndarray, syntax: UID, **attributes: Any) -> Path:
    single = array.ndim == 2 or array.shape[-1] == 3
    frames = [bytes(LOSSLESS[syntax](one)) for one in ([array] if single else array)]
    return draw_dicom(path, array, syntax=syntax, frames=frames, **attributes)


each_codec = pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.rpartition(".")[2])


@each_codec
def test_planar_configuration_means_nothing_for_compressed_colour(tmp_path: Path, syntax: UID) -> None:
    colours = np.dstack([ramp(0, 255, "uint8"), ramp(255, 0, "uint8"), ramp(0, 255, "uint8").T])
    path = compressed(tmp_path / "a", np.ascontiguousarray(colours), syntax, PlanarConfiguration=1)
    np.testing.assert_array_equal(only(path).pixels, colours)


@each_codec
@pytest.mark.parametrize("unused", [0x0000, 0xF000])
def test_bits_above_the_stored_ones_are_no_part_of_a_value(tmp_path: Path, syntax: UID, unused: int) -> None:
    path = compressed(tmp_path / "a", STORED | np.uint16(unused), syntax, **TWELVE)
    plain = draw_dicom(tmp_path / "b", STORED, **TWELVE)
    np.testing.assert_array_equal(only(path).pixels, only(plain).pixels)


@each_codec
def test_the_sign_is_extended_from_the_topmost_stored_bit(tmp_path: Path, syntax: UID) -> None:
    values = ramp(-2048, 2047, "int16")
    window: dict[str, Any] = {
        "BitsStored": 12,
        "HighBit": 11,
        "WindowCenter": 0,
        "WindowWidth": 4096,
        "PixelRepresentation": 1,
    }
    path = compressed(tmp_path / "a", values.view(np.uint16) & np.uint16(0x0FFF), syntax, **window)
    plain = draw_dicom(tmp_path / "b", values, **window)
    np.testing.assert_array_equal(only(path).pixels, only(plain).pixels)


@each_codec
def test_values_may_stand_at_the_top_of_their_words(tmp_path: Path, syntax: UID) -> None:
    path = compressed(tmp_path / "a", STORED << np.uint16(4) | np.uint16(5), syntax, **{**TWELVE, "HighBit": 15})
    plain = draw_dicom(tmp_path / "b", STORED, **TWELVE)
    np.testing.assert_array_equal(only(path).pixels, only(plain).pixels)


@each_codec
def test_eight_bits_may_be_in_words_of_sixteen(tmp_path: Path, syntax: UID) -> None:
    values = ramp(0, 255, "uint8")
    path = draw_dicom(
        tmp_path / "a",
        values.astype(np.uint16),
        syntax=syntax,
        frames=[bytes(LOSSLESS[syntax](values.astype(np.uint16) if syntax == RLELossless else values))],
        BitsStored=8,
        HighBit=7,
    )
    np.testing.assert_array_equal(grey(only(path)), values)


@each_codec
@pytest.mark.parametrize("table", ["right", "zeros", "beyond", "empty"])
def test_offset_tables_may_be_wrong_where_a_fragment_is_a_frame(tmp_path: Path, syntax: UID, table: str) -> None:
    frames = np.stack([np.roll(ramp(0, 255, "uint8"), 9 * n) for n in range(4)])
    path = compressed(tmp_path / "a", frames, syntax)
    data = bytearray(path.read_bytes())
    streams = [bytes(LOSSLESS[syntax](one)) for one in frames]
    body = encapsulate(streams, has_bot=True)
    offsets = {"right": None, "zeros": bytes(16), "beyond": struct.pack("<4I", 0, 7, 70, 10**9), "empty": b""}[table]
    if offsets is not None:
        body = body[:4] + struct.pack("<I", len(offsets)) + offsets + body[8 + 16 :]
    start = bytes(data).index(b"\xe0\x7f\x10\x00") + 12
    path.write_bytes(bytes(data[:start]) + body + b"\xfe\xff\xdd\xe0\0\0\0\0")
    found = [grey(frame) for frame in open_image(path, frames="all")]
    np.testing.assert_array_equal(found, frames)


def test_frames_of_several_fragments_are_found_by_the_table_or_by_where_streams_begin(tmp_path: Path) -> None:
    frames = np.stack([np.roll(ramp(0, 255, "uint8"), 9 * n) for n in range(3)])
    streams = [bytes(imagecodecs.jpegls_encode(one)) for one in frames]
    for has_table in (True, False):
        body = encapsulate(streams, fragments_per_frame=2, has_bot=has_table)
        path = draw_dicom(tmp_path / "a", frames, syntax=JPEGLSLossless, frames=streams)
        dataset = dcmread(path)
        dataset.PixelData = body
        dataset.save_as(path)
        np.testing.assert_array_equal([grey(frame) for frame in open_image(path, frames="all")], frames)


def test_frames_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    path = draw_dicom(
        tmp_path / "a", np.zeros((2, 8, 8), np.uint8), syntax=JPEGLSLossless, frames=[b"ab", b"cd", b"ef"]
    )
    with pytest.raises(UnreadableImage, match="nothing in it shows where its frames begin"):
        next(open_image(path))


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, *LOSSLESS], ids=lambda uid: uid.rpartition(".")[2])
def test_of_a_stream_that_is_larger_than_its_header_the_corner_is_the_picture(tmp_path: Path, syntax: UID) -> None:
    values = ramp(0, 255, "uint8")
    if syntax == RLELossless:
        pytest.skip("RLE does not say how large it is")
    encode = LOSSLESS.get(syntax, lambda a: imagecodecs.jpeg8_encode(a, level=98))
    path = draw_dicom(tmp_path / "a", values, syntax=syntax, frames=[bytes(encode(values))], Rows=60, Columns=50)
    found = grey(only(path))
    assert found.shape == (60, 50) and np.abs(found.astype(int) - values[:60, :50]).max() <= 3
    small = draw_dicom(tmp_path / "b", values, syntax=syntax, frames=[bytes(encode(values))], Rows=65)
    with pytest.raises(UnreadableImage, match="smaller than its header says"):
        only(small)


@pytest.mark.parametrize("bits", [10, 12])
def test_jpeg_extended_of_more_than_eight_bits(tmp_path: Path, bits: int) -> None:
    values = (STORED >> np.uint16(12 - bits)).astype(np.uint16)
    stream = bytes(imagecodecs.jpeg8_encode(values, level=100, bitspersample=12))
    window = {"BitsStored": bits, "HighBit": bits - 1, "WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits}
    path = draw_dicom(tmp_path / "a", values, syntax=JPEGExtended12Bit, frames=[stream], **window)
    plain = draw_dicom(tmp_path / "b", values, **window)
    assert np.abs(only(path).pixels.astype(int) - only(plain).pixels).max() <= 2


@pytest.mark.parametrize("syntax", [JPEG2000, HTJ2K])
def test_lossy_values_never_begin_again_at_the_other_end(tmp_path: Path, syntax: UID) -> None:
    values = np.where(np.add.outer(np.arange(96) // 8, np.arange(96) // 8) % 2, 4095, 0).astype(np.uint16)
    encode = {
        JPEG2000: lambda a: imagecodecs.jpeg2k_encode(a, level=50, codecformat="j2k"),
        HTJ2K: lambda a: imagecodecs.htj2k_encode(a, level=0.01, reversible=False),
    }[syntax]
    path = draw_dicom(tmp_path / "a", values, syntax=syntax, frames=[bytes(encode(values))], **TWELVE)
    assert np.abs(grey(only(path)).astype(int) - values // 16).max() < 100


def test_jpeg_ls_may_have_a_zero_byte_before_its_end(tmp_path: Path) -> None:
    stream = bytes(imagecodecs.jpegls_encode(STORED))
    path = draw_dicom(
        tmp_path / "a", STORED, syntax=JPEGLSLossless, frames=[stream[:-2] + b"\0" + stream[-2:]], **TWELVE
    )
    np.testing.assert_array_equal(only(path).pixels, only(draw_dicom(tmp_path / "b", STORED, **TWELVE)).pixels)


# Tables and byte orders


def swapped_if_big(words: np.ndarray, syntax: UID) -> bytes:
    return words.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()


def draw_in(path: Path, array: np.ndarray, syntax: UID, **attributes: Any) -> Path:
    written = array.astype(array.dtype.newbyteorder(">")) if syntax == ExplicitVRBigEndian else array
    return draw_dicom(path, written, syntax=syntax, **attributes)


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("vr", ["OW", "US"])
@pytest.mark.parametrize("syntax", BYTE_ORDERS)
def test_lookup_tables_are_read_in_the_byte_order_of_the_file(
    tmp_path: Path, syntax: UID, vr: str, sequence: str
) -> None:
    curve = (65535 * np.linspace(0, 1, 4096) ** 2).astype(np.uint16)
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.add_new("LUTData", vr, swapped_if_big(curve, syntax) if vr == "OW" else curve.tolist())
    window = {"WindowCenter": 32768, "WindowWidth": 65536} if sequence == "ModalityLUTSequence" else {}
    path = draw_in(tmp_path / "a", STORED, syntax, BitsStored=12, HighBit=11, **{sequence: [item]}, **window)
    assert np.abs(grey(only(path)).astype(int) - (curve[STORED] / 65535 * 255).round()).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("entries", [256, 129])
@pytest.mark.parametrize("syntax", BYTE_ORDERS)
def test_palettes_of_any_length_in_any_byte_order(tmp_path: Path, syntax: UID, entries: int, bits: int) -> None:
    shades = np.arange(entries, dtype=np.uint8)
    tables = [shades, shades[::-1], shades // 2]
    attributes: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        packed = (
            np.append(table, np.zeros(entries % 2, np.uint8)).view("<u2") if bits == 8 else table.astype(np.uint16) << 8
        )
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [entries, 0, bits]
        attributes[f"{colour}PaletteColorLookupTableData"] = swapped_if_big(packed, syntax)
    values = ramp(0, entries - 1, "uint8")
    path = draw_in(tmp_path / "a", values, syntax, **attributes)
    np.testing.assert_array_equal(only(path).pixels, np.dstack([table[values] for table in tables]))


@pytest.mark.parametrize("highest", [0, 2, 255])
def test_how_deep_a_palette_is_does_not_depend_on_what_a_frame_uses(tmp_path: Path, highest: int) -> None:
    table = np.arange(0, 65536, 257, dtype=np.uint16)
    attributes: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        attributes[f"{colour}PaletteColorLookupTableData"] = table.tobytes()
    values = ramp(0, highest, "uint8")
    np.testing.assert_array_equal(grey(only(draw_dicom(tmp_path / "a", values, **attributes))), table[values] >> 8)


@pytest.mark.parametrize("bits", [8, 16])
def test_segmented_palettes_equal_pydicoms(bits: int) -> None:
    from pydicom.pixels.processing import _expand_segmented_lut

    top = 200 if bits == 8 else 60000
    units = [0, 3, 5, 10, 20, 1, 100, top, 0, 2, 7, 9, 1, 50, 3]
    dataset = Dataset()
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [155, 0, bits])
        packed = np.array([*units, 0], np.uint8 if bits == 8 else np.uint16).tobytes()
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", packed)
    dataset.set_original_encoding(False, True)
    expected = np.array(_expand_segmented_lut(tuple(units), "<B" if bits == 8 else "<H"))
    found = read_palette(dataset, signed=False).colours[:, 0].astype(int)
    assert np.abs(found - (expected if bits == 8 else expected >> 8)).max() <= 1


def test_the_greatest_values_of_a_supplemental_palette_are_colours(tmp_path: Path) -> None:
    attributes: dict[str, Any] = {"PixelPresentation": "COLOR", **TWELVE, "WindowCenter": 512, "WindowWidth": 1024}
    for colour, level in (("Red", 65535), ("Green", 0), ("Blue", 32768)):
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [4, 1024, 16]
        attributes[f"{colour}PaletteColorLookupTableData"] = np.full(4, level, np.uint16).tobytes()
    path = draw_dicom(tmp_path / "a", STORED, **attributes)
    found, coloured = only(path).pixels, STORED >= 1024
    assert (found[coloured] == [255, 0, 128]).all()
    plain = draw_dicom(tmp_path / "b", STORED, **{**attributes, "PixelPresentation": "MONOCHROME"})
    np.testing.assert_array_equal(found[~coloured], only(plain).pixels[~coloured])
    assert (only(path, at_least=16).pixels == found).all(), "an index is never averaged with its neighbours"


@pytest.mark.parametrize("syntax", BYTE_ORDERS)
@pytest.mark.parametrize(
    ("representation", "intercept", "first"), [(1, 0, -1024), (0, -1024, -1024), (0, 0, 40000), (1, 0, 0)]
)
def test_the_first_value_of_a_voi_table_has_the_sign_of_the_values_it_maps(
    tmp_path: Path, representation: int, intercept: int, first: int, syntax: UID
) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, first & 0xFFFF, 16])
    item.LUTData = swapped_if_big(np.linspace(0, 65535, 4096).astype(np.uint16), syntax)
    item["LUTData"].VR = "OW"
    stored = (ramp(100, 3000, "int32") + max(first, 0) - (intercept if first < 0 else 0)).astype(np.uint16)
    path = draw_in(
        tmp_path / "a",
        stored if representation == 0 else stored.view(np.int16),
        syntax,
        VOILUTSequence=[item],
        RescaleSlope=1,
        RescaleIntercept=intercept,
    )
    values = stored.astype(int) + intercept
    expected = np.clip(values - first, 0, 4095) / 4095 * 255
    assert np.abs(grey(only(path)).astype(int) - expected.round()).max() <= 1


@pytest.mark.parametrize("relationship", ["LOG", "DISP", "LIN"])
@pytest.mark.parametrize("modality", ["XA", "RF"])
def test_the_table_of_a_logarithmic_angiogram_is_not_for_display(
    tmp_path: Path, modality: str, relationship: str
) -> None:
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.LUTData = (65535 - 65535 * np.linspace(0, 1, 4096) ** 4).astype("<u2").tobytes()
    attributes: dict[str, Any] = {"Modality": modality, "PixelIntensityRelationship": relationship, **TWELVE}
    options = {"sop_class": XRayAngiographicImageStorage, **attributes}
    path = draw_dicom(tmp_path / "a", STORED, ModalityLUTSequence=[item], **options)
    plain = draw_dicom(tmp_path / "b", STORED, **options)
    assert (grey(only(path)) == grey(only(plain))).all() == (relationship != "LIN")


def test_eight_bits_under_an_identity_are_display_values(tmp_path: Path) -> None:
    values = ramp(30, 200, "uint8")
    for slope, same in ((1, True), (2, False)):
        path = draw_dicom(tmp_path / "a", values, Modality="CT", RescaleSlope=slope, RescaleIntercept=0)
        assert (grey(only(path)) == values).all() == same


@pytest.mark.parametrize("dtype", ["uint32", "int32", "uint64"])
def test_large_numbers_keep_their_low_bits(tmp_path: Path, dtype: str) -> None:
    base = 2**31 - 1000 if dtype == "int32" else 2**31 + 1000 if dtype == "uint32" else 2**40
    values = (base + ramp(0, 200, "int64")).astype(dtype)
    path = draw_dicom(tmp_path / "a", values, WindowCenter=base + 100, WindowWidth=201)
    assert np.abs(grey(only(path)).astype(int) - (ramp(0, 200, "int64") / 200 * 255).round()).max() <= 1
    assert np.unique(grey(only(path, at_least=32))).size > 100


# Colour spaces


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("space", ["YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"])
@pytest.mark.parametrize("syntax", BYTE_ORDERS)
def test_luminance_and_colour_differences_become_rgb(tmp_path: Path, syntax: UID, space: str, bits: int) -> None:
    full = 2**bits - 1
    red = np.repeat(np.linspace(0.1, 0.9, 32), 2)[np.newaxis].repeat(64, axis=0)
    rgb = np.dstack([red, red[:, ::-1], red / 2])
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    ybr = rgb @ matrix.T
    studio = space.startswith("YBR_PARTIAL")
    scale = np.array([219, 224, 224]) / 255 if studio else np.ones(3)
    offset = np.array([16 / 255 if studio else 0, 2 ** (bits - 1) / full, 2 ** (bits - 1) / full])
    words = np.clip((ybr * scale + offset) * full, 0, full).round().astype(f"u{bits // 8}")
    stored = words
    if space.endswith("422"):
        pairs = words.reshape(64, 32, 2, 3)
        stored = np.stack([pairs[:, :, 0, 0], pairs[:, :, 1, 0], pairs[:, :, 0, 1], pairs[:, :, 0, 2]], axis=-1)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    if bits == 8 and syntax == ExplicitVRBigEndian:
        data = np.frombuffer(data, np.uint16).byteswap().tobytes()
    path = draw_dicom(tmp_path / "a", words, syntax=syntax, PhotometricInterpretation=space, PixelData=data)
    if bits == 8 and syntax == ExplicitVRBigEndian:
        dataset = dcmread(path)
        dataset["PixelData"].VR = "OW"
        dataset.save_as(path)
    assert np.abs(only(path).pixels.astype(int) - rgb * 255).max() <= 3


def test_colours_are_converted_in_place_and_clipped() -> None:
    colour = np.array([[[255, 255, 255], [0, 0, 0]]], np.uint8)
    assert to_rgb(colour, 8, studio=False) is colour
    assert colour.min() == 0 and colour.max() == 255


# Bits


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("syntax", BYTE_ORDERS)
def test_twelve_bits_may_be_packed_without_gaps(tmp_path: Path, syntax: UID, frames: int) -> None:
    values = np.stack([np.roll(STORED[:61, :63], 5 * n) for n in range(frames)])
    bits = np.unpackbits(values.astype("<u2").view(np.uint8).reshape(-1, 2), axis=1, bitorder="little")[:, :12]
    packed = np.packbits(bits.reshape(-1), bitorder="little")
    packed = np.append(packed, np.zeros(packed.size % 2, np.uint8))
    data = packed.view(np.uint16).byteswap().tobytes() if syntax == ExplicitVRBigEndian else packed.tobytes()
    path = draw_dicom(tmp_path / "a", values, syntax=syntax, **TWELVE, BitsAllocated=12, PixelData=data)
    plain = draw_dicom(tmp_path / "b", values, **TWELVE)
    for found, expected in zip(open_image(path, frames="all"), open_image(plain, frames="all"), strict=True):
        np.testing.assert_array_equal(found.pixels, expected.pixels)


def test_packed_values_begin_at_any_bit() -> None:
    values = np.arange(1000) * 7 % 4096
    bits = np.unpackbits(values.astype("<u2").view(np.uint8).reshape(-1, 2), axis=1, bitorder="little")[:, :12]
    packed = np.packbits(bits.reshape(-1), bitorder="little")
    for first in (0, 1, 2, 333):
        np.testing.assert_array_equal(unpack(packed, 12 * first, 500, 12), values[first : first + 500])


@pytest.mark.parametrize("order", ["<", ">"])
def test_stored_values_lose_what_is_around_them(order: str) -> None:
    words = np.array([0xF123, 0x0FFF, 0xA800], f"{order}u2")
    words.flags.writeable = False
    assert stored_values(words, shift=0, bits=12, signed=False).tolist() == [0x123, 0xFFF, 0x800]
    assert stored_values(words, shift=0, bits=12, signed=True).tolist() == [0x123, -1, -2048]
    assert stored_values(words, shift=4, bits=12, signed=False).tolist() == [0xF12, 0x0FF, 0xA80]


# Headers


def patched(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    return path


@pytest.mark.parametrize("second", [JPEGLSLossless, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_of_a_transfer_syntax_that_is_there_twice_the_first_counts(tmp_path: Path, second: UID) -> None:
    path = draw_dicom(tmp_path / "a", STORED, **TWELVE)
    expected = only(path).pixels
    old = b"\x02\0\x10\0UI\x14\0" + ExplicitVRLittleEndian.encode() + b"\0"
    uid = second.encode() + b"\0" * (len(second) % 2)
    patched(path, old, old + b"\x02\0\x10\0UI" + struct.pack("<H", len(uid)) + uid)
    np.testing.assert_array_equal(only(path).pixels, expected)


@pytest.mark.parametrize("vr", [b"??", b"\0\0", b"ds", b"ZZ"])
def test_a_value_representation_that_does_not_exist_hides_nothing(tmp_path: Path, vr: bytes) -> None:
    path = draw_dicom(tmp_path / "a", STORED, **TWELVE)
    expected = only(path).pixels
    patched(path, b"\x28\0\x50\x10DS", b"\x28\0\x50\x10" + vr)
    np.testing.assert_array_equal(only(path).pixels, expected)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("tag", [0x00081115, 0x00091001])
def test_a_sequence_of_unknown_representation_is_implicit_little_endian(tmp_path: Path, syntax: UID, tag: int) -> None:
    path = draw_in(tmp_path / "a", STORED, syntax, **TWELVE)
    expected = only(path).pixels
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    inside = struct.pack("<HHI", 8, 0x1150, 4) + b"1.2\0"
    items = b"\xfe\xff\0\xe0\xff\xff\xff\xff" + inside + b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    element = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF) + b"UN\0\0\xff\xff\xff\xff" + items
    before = struct.pack(f"{order}HH", 0x0010, 0x0010)
    data = path.read_bytes()
    path.write_bytes(data.replace(before, element + before, 1))
    np.testing.assert_array_equal(only(path).pixels, expected)


def test_a_wanted_sequence_of_unknown_representation_is_read(tmp_path: Path) -> None:
    curve = np.linspace(65535, 0, 4096).astype("<u2").tobytes()
    inside = struct.pack("<HHIHHH", 0x28, 0x3002, 6, 4096, 0, 16) + struct.pack("<HHI", 0x28, 0x3006, 8192) + curve
    items = struct.pack("<HHI", 0xFFFE, 0xE000, len(inside)) + inside
    path = draw_dicom(tmp_path / "a", STORED, BitsStored=12, HighBit=11)
    pixels = b"\xe0\x7f\x10\0OW"
    element = struct.pack("<HH", 0x28, 0x3010) + b"UN\0\0" + struct.pack("<I", len(items)) + items
    patched(path, pixels, element + pixels)
    assert np.abs(grey(only(path)).astype(int) - (4095 - STORED.astype(int)) / 4095 * 255).max() <= 1


def test_a_registered_syntax_is_never_called_unregistered(tmp_path: Path) -> None:
    path = draw_dicom(tmp_path / "a", STORED, syntax=JPEGLSLossless, frames=[b"\xff\x0a"], **TWELVE)
    patched(path, JPEGLSLossless.encode() + b"\0" * (len(JPEGLSLossless) % 2), b"1.2.840.10008.1.2.4.11")
    with pytest.raises(UnreadableImage, match="is not one that the standard registers"):
        only(path)
    for uid in ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.112"):
        wrong = draw_dicom(tmp_path / uid, STORED, syntax=UID(uid), frames=[b"\xff\xff"], **TWELVE)
        with pytest.raises(UnreadableImage, match="damaged"):
            only(wrong)


# What is laid over a picture


def outside(draw: Any) -> np.ndarray:
    mask = Image.new("1", (64, 64))
    draw(ImageDraw.Draw(mask))
    return ~np.asarray(mask)


SHUTTERS: dict[str, tuple[dict[str, Any], np.ndarray]] = {
    "rectangular": (
        {
            "ShutterShape": "RECTANGULAR",
            "ShutterLeftVerticalEdge": 11,
            "ShutterRightVerticalEdge": 54,
            "ShutterUpperHorizontalEdge": 9,
            "ShutterLowerHorizontalEdge": 40,
        },
        outside(lambda d: d.rectangle((10, 8, 53, 39), fill=1)),
    ),
    "circular": (
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [30, 40], "RadiusOfCircularShutter": 15},
        np.add.outer((np.arange(64) - 29) ** 2, (np.arange(64) - 39) ** 2) > 15**2,
    ),
    "polygonal": (
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [5, 5, 5, 60, 60, 30]},
        outside(lambda d: d.polygon([(4, 4), (59, 4), (29, 59)], fill=1, outline=1)),
    ),
}


@pytest.mark.parametrize("name", SHUTTERS)
def test_outside_of_a_shutter_is_black(tmp_path: Path, name: str) -> None:
    attributes, closed = SHUTTERS[name]
    plain = only(draw_dicom(tmp_path / "a", STORED, **TWELVE)).pixels
    inversions: list[dict[str, Any]] = [{}, {"PresentationLUTShape": "INVERSE"}]
    for inversion in inversions:
        path = draw_dicom(tmp_path / "b", STORED, **TWELVE, **attributes, **inversion)
        found = only(path).pixels
        assert not found[closed].any()
        np.testing.assert_array_equal(found[~closed], (255 - plain if inversion else plain)[~closed])
    colour = np.dstack([ramp(100, 200, "uint8")] * 3)
    assert not only(draw_dicom(tmp_path / "c", colour, **attributes)).pixels[closed].any()


def test_a_smaller_picture_has_its_shutter_too(tmp_path: Path) -> None:
    attributes, closed = SHUTTERS["rectangular"]
    path = draw_dicom(tmp_path / "a", np.full((64, 64), 4095, np.uint16), **TWELVE, **attributes)
    found = grey(only(path, at_least=16))
    assert found.shape == (16, 16)
    share = closed.reshape(16, 4, 16, 4).mean(axis=(1, 3))
    assert (found[share == 1] == 0).all() and (found[share == 0] == 255).all()


def test_each_frame_may_have_its_own_shutter(tmp_path: Path) -> None:
    groups = []
    for left in (1, 33):
        item, group = Dataset(), Dataset()
        for keyword, value in {**SHUTTERS["rectangular"][0], "ShutterLeftVerticalEdge": left}.items():
            setattr(item, keyword, value)
        group.add_new(0x00189472, "SQ", [item])
        groups.append(group)
    path = draw_dicom(tmp_path / "a", np.stack([STORED] * 2), PerFrameFunctionalGroupsSequence=groups, **TWELVE)
    seen = [grey(frame)[20].astype(bool).argmax() for frame in open_image(path, frames="all")]
    assert seen == [0, 32]


def describe_overlay(
    dataset: Dataset, group: int, rows: int, columns: int, origin: list[int], allocated: int = 1, position: int = 0
) -> None:
    dataset.add_new(group | 0x10, "US", rows)
    dataset.add_new(group | 0x11, "US", columns)
    dataset.add_new(group | 0x40, "CS", "G")
    dataset.add_new(group | 0x50, "SS", origin)
    dataset.add_new(group | 0x100, "US", allocated)
    dataset.add_new(group | 0x102, "US", position)


def overlay(path: Path, syntax: UID, drawn: np.ndarray, origin: tuple[int, int] = (1, 1), **more: Any) -> Path:
    path = draw_in(path, np.stack([STORED] * more.pop("frames", 1)), syntax, **TWELVE)
    dataset = dcmread(path)
    rows, columns = drawn.shape[-2:]
    describe_overlay(dataset, 0x60020000, rows, columns, list(origin))
    for element, value in more.items():
        dataset.add_new(0x60020000 | int(element[1:], 16), "IS" if element == "_0015" else "US", value)
    packed = np.packbits(drawn.reshape(-1), bitorder="little")
    words = np.append(packed, np.zeros(packed.size % 2, np.uint8)).view("<u2")
    dataset.add_new(0x60023000, "OW", swapped_if_big(words, syntax))
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("syntax", BYTE_ORDERS)
def test_overlay_planes_are_drawn_for_those_who_ask(tmp_path: Path, syntax: UID) -> None:
    drawn = np.zeros((30, 20), bool)
    drawn[5:10, 3:17] = True
    path = overlay(tmp_path / "a", syntax, drawn, origin=(11, 21))
    plain, shown = only(path).pixels, only(path, overlays=True).pixels
    expected = plain.copy()
    expected[10:40, 20:40][drawn] = 255
    np.testing.assert_array_equal(shown, expected)
    assert not (plain == expected).all(), "what is embedded has no overlay"


def test_overlays_may_reach_beyond_the_picture(tmp_path: Path) -> None:
    path = overlay(tmp_path / "a", ExplicitVRLittleEndian, np.ones((64, 64), bool), origin=(-9, 61))
    shown = grey(only(path, overlays=True))
    assert (shown[:54, 60:] == 255).all() and (shown[54:] == grey(only(path))[54:]).all()


def test_each_frame_has_its_own_overlay(tmp_path: Path) -> None:
    drawn = np.zeros((3, 64, 64), bool)
    for number in range(3):
        drawn[number, number] = True
    path = overlay(tmp_path / "a", ExplicitVRLittleEndian, drawn, frames=3, _0015=3, _0051=1)
    for frame in open_image(path, frames="all", overlays=True):
        assert (grey(frame)[frame.index] == 255).all()


def test_overlays_in_unused_bits_are_drawn_and_never_values(tmp_path: Path) -> None:
    drawn = np.zeros((64, 64), bool)
    drawn[20:30] = True
    plain = draw_dicom(tmp_path / "a", STORED, **TWELVE)
    path = draw_dicom(tmp_path / "b", STORED | (drawn.astype(np.uint16) << 13), **TWELVE)
    dataset = dcmread(path)
    describe_overlay(dataset, 0x60000000, 64, 64, [1, 1], allocated=16, position=13)
    dataset.save_as(path)
    np.testing.assert_array_equal(only(path).pixels, only(plain).pixels)
    shown = grey(only(path, overlays=True))
    assert (shown[drawn] == 255).all() and (shown[~drawn] == grey(only(plain))[~drawn]).all()
