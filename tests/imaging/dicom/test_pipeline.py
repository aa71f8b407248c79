"""The rendering pipeline, step by step, on files drawn to need each step."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEG2000, UID, ParametricMapStorage, SegmentationStorage

from roco_search.errors import NotAnImage, UnreadableImage
from roco_search.imaging import Window, open_image
from roco_search.imaging.dicom.header import read_header
from roco_search.imaging.dicom.pixels import FrameDecoder
from tests.imaging.drawing import PATIENT, draw_dicom, grey, only, ramp, shipped


def close(left: np.ndarray, right: np.ndarray, tolerance: int = 1) -> bool:
    return left.shape == right.shape and int(np.abs(left.astype(int) - right.astype(int)).max()) <= tolerance


def linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, as the standard's pseudo-code has it."""
    shown = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    shown[values <= center - 0.5 - (width - 1) / 2] = 0
    shown[values > center - 0.5 + (width - 1) / 2] = 255
    return shown.round().astype(np.uint8)


def test_rescale_comes_before_the_window(tmp_path: Path) -> None:
    stored = ramp(0, 4095, "uint16")
    path = draw_dicom(
        tmp_path / "a", stored, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=300, WindowWidth=1500
    )
    assert close(grey(only(path)), linear(stored * 2.0 - 1024, 300, 1500))


def test_pydicom_is_imported_whole_before_its_parts() -> None:
    """Two readers that began with different parts of it got half a module, and every DICOM file counted as damaged."""
    program = """
import sys
from roco_search.imaging import open_image

asked = []
sys.addaudithook(lambda event, given: event == "import" and asked.append(given[0]))
next(open_image(sys.argv[1]))
print(next(name for name in asked if name.startswith("pydicom")))
"""
    command = [sys.executable, "-c", program, str(shipped("CT_small.dcm"))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["pydicom"]


def test_real_ct_equals_pydicoms_pipeline() -> None:
    path = shipped("693_J2KI.dcm")
    dataset = dcmread(path)
    values = apply_modality_lut(pixel_array(path), dataset)
    assert close(grey(only(path)), linear(values, float(dataset.WindowCenter), float(dataset.WindowWidth)))


def test_first_of_several_windows_counts(tmp_path: Path) -> None:
    path = draw_dicom(tmp_path / "a", ramp(), WindowCenter=[40, 300], WindowWidth=[400, 1500])
    assert close(grey(only(path)), linear(ramp().astype(float), 40, 400))


def test_callers_window_takes_the_place_of_the_files(tmp_path: Path) -> None:
    path = draw_dicom(tmp_path / "a", ramp(), WindowCenter=40, WindowWidth=400)
    assert close(grey(only(path, window=Window(-600, 1500))), linear(ramp().astype(float), -600, 1500))


@pytest.mark.parametrize(
    "window",
    [
        {},
        {"WindowCenter": 40},
        {"WindowWidth": 400},
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 40, "WindowWidth": 0},
        {"WindowCenter": 40, "WindowWidth": -5},
    ],
)
def test_unusable_window_is_as_none(tmp_path: Path, window: dict[str, Any]) -> None:
    hounsfield: dict[str, Any] = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": 0}
    ct = draw_dicom(tmp_path / "ct", ramp(), **window, **hounsfield)
    assert close(grey(only(ct)), linear(ramp().astype(float), 40, 400))

    mr = draw_dicom(tmp_path / "mr", ramp(), **window, Modality="MR")
    low, high = np.percentile(ramp(), [1, 99])
    assert close(grey(only(mr)), (np.clip((ramp() - low) / (high - low), 0, 1) * 255).round())


def test_padding_does_not_set_the_range(tmp_path: Path) -> None:
    stored = ramp(0, 1000)
    stored[32:] = -32768
    path = draw_dicom(tmp_path / "a", stored, Modality="MR", PixelPaddingValue=-32768)
    assert grey(only(path))[:32].std() > 40
    limit = draw_dicom(tmp_path / "b", stored, Modality="MR", PixelPaddingValue=-32768, PixelPaddingRangeLimit=-30000)
    assert (grey(only(limit)) == grey(only(path))).all()


@pytest.mark.parametrize(
    "inversion",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ],
)
def test_inversion_comes_once_and_after_the_window(tmp_path: Path, inversion: dict[str, Any]) -> None:
    window: dict[str, Any] = {"WindowCenter": 40, "WindowWidth": 400}
    plain = grey(only(draw_dicom(tmp_path / "a", ramp(), **window)))
    inverted = grey(only(draw_dicom(tmp_path / "b", ramp(), **window, **inversion)))
    assert close(inverted, 255 - plain.astype(int))


