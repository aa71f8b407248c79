"""The decoder that is preferred for a transfer syntax returns what was encoded."""

import pytest
from pydicom.pixels import pixel_array

from roco_search.imaging.dicom.decoding import codecs as decoders
from roco_search.imaging.dicom.decoding.codecs import decoder_table
from tests.imaging.drawing import SHARED, grey, only, shipped


def test_every_syntax_has_a_state_and_every_missing_one_a_remedy() -> None:
    table = decoder_table()
    assert {row.uid for row in table} >= {
        "1.2.840.10008.1.2.4.70",
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.5",
    }
    assert all(not row.name[0].isdigit() for row in table)
    assert all(row.available == bool(row.by) for row in table)
    assert all(row.remedy for row in table if not row.available)


def test_nothing_is_missing_from_an_installation() -> None:
    assert all(row.available and row.remedy is None for row in decoder_table())


def test_a_missing_codec_turns_into_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "is_available", lambda codec: False)
    lossless = next(row for row in decoder_table() if row.uid == "1.2.840.10008.1.2.4.70")
    assert not lossless.available and lossless.remedy == "pip install imagecodecs"


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_bigendian.dcm",
    ],
)
def test_lossless_files_equal_their_uncompressed_twin(name: str) -> None:
    assert (grey(only(shipped(name))) == grey(only(shipped("MR_small.dcm")))).all()


def test_jpeg_lossless_equals_its_uncompressed_twin() -> None:
    twin = pixel_array(shipped("SC_rgb_rle.dcm"))
    assert (only(shipped("SC_rgb_jpeg_gdcm.dcm")).pixels == twin).all()


def test_two_lossless_encodings_of_one_scan_are_equal() -> None:
    folder = SHARED / "scans" / "dicom" / "pylibjpeg_data"
    if not folder.is_dir():
        pytest.skip("the shared scans are not beside this checkout")
    by_jpeg, by_jpeg_ls = only(folder / "RG2_JPLL.dcm"), only(folder / "RG2_JLSL.dcm")
    assert by_jpeg.tags.transfer_syntax != by_jpeg_ls.tags.transfer_syntax
    assert (by_jpeg.pixels == by_jpeg_ls.pixels).all()
