"""JPEG 2000 at a lower resolution: where it holds one, and never where it would be another picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imagecodecs import jpeg2k_decode, jpeg2k_encode
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from roco_search.imaging import open_image
from roco_search.imaging.dicom.decoding.codestream import Codestream, read_codestream
from roco_search.imaging.dicom.decoding.jpeg2000 import decode_lower, halvings
from tests.imaging.test_reduction import dicom, picture


def encoded(values: np.ndarray, bits: int) -> bytes:
    return bytes(jpeg2k_encode(values, reversible=True, bitspersample=bits, codecformat="j2k"))


def lower(values: np.ndarray) -> np.ndarray:
    """The lower resolution of the reversible transform, ISO 15444-1 F.4.8.1, down the columns, then along the rows."""
    for _ in range(2):
        even, odd = values[0::2], values[1::2]
        detail = odd - (even + np.concatenate([even[1:], even[-1:]])) // 2
        values = (even + (np.concatenate([detail[:1], detail[:-1]]) + detail + 2) // 4).T
    return values


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_values_are_those_of_the_standards_transform(bits: int) -> None:
    values = (picture(640, 512) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    frame = encoded(values, bits)
    np.testing.assert_array_equal(jpeg2k_decode(frame), values)
    expected = values.astype(np.int64)
    for times in (1, 2, 3):
        expected = lower(expected)
        found = decode_lower("jpeg2k", frame, read_codestream(frame), times)
        assert found is not None and found.dtype == np.uint16
        np.testing.assert_array_equal(found, np.clip(expected, 0, 2**bits - 1))


STREAM = Codestream(2500, 2048, 1, 12, signed=False, halvings=5)


@pytest.mark.parametrize(
    ("stream", "factor", "times"),
    [
        (STREAM, 1, 0),
        (STREAM, 3, 1),
        (STREAM, 5, 2),
        (STREAM, 1000, 3),  # 2500 / 16 is rounded down by Pillow and up by the standard
        (STREAM._replace(rows=2048), 1000, 5),
        (STREAM._replace(halvings=1), 5, 1),
        (STREAM._replace(halvings=0), 5, 0),
        (STREAM._replace(rows=2501, columns=2049), 4, 1),
        (STREAM._replace(components=3), 5, 0),
        (STREAM._replace(signed=True), 5, 0),
    ],
)
def test_how_often_it_is_halved(stream: Codestream, factor: int, times: int) -> None:
    assert halvings("jpeg2k", stream, factor) == times


def test_a_codestream_tells_how_many_resolutions_it_holds() -> None:
    frame = encoded((picture(640, 512) * 4095).astype(np.uint16), 12)
    assert read_codestream(frame).halvings == 5
    tiles = bytearray(frame)
    start = frame.find(b"\xff\x4f\xff\x51")
    tiles[start + 24 : start + 28] = (256).to_bytes(4, "big")  # XTsiz: two tiles side by side
    assert read_codestream(bytes(tiles)).halvings == 0


def test_a_damaged_one_is_left_to_the_decoder_of_the_whole() -> None:
    frame = encoded((picture(640, 512) * 4095).astype(np.uint16), 12)
    stream = read_codestream(frame)
    assert decode_lower("jpeg2k", b"no codestream", stream, 2) is None
    assert decode_lower("jpeg2k", frame, stream._replace(rows=600), 2) is None


@pytest.mark.parametrize("attributes", [{"PixelPaddingValue": 0}, {"PixelRepresentation": 1}, {"BitsStored": 16}])
def test_what_must_not_be_averaged_is_decoded_whole(attributes: dict[str, int], tmp_path: Path) -> None:
    values = (picture(1024, 1024) * 2000).astype(np.uint16)
    high = attributes.get("BitsStored", 12) - 1
    given: dict[str, Any] = {
        "syntax": JPEG2000Lossless,
        "data": encapsulate([encoded(values, 12)]),
        "HighBit": high,
        **attributes,
    }
    compressed = dicom(tmp_path / "compressed", values, WindowCenter=1000, WindowWidth=1500, **given)
    plain = {name: value for name, value in given.items() if name not in {"syntax", "data"}}
    whole = dicom(tmp_path / "plain", values, WindowCenter=1000, WindowWidth=1500, **plain)
    found, expected = (next(open_image(path, at_least=256)).pixels for path in (compressed, whole))
    np.testing.assert_array_equal(found, expected)
