"""Archives and volumes in a library: read in place, again only when they change, every hit a member or a slice."""

from pathlib import Path

import numpy as np

from roco_search.imaging import Slices, open_image
from tests.imaging.drawing import draw_dicom, ramp
from tests.imaging.test_archives import pack, png
from tests.imaging.test_volumes import STEPS, head, write
from tests.library.toy import Opened, ToyEncoder


def test_members_are_indexed_in_place_and_read_again_only_when_they_change(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    (folder / "inner").mkdir(parents=True)
    scan = draw_dicom(tmp_path / "a.dcm", ramp(), WindowCenter=40, WindowWidth=400).read_bytes()
    archive = pack(folder / "inner" / "a.zip", {"DICOM/A": scan, "b.png": png(9), "notes.txt": b"nothing"})
    pack(folder / "c.tar.gz", {"d.png": png(30)})
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        report = opened.index(folder)
        assert (report.indexed, report.skipped) == (3, [])
        assert opened.paths() == [f"{folder}/c.tar.gz!/d.png", f"{archive}!/DICOM/A", f"{archive}!/b.png"]
        assert (again := opened.index(folder)).indexed == 0 and again.unchanged == 3
        archive.unlink()
        pack(archive, {"DICOM/A": scan, "b.png": png(200)})
        assert (changed := opened.index(folder)).indexed == 1 and changed.unchanged == 2
        archive.unlink()
        assert opened.index(folder).removed == 2
        assert opened.paths() == [f"{folder}/c.tar.gz!/d.png"]


def test_an_archive_that_is_gone_as_a_root_keeps_its_members(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"b.png": png(9)})
    other = pack(tmp_path / "other.zip", {"c.png": png(90)})
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        assert opened.index(archive, other).indexed == 2
        archive.unlink()
        assert opened.index(archive, other).warnings
        assert len(opened.paths()) == 2, "its disk may not be mounted"
        assert opened.index(archive, other, prune_missing=True).removed == 1


def test_slices_of_a_volume_are_its_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii.gz", head().astype(np.int16), np.diag(STEPS))
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        assert opened.index(path).frames == 9
        rows = opened.rows("SELECT view, instance_number, number, count FROM frames ORDER BY number")
        assert {row[0] for row in rows} == {"AXIAL"} and {row[3] for row in rows} == {68}
        assert opened.index(path).unchanged == 1
        assert opened.index(path, slices=Slices(2, ("CORONAL", "SAGITTAL"))).frames == 4
        stored = opened.rows("SELECT view, instance_number, number FROM frames ORDER BY number")
        assert [row[0] for row in stored] == ["CORONAL", "CORONAL", "SAGITTAL", "SAGITTAL"]
        for view, instance, number in stored:
            [frame] = open_image(path, frames=(number,))
            assert (frame.tags.view, frame.tags.instance_number) == (view, instance)
        assert opened.index(path).unchanged == 1, "the choice is the folder's"