def test_lookup_tables_equal_pydicoms(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = (65535 * np.linspace(0, 1, 4096) ** 2).astype("<u2").tobytes()
    modality = Dataset()
    modality.LUTDescriptor = [4096, 0, 16]
    modality.LUTData = np.arange(4095, -1, -1, dtype="<u2").tobytes()
    stored = ramp(0, 4095, "uint16")
    path = draw_dicom(
        tmp_path / "a",
        stored,
        ModalityLUTSequence=[modality],
        VOILUTSequence=[table],
        WindowCenter=1,
        WindowWidth=2,
    )
    dataset = dcmread(path)
    expected = apply_voi_lut(apply_modality_lut(stored, dataset), dataset, prefer_lut=True)
    assert close(grey(only(path)), (expected / 65535 * 255).round())


def test_functional_groups_give_each_frame_its_own_values(tmp_path: Path) -> None:
    def group(sequence: str, **values: Any) -> Dataset:
        item, holder = Dataset(), Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        setattr(holder, sequence, [item])
        return holder

    shared = group("PixelValueTransformationSequence", RescaleSlope=2, RescaleIntercept=-100)
    shared.update(group("PixelMeasuresSequence", PixelSpacing=[2, 1]))
    frames = [group("FrameVOILUTSequence", WindowCenter=c, WindowWidth=200) for c in (100, 500)]
    stored = np.stack([ramp(0, 600, "uint16")] * 2)
    path = draw_dicom(
        tmp_path / "a",
        stored,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
    )
    first, second = open_image(path, frames="all")
    assert first.pixels.shape == (128, 64, 3), "pixel spacing says twice as high as wide"
    for frame, center in ((first, 100), (second, 500)):
        expected = linear(stored[0] * 2.0 - 100, center, 200)
        assert abs(float(grey(frame).mean()) - float(expected.mean())) < 1


def test_palette_equals_pydicoms() -> None:
    path = shipped("examples_palette.dcm")
    dataset = dcmread(path)
    expected = apply_color_lut(dataset.pixel_array, dataset)
    expected = expected >> 8 if expected.dtype == np.uint16 else expected
    assert (only(path).pixels == expected).all()


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_rle.dcm"])
def test_colour_equals_pydicoms(name: str) -> None:
    frame = next(open_image(shipped(name), frames=1))
    count = frame.count
    expected = pixel_array(shipped(name), index=count // 2)
    assert (frame.pixels == expected).all()


def test_chroma_subsampling_gives_mislabelled_rgb_away(tmp_path: Path) -> None:
    right = shipped("SC_rgb_jpeg_lossy_gdcm.dcm")
    dataset = dcmread(right)
    dataset.PhotometricInterpretation = "RGB"
    dataset.save_as(tmp_path / "wrong")
    assert (only(tmp_path / "wrong").pixels == only(right).pixels).all()


def test_signed_codestream_under_an_unsigned_header(tmp_path: Path) -> None:
    right = shipped("693_J2KI.dcm")
    dataset = dcmread(right)
    dataset.PixelRepresentation = 0
    dataset.save_as(tmp_path / "wrong")
    assert (only(tmp_path / "wrong").pixels == only(right).pixels).all()


def test_window_on_colour_is_ignored(tmp_path: Path) -> None:
    colours = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    path = draw_dicom(tmp_path / "a", colours, WindowCenter=5, WindowWidth=3)
    assert (only(path, window=Window(5, 3)).pixels == colours).all()


def test_unused_high_bits_do_not_show(tmp_path: Path) -> None:
    stored = ramp(0, 4095, "uint16")
    twelve: dict[str, Any] = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    clean = draw_dicom(tmp_path / "a", stored, **twelve)
    dirty = draw_dicom(tmp_path / "b", stored | np.uint16(0xF000), **twelve)
    high = draw_dicom(tmp_path / "c", (stored << 4) | np.uint16(0x3), **{**twelve, "HighBit": 15})
    assert (grey(only(clean)) == grey(only(dirty))).all()
    assert (grey(only(clean)) == grey(only(high))).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parametric_map_is_a_picture(tmp_path: Path, dtype: str) -> None:
    values = np.linspace(0, 1, 64 * 64, dtype=dtype).reshape(64, 64)
    values[0, 0] = np.nan
    window: dict[str, Any] = {"WindowCenter": 0.5, "WindowWidth": 1.0, "VOILUTFunction": "LINEAR"}
    path = draw_dicom(tmp_path / "a", values, sop_class=ParametricMapStorage, **window)
    assert close(grey(only(path)), np.nan_to_num(values * 255).round())


@pytest.mark.parametrize("value", [0, 7])
def test_constant_image_renders(tmp_path: Path, value: int) -> None:
    path = draw_dicom(tmp_path / "a", np.full((8, 8), value, np.int16))
    assert grey(only(path)).std() == 0


def test_eight_bits_without_a_window_are_shown_as_they_are(tmp_path: Path) -> None:
    stored = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert (grey(only(draw_dicom(tmp_path / "a", stored, Modality="US"))) == stored).all()


def test_one_bit_pixels(tmp_path: Path) -> None:
    bits = np.tile(np.array([[1, 0]], np.uint8), (8, 4))
    path = draw_dicom(
        tmp_path / "a",
        np.packbits(bits, bitorder="little").reshape(1, 8),
        Rows=8,
        Columns=8,
        BitsAllocated=1,
        BitsStored=1,
        HighBit=0,
    )
    assert (grey(only(path)) == bits * 255).all()


def test_only_the_wanted_frame_is_read(tmp_path: Path) -> None:
    stored = np.stack([np.full((64, 64), i % 256, np.uint8) for i in range(400)])
    path = draw_dicom(tmp_path / "cine", stored)
    consumed = 0

    class Counting:
        def __init__(self) -> None:
            self._file = path.open("rb", buffering=0)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def read(self, size: int = -1) -> bytes:
            nonlocal consumed
            data = self._file.read(size)
            consumed += len(data)
            return data

    file: Any = Counting()
    header = read_header(file)
    assert header.pixels is not None
    array, _ = FrameDecoder(header, header.pixels).decode(200)
    file.close()
    assert (array == 200).all()
    assert consumed < 3 * 64 * 64 + 8192 < path.stat().st_size / 10


def test_frames_are_counted_from_zero(tmp_path: Path) -> None:
    stored = np.stack([np.full((4, 4), i * 10, np.uint8) for i in range(9)])
    path = draw_dicom(tmp_path / "a", stored)
    middle = only(path)
    assert (middle.index, middle.count, int(middle.pixels[0, 0, 0])) == (4, 9, 40)
    assert [frame.index for frame in open_image(path, frames=3)] == [1, 4, 7]
    assert [int(frame.pixels[0, 0, 0]) for frame in open_image(path, frames="all")] == list(range(0, 90, 10))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test-SR.dcm", "structured report"),
        ("rtstruct.dcm", "structure set"),
        ("rtplan.dcm", "radiotherapy"),
        ("rtdose.dcm", "dose grid"),
        ("DICOMDIR", "DICOMDIR"),
        ("waveform_ecg.dcm", "waveform"),
        ("liver_1frame.dcm", "segmentation, not a picture"),
    ],
)
def test_objects_without_a_picture_are_passed_over(name: str, reason: str) -> None:
    with pytest.raises(NotAnImage, match=reason):
        list(open_image(shipped(name)))


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.11.1", SegmentationStorage])
def test_their_class_counts_whatever_pixels_they_have(tmp_path: Path, uid: str) -> None:
    with pytest.raises(NotAnImage):
        list(open_image(draw_dicom(tmp_path / "a", ramp(), sop_class=uid)))


