"""Whatever is wrong with a file: one sentence with a remedy, no traceback, no header value, no noise."""

import logging
import random
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGLosslessSV1

from roco_search.errors import ImageError, UnreadableImage
from roco_search.imaging import open_image
from roco_search.imaging.dicom.decoding.codestream import read_codestream
from tests.imaging.drawing import PATIENT, draw_dicom, only, ramp, shipped

SMALL = [
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_implicit.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle_2frame.dcm",
    "ExplVR_BigEnd.dcm",
]


def reason(path: Path) -> str:
    with pytest.raises(UnreadableImage) as caught:
        list(open_image(path, frames="all"))
    assert (caught.value.__cause__ is None and caught.value.__suppress_context__) or caught.value.__context__ is None
    message = str(caught.value)
    assert "; " in message, "a message ends in the remedy"
    return message


@pytest.mark.parametrize("name", SMALL)
def test_damaged_files_become_frames_or_refusals(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = shipped(name).read_bytes()
    chance = random.Random(name)
    path = tmp_path / "x.dcm"
    for _ in range(60):
        data = bytearray(whole)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        else:
            for _ in range(chance.randrange(1, 20)):
                # Half of the damage in the header, where it does the most.
                data[chance.randrange(min(len(data), 2000) if chance.random() < 0.5 else len(data))] = chance.randrange(
                    256
                )
        path.write_bytes(data)
        try:
            for frame in open_image(path, frames=2):
                assert frame.pixels.dtype == np.uint8 and frame.pixels.shape[2] == 3
        except ImageError as error:
            assert str(error)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_jp2klossless.dcm", "MR_small_RLE.dcm"])
def test_truncated_files_are_refused(tmp_path: Path, name: str, kept: float) -> None:
    whole = shipped(name).read_bytes()
    path = tmp_path / "x.dcm"
    path.write_bytes(whole[: int(len(whole) * kept)])
    message = reason(path)
    assert "cut short" in message or "ends before its pixel data" in message


@pytest.mark.parametrize(
    "lie", [{"Rows": 65535, "Columns": 65535}, {"NumberOfFrames": 100_000_000}, {"Rows": 0}, {"BitsAllocated": 7}]
)
def test_headers_that_promise_too_much_are_refused_before_decoding(
    tmp_path: Path, lie: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw_dicom(tmp_path / "x", ramp(), **lie)

    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("roco_search.imaging.dicom.pixels.FrameDecoder.decode", decode)
    reason(path)


def test_deflate_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = draw_dicom(tmp_path / "a", np.zeros((1000, 1000), np.uint8)).read_bytes()
    uid, deflated = ExplicitVRLittleEndian.encode() + b"\0", b"1.2.840.10008.1.2.1.99"
    start = plain.index(b"\x08\x00\x16\x00UI")
    meta = plain[:start].replace(b"UI\x14\x00" + uid, b"UI\x16\x00" + deflated)
    squeezed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path = tmp_path / "b"
    path.write_bytes(meta + squeezed.compress(plain[start:]) + squeezed.flush())
    assert only(path).pixels.shape == (1000, 1000, 3)
    monkeypatch.setattr("roco_search.imaging.dicom.header.MAX_INFLATED", 10_000)
    assert "too large" in reason(path)


def test_codestream_larger_than_its_header_is_refused(tmp_path: Path) -> None:
    start_of_frame = b"\xff\xc3\x00\x0b\x10\xff\xff\xff\xff\x01\x01\x11\x00"
    scan = b"\xff\xc4\x00\x14\x00\x01" + bytes(15) + b"\x00" + b"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00"
    frame = b"\xff\xd8" + start_of_frame + scan + b"\xff\xd9"
    assert read_codestream(frame)[:3] == (65535, 65535, 1)
    path = draw_dicom(tmp_path / "x", ramp(), syntax=JPEGLosslessSV1, frames=[frame])
    assert "too large" in reason(path)


def test_no_header_value_reaches_message_log_or_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = draw_dicom(tmp_path / "x", ramp())
    secret = "QUUXINGTON"
    data = path.read_bytes()
    for keyword in (b"MONOCHROME2", b"MONOCHROME2 "):
        data = data.replace(keyword, secret.ljust(len(keyword)).encode())
    path.write_bytes(data)
    with caplog.at_level(logging.INFO), warnings.catch_warnings(record=True) as caught:
        assert secret not in reason(path)
    odd = draw_dicom(tmp_path / "y", ramp(), WindowCenter=40, WindowWidth=400, SeriesInstanceUID="1.2.3.4567890")
    odd.write_bytes(odd.read_bytes().replace(b"1.2.3.4567890", b"QUUXINGTON 12"))
    with caplog.at_level(logging.INFO), warnings.catch_warnings(record=True) as also_caught:
        frame = only(odd)
    assert frame.tags.series_uid is None
    said = caplog.text + str(capfd.readouterr()) + repr(frame.tags) + str([*caught, *also_caught])
    assert secret not in said and PATIENT not in said


def test_several_threads_read_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    names = [*SMALL, "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_gdcm.dcm"] * 4
    alone = {name: next(open_image(shipped(name))).pixels for name in set(names)}
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda name: next(open_image(shipped(name))).pixels, names))
    assert all((alone[name] == pixels).all() for name, pixels in zip(names, together, strict=True))
    assert capfd.readouterr().err == ""


def test_memory_running_out_is_not_the_files_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("roco_search.imaging.dicom.pixels.FrameDecoder._native", exhausted)
    with pytest.raises(MemoryError):
        list(open_image(shipped("CT_small.dcm")))
