"""What a file is, its content decides."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roco_search.errors import UnreadableImage
from roco_search.imaging import open_image, sniff
from roco_search.imaging.sniff import is_dicom, is_raster
from tests.imaging.drawing import shipped


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "ExplVR_BigEndNoMeta.dcm",
        "ExplVR_LitEndNoMeta.dcm",
        "rtplan.dcm",
        "DICOMDIR",
        "test-SR.dcm",
    ],
)
def test_dicom_needs_neither_extension_nor_preamble(tmp_path: Path, name: str) -> None:
    copy = tmp_path / "IM0001"
    copy.write_bytes(shipped(name).read_bytes())
    assert sniff(copy) == "dicom"


def test_dataset_without_preamble_and_meta_is_dicom(tmp_path: Path) -> None:
    whole = shipped("MR_small_implicit.dcm").read_bytes()
    bare = tmp_path / "MR0001"
    bare.write_bytes(whole[whole.index(b"\x08\x00\x08\x00") :])
    assert sniff(bare) == "dicom"
    assert next(open_image(bare)).pixels.shape == (64, 64, 3)


@pytest.mark.parametrize("head", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"MM\0*", b"RIFF....WEBPVP8 "])
def test_raster_content_needs_no_extension(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "scan").write_bytes(head + bytes(100))
    assert sniff(tmp_path / "scan") == "raster"


def test_picture_by_name_alone_is_a_candidate_so_that_it_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.dcm").write_bytes(b"not found")
    assert (sniff(tmp_path / "a.png"), sniff(tmp_path / "b.dcm")) == ("raster", "dicom")
    with pytest.raises(UnreadableImage, match="empty"):
        list(open_image(tmp_path / "a.png"))
    with pytest.raises(UnreadableImage, match="not a DICOM file"):
        list(open_image(tmp_path / "b.dcm"))


@pytest.mark.parametrize("name", ["a.py", "notes.txt", "README", "labels.json"])
def test_other_files_are_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("BMW drives\n" + "import os\n" * 300)
    assert sniff(tmp_path / name) is None
    with pytest.raises(UnreadableImage, match="not a picture"):
        list(open_image(tmp_path / name))


@given(st.text(alphabet=st.characters(min_codepoint=9, max_codepoint=0x7F), max_size=1100))
def test_no_text_is_ever_taken_for_an_image(content: str) -> None:
    assert not is_dicom(content.replace("DICM", "").encode())
    assert not is_raster(content.encode().removeprefix(b"BM"))


def test_what_is_no_regular_file_is_nothing_and_never_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert sniff(tmp_path / "pipe.png") is None


def test_sniff_says_why_a_file_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableImage, match="no such file"):
        sniff(tmp_path / "gone.png")

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", "/secret/path")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UnreadableImage, match="no permission to read it;") as caught:
        sniff(tmp_path / "locked.png")
    assert "/secret" not in str(caught.value)


def test_importing_the_room_loads_no_decoder() -> None:
    program = "import sys, roco_search.imaging; print([m for m in ('pydicom', 'PIL', 'gdcm') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
