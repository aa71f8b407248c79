"""Archives are read in place: members are sources like files, and what an archive is up to is refused."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roco_search.errors import ImageError, UnreadableImage
from roco_search.imaging import archives, open_image, read_levels, sniff
from roco_search.imaging.archives import Member, exists, is_archive, listing, locate
from roco_search.imaging.walk import Walk, is_below
from tests.imaging.drawing import draw_dicom, only, ramp

ENDINGS = ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"]


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), shade, np.uint8)).save(file, "PNG")
    return file.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_member_is_shown_as_its_file_would_be(tmp_path: Path, ending: str) -> None:
    file = draw_dicom(tmp_path / "IM0001", ramp(), WindowCenter=40, WindowWidth=400)
    archive = pack(tmp_path / f"export.{ending}", {"DICOM/IM0001": file.read_bytes(), "a.png": png(7)})
    member = f"{archive}!/DICOM/IM0001"
    assert sniff(member) == "dicom"
    np.testing.assert_array_equal(next(open_image(member)).pixels, only(file).pixels)
    assert read_levels(member) == read_levels(file)
    assert only(Path(f"{archive}!/a.png")).pixels[0, 0, 0] == 7


def test_what_names_a_member(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"b/c.png": png(1)})
    assert locate(f"{archive}!/b/c.png") == Member(archive, "b/c.png")
    assert str(Member(archive, "b/c.png")) == f"{archive}!/b/c.png"
    assert locate(archive) == archive and locate("none.zip!/a") == Path("none.zip!/a")
    odd = tmp_path / "odd!"
    odd.mkdir()
    (odd / "a.png").write_bytes(png(3))
    assert locate(odd / "a.png") == odd / "a.png"
    assert is_archive("X.TAR.GZ") and not is_archive("a.nii.gz")
    assert is_below(f"{archive}!/b/c.png", str(archive)) and is_below(f"{archive}!/b/c.png", str(tmp_path))
    assert not exists(locate(f"{archive}!/gone.png"))
    with pytest.raises(UnreadableImage, match="no such file"):
        next(open_image(f"{archive}!/gone.png"))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_walk_enters_archives(tmp_path: Path, ending: str) -> None:
    members = {"DICOM/A": b"1", "./b.txt": b"22", ".hidden/c": b"3", "__MACOSX/d": b"4"}
    (tmp_path / "inner").mkdir()
    archive = pack(tmp_path / "inner" / f"a.{ending}", members)
    walk = Walk()
    walk.add(str(tmp_path))
    assert set(walk.files) == {f"{archive}!/DICOM/A", f"{archive}!/b.txt"}
    assert walk.files[f"{archive}!/b.txt"].size == 2


def test_a_member_of_a_zip_changes_with_its_crc(tmp_path: Path) -> None:
    first = listing(pack(tmp_path / "a.zip", {"a": b"one", "b": b"same"}))
    (tmp_path / "a.zip").unlink()
    second = listing(pack(tmp_path / "b.zip", {"a": b"two", "b": b"same"}))
    assert first.members["a"] != second.members["a"] and first.members["b"] == second.members["b"]


@pytest.mark.parametrize("ending", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:/evil.png", "..\\evil.png"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str, ending: str) -> None:
    archive = pack(tmp_path / f"a.{ending}", {name: png(1), "good.png": png(2)})
    found = listing(archive)
    assert list(found.members) == ["good.png"] and "leads out of it" in found.refused[name]
    with pytest.raises(UnreadableImage, match="leads out of it"):
        next(open_image(f"{archive}!/{name}"))
    walk = Walk()
    walk.add(str(archive))
    assert f"{archive}!/{name}" in walk.files, "so that reading it says why"


def test_links_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(9))
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for kind, target in ((tarfile.SYMTYPE, "../secret.png"), (tarfile.LNKTYPE, str(tmp_path / "secret.png"))):
            entry = tarfile.TarInfo(f"{kind!r}.png")
            entry.type, entry.linkname = kind, target
            tar.addfile(entry)
    found = listing(archive)
    assert not found.members and all("a link" in reason for reason in found.refused.values())


def test_bombs_are_refused_by_what_the_directory_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "a.zip", {"zeros.dcm": bytes(8 * 2**20)})
    monkeypatch.setattr(archives, "MAX_RATIO", 500)
    with pytest.raises(UnreadableImage, match="packed more tightly"):
        next(open_image(f"{archive}!/zeros.dcm"))
    monkeypatch.setattr(archives, "MAX_MEMBER", 2**20)
    for ending in ("zip", "tar.gz"):
        large = pack(tmp_path / f"b.{ending}", {"a.dcm": bytes(2**20 + 1)})
        with pytest.raises(UnreadableImage, match="too large"):
            next(open_image(f"{large}!/a.dcm"))
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    with pytest.raises(UnreadableImage, match="more than 3 files"):
        listing(pack(tmp_path / "c.zip", {str(n): b"" for n in range(5)}))


def test_a_directory_that_lies_about_a_size_is_found_out(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a.png": png(1)})
    data = archive.read_bytes()
    size = struct.pack("<I", len(png(1)))
    place = data.rindex(size)
    archive.write_bytes(data[:place] + struct.pack("<I", 60) + data[place + 4 :])
    with pytest.raises(UnreadableImage, match="damaged"):
        next(open_image(f"{archive}!/a.png"))


def encrypted(path: Path) -> None:
    pack(path, {"a.png": png(1)})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    pack(path, {"a.png": png(1)})
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(("spoil", "reason"), [(encrypted, "encrypted"), (cut, "damaged")])
def test_what_cannot_be_read_says_why(tmp_path: Path, spoil: Callable[[Path], None], reason: str) -> None:
    spoil(tmp_path / "a.zip")
    with pytest.raises(UnreadableImage, match=reason):
        next(open_image(f"{tmp_path / 'a.zip'}!/a.png"))


def test_a_damaged_archive_is_reported_by_a_walk(tmp_path: Path) -> None:
    cut(tmp_path / "a.zip")
    (tmp_path / "b.tar.gz").write_bytes(b"no archive at all")
    walk = Walk()
    walk.add(str(tmp_path))
    assert not walk.files and len(walk.unreadable) == 2


@pytest.mark.parametrize("ending", ENDINGS)
def test_damage_gives_pictures_or_a_refusal(tmp_path: Path, ending: str) -> None:
    whole = pack(tmp_path / f"whole.{ending}", {f"{number}.png": png(number) for number in range(3)}).read_bytes()
    chance = random.Random(0)
    refused = 0
    for number in range(80):
        content = bytearray(whole)
        place = chance.randrange(len(content))
        if number % 2:
            content[place] ^= 1 << chance.randrange(8)
        else:  # what follows is read where something else should be, such as the checksum at the end
            del content[place : place + chance.randrange(1, 9)]
        path = tmp_path / f"{number}.{ending}"
        path.write_bytes(content)
        try:
            for name in listing(path).members:
                only(Path(f"{path}!/{name}"))
        except ImageError:
            refused += 1
    assert refused


def test_a_wrong_checksum_is_damage_and_not_a_disk_that_cannot_be_read(tmp_path: Path) -> None:
    """Gzip raises an OSError for it, as the system does for a file."""
    whole = pack(tmp_path / "a.tar", {f"{number}.png": png(number) for number in range(3)}).read_bytes()
    for length in (700, 1100, len(whole)):
        content = bytearray(gzip.compress(whole[:length]))
        content[-8] ^= 1
        path = tmp_path / f"{length}.tar.gz"
        path.write_bytes(content)
        try:
            names = list(listing(path).members)
        except UnreadableImage as error:
            assert "damaged" in str(error)
            continue
        for name in names:
            with suppress(UnreadableImage):
                only(Path(f"{path}!/{name}"))


@pytest.mark.parametrize("ending", ENDINGS)
def test_members_may_be_asked_for_in_any_order_by_several_threads(tmp_path: Path, ending: str) -> None:
    members = {f"{n:03}.png": png(n) for n in range(120)}
    archive = pack(tmp_path / f"a.{ending}", members)
    order = np.random.default_rng(0).permutation(120).tolist() + list(range(120))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: int(only(Path(f"{archive}!/{n:03}.png")).pixels[0, 0, 0]), order))
    assert found == order


def test_a_packed_tar_is_read_once_where_members_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "a.tar.gz", {f"{n:03}.png": png(n) for n in range(50)})
    opened = []
    begin = archives._open_tar

    def counted(path: Path) -> tarfile.TarFile:
        opened.append(path)
        return begin(path)

    monkeypatch.setattr(archives, "_open_tar", counted)
    for number in range(50):
        member = Member(archive, f"{number:03}.png")
        assert sniff(member) == "raster" and only(member).pixels[0, 0, 0] == number  # type: ignore[arg-type]
    assert len(opened) <= 2, "once for its directory, once for its members"


def test_nothing_is_written_to_disk(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", {"a.png": png(1)})
    before = set(tmp_path.iterdir())
    only(Path(f"{archive}!/a.png"))
    assert set(tmp_path.iterdir()) == before