def test_missing_transfer_syntax_is_inferred(tmp_path: Path) -> None:
    dataset = dcmread(shipped("CT_small.dcm"))
    expected = grey(only(shipped("CT_small.dcm")))
    del dataset.file_meta.TransferSyntaxUID
    dataset.save_as(tmp_path / "a", implicit_vr=False, little_endian=True, enforce_file_format=False)
    frame = only(tmp_path / "a")
    assert (grey(frame) == expected).all()
    assert frame.tags.transfer_syntax is None


def test_missing_decoder_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roco_search.imaging.dicom.decoding.codecs.is_available", lambda codec: False)
    path = draw_dicom(tmp_path / "a", ramp(), syntax=JPEG2000, frames=[b"\xff\x4f\xff\x51"])
    with pytest.raises(UnreadableImage, match=r"JPEG 2000 Image Compression.*pip install imagecodecs"):
        list(open_image(path))


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.102", "1.2.840.10008.1.9.9.987"])
def test_undecodable_transfer_syntax_is_refused(tmp_path: Path, uid: str) -> None:
    known = UID("1.2.840.10008.1.2.4.100")
    path = draw_dicom(tmp_path / "a", ramp(), syntax=known, frames=[b"\0\0"])
    path.write_bytes(path.read_bytes().replace(known.encode(), uid.encode()))
    with pytest.raises(UnreadableImage, match="transfer syntax") as caught:
        list(open_image(path))
    assert "987" not in str(caught.value) and PATIENT not in str(caught.value)
