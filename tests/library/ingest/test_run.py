"""What a second, third, fourth run makes of a folder that people work in."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.errors import InputError, ModelMismatch
from roco_search.imaging import open_image
from roco_search.library import Library
from tests.imaging.drawing import shipped
from tests.library.toy import Opened, ToyEncoder, draw, draw_pages, spoil
from tests.meter import Meter


def vectors_by_path(opened: Opened) -> dict[tuple[str, int], np.ndarray]:
    sql = """
        SELECT path, number, vector FROM vectors JOIN frames ON frames.id = frame_id JOIN files ON files.id = file_id
    """
    return {(path, number): np.frombuffer(vector, "<f4") for path, number, vector in opened.rows(sql)}


def assert_true_vectors(opened: Opened, frames: Any = "middle") -> None:
    """Each stored vector is that of its own picture, embedded alone."""
    stored = vectors_by_path(opened)
    for path in {path for path, _ in stored}:
        for frame in open_image(path, frames=frames):
            own = opened.encoder.encode_one(frame.pixels)[0]
            np.testing.assert_allclose(stored.pop((path, frame.index)), own, atol=1e-6)
    assert not stored


def test_first_run_and_second_run(opened: Opened, scans: Path) -> None:
    for number in range(5):
        draw(scans / "deep" / f"{number}.png", number)
    bad = spoil(scans / "bad.png")
    (scans / "notes.txt").write_text("no image")
    first = opened.index(scans)
    assert (first.indexed, first.unchanged, first.frames) == (5, 0, 5)
    assert [entry.path for entry in first.skipped] == [str(bad)]
    assert first.not_images == [] and first.images_per_second > 0
    assert_true_vectors(opened)
    opened.encoder.batches.clear()
    second = opened.index(scans)
    assert (second.indexed, second.unchanged, second.removed, second.frames) == (0, 5, 0, 0)
    assert second.skipped == first.skipped
    assert opened.encoder.batches == []
    assert "notes" not in json.dumps(asdict(second))


def test_changed_moved_copied_and_gone(opened: Opened, scans: Path) -> None:
    a, b, c, d = (draw(scans / f"{name}.png", seed) for seed, name in enumerate("abcd"))
    opened.index(scans)
    before = vectors_by_path(opened)
    opened.encoder.batches.clear()
    draw(a, 100)
    os.utime(a, ns=(1, 1))
    moved = scans / "elsewhere" / "b.png"
    moved.parent.mkdir()
    b.rename(moved)
    c.unlink()
    copy = scans / "copy.png"
    shutil.copy(d, copy)
    report = opened.index(scans)
    assert (report.indexed, report.moved, report.removed, report.unchanged) == (2, 1, 1, 1)
    assert sum(opened.encoder.batches) == 1, "only the changed file is encoded"
    after = vectors_by_path(opened)
    np.testing.assert_array_equal(after[str(moved), 0], before[str(b), 0])
    np.testing.assert_array_equal(after[str(copy), 0], before[str(d), 0])
    assert opened.paths() == sorted(map(str, [a, copy, d, moved]))
    assert_true_vectors(opened)


def test_touched_file_is_not_encoded_again(opened: Opened, scans: Path) -> None:
    path = draw(scans / "a.png", 1)
    opened.index(scans)
    os.utime(path, ns=(5, 5))
    opened.encoder.batches.clear()
    report = opened.index(scans)
    assert (report.indexed, report.unchanged, opened.encoder.batches) == (0, 1, [])
    assert opened.rows("SELECT mtime_ns FROM files") == [(path.stat().st_ctime_ns,)]
    assert opened.index(scans).unchanged == 1
    assert opened.encoder.batches == []


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that keeps no time at which an entry changed."""
    monkeypatch.setattr("roco_search.system.files._CHANGES_ARE_TIMED", False)


def test_files_of_one_size_and_time_that_change_places_are_seen(opened: Opened, scans: Path) -> None:
    first, second = draw(scans / "a.png", 1), draw(scans / "b.png", 2)
    longest = max(first.stat().st_size, second.stat().st_size)
    for path in (first, second):
        path.write_bytes(path.read_bytes().ljust(longest, b"\0"))
    for path in (first, second):
        os.utime(path, ns=(10**18, 10**18))
    opened.index(scans)
    before = vectors_by_path(opened)
    first.rename(scans / "c")
    second.rename(first)
    (scans / "c").rename(second)
    assert (first.stat().st_size, first.stat().st_mtime_ns) == (second.stat().st_size, 10**18)
    opened.index(scans)
    after = vectors_by_path(opened)
    np.testing.assert_array_equal(after[str(first), 0], before[str(second), 0])
    assert_true_vectors(opened)


@pytest.mark.usefixtures("untimed")
def test_rehash_believes_the_content_alone(opened: Opened, scans: Path) -> None:
    path, other = draw(scans / "a.png", 1), draw(scans.parent / "b.png", 2)
    longest = max(path.stat().st_size, other.stat().st_size)
    path.write_bytes(path.read_bytes().ljust(longest, b"\0"))
    status = path.stat()
    opened.index(scans)
    path.write_bytes(other.read_bytes().ljust(longest, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert opened.index(scans).unchanged == 1
    opened.encoder.batches.clear()
    assert opened.index(scans, rehash=True).indexed == 1
    assert_true_vectors(opened)
    opened.encoder.batches.clear()
    assert (opened.index(scans, rehash=True).unchanged, opened.encoder.batches) == (1, [])


def test_equal_files_in_one_run_all_get_their_vectors(opened: Opened, scans: Path) -> None:
    for number in range(70):
        draw(scans / f"{number:02}.png", number % 3)
    report = opened.index(scans, batch_size=4)
    assert (report.indexed, report.frames) == (70, 70)
    assert_true_vectors(opened)


@pytest.mark.usefixtures("untimed")
def test_failed_file_is_remembered_until_it_changes(opened: Opened, scans: Path) -> None:
    path = spoil(scans / "a.png")
    draw(scans / "b.png", 2)
    opened.index(scans)
    content = path.read_bytes()
    status = path.stat()
    draw(path, 7)
    mended = path.read_bytes()
    path.write_bytes(mended[: len(content)].ljust(len(content), b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert opened.index(scans).skipped[0].path == str(path), "same stat: not read again"
    path.write_bytes(mended)
    report = opened.index(scans)
    assert (report.indexed, report.skipped) == (1, [])
    assert_true_vectors(opened)


@pytest.mark.usefixtures("untimed")
def test_retry_failed_reads_again(opened: Opened, scans: Path) -> None:
    path = spoil(scans / "a.png")
    draw(scans / "b.png", 2)
    opened.index(scans)
    size, times = path.stat().st_size, path.stat()
    mended = draw(path, 3, size=4).read_bytes()
    assert len(mended) <= size
    path.write_bytes(mended.ljust(size, b"\0"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert opened.index(scans).indexed == 0
    assert opened.index(scans, retry_failed=True).indexed == 1


def test_image_that_becomes_text_is_removed(opened: Opened, scans: Path) -> None:
    path = draw(scans / "slice", 1)
    draw(scans / "b.png", 2)
    opened.index(scans)
    path.write_text("just words now")
    report = opened.index(scans)
    assert (report.removed, report.skipped) == (1, [])
    assert opened.paths() == [str(scans / "b.png")]


def test_dicom_without_picture_is_no_failure(opened: Opened, scans: Path) -> None:
    shutil.copy(shipped("CT_small.dcm"), scans / "ct")
    shutil.copy(shipped("reportsi.dcm"), scans / "report.dcm")
    report = opened.index(scans)
    assert (report.indexed, report.skipped) == (1, [])
    assert [entry.path for entry in report.not_images] == [str(scans / "report.dcm")]
    again = opened.index(scans)
    assert again.not_images == report.not_images and again.unchanged == 1


def test_nothing_about_the_patient_is_kept(opened: Opened, scans: Path) -> None:
    import pydicom

    shutil.copy(shipped("CT_small.dcm"), scans / "ct.dcm")
    opened.index(scans)
    dataset = pydicom.dcmread(scans / "ct.dcm")
    opened.library.close()
    content = b"".join(path.read_bytes() for path in opened.directory.iterdir())
    for keyword in ("PatientName", "PatientID", "SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID"):
        assert str(dataset[keyword].value).encode() not in content, keyword
    with Library.open(opened.directory) as library:
        [frame] = library.frames.get([1]).values()
        assert (frame.modality, frame.rows, frame.columns) == ("CT", 128, 128)
        assert frame.series is not None and len(frame.series) == 32 and frame.series != frame.study


def test_choice_of_frames_is_kept_and_can_change(opened: Opened, scans: Path) -> None:
    draw_pages(scans / "pages.tiff", [1, 2, 3, 4, 5])
    draw(scans / "one.png", 9)
    assert opened.index(scans).frames == 2
    opened.encoder.batches.clear()
    report = opened.index(scans, frames="all")
    assert (report.indexed, report.unchanged, report.frames) == (1, 1, 5)
    assert sum(opened.encoder.batches) == 5, "a file with one frame is the same under every choice"
    assert_true_vectors(opened, frames="all")
    assert opened.index(scans).unchanged == 2, "the folder's own choice is kept"
    assert opened.index(scans, frames=2).frames == 2


def test_file_with_more_frames_than_a_batch(opened: Opened, scans: Path) -> None:
    draw(scans / "a.png", 50)
    draw_pages(scans / "b.tiff", range(11))
    draw(scans / "c.png", 51)
    report = opened.index(scans, frames="all", batch_size=4)
    assert (report.indexed, report.frames) == (3, 13)
    assert_true_vectors(opened, frames="all")


def test_other_model_is_refused_with_the_command(opened: Opened, scans: Path) -> None:
    draw(scans / "a.png", 1)
    opened.index(scans)
    with pytest.raises(ModelMismatch, match=r"model toy, and other .*roco index --reembed --model other"):
        opened.library.index([scans], ToyEncoder(seed=1, name="other"))


def test_the_same_model_in_another_place_is_recorded(opened: Opened, scans: Path) -> None:
    draw(scans / "a.png", 1)
    opened.index(scans)
    moved = ToyEncoder(name="/elsewhere/toy")
    assert moved.fingerprint == opened.encoder.fingerprint
    report = opened.library.index([scans], moved)
    assert report.unchanged == 1 and not moved.batches, "nothing is embedded again"
    assert opened.library.model is not None and opened.library.model.model == "/elsewhere/toy"


def test_unusable_embedding_is_refused_by_name(opened: Opened, scans: Path) -> None:
    class Faulty(ToyEncoder):
        def encode_one(self, image: np.ndarray) -> np.ndarray:
            vector = super().encode_one(image)
            return vector * np.nan if image.mean() < 1 else vector * (image.mean() < 254)

    good = draw(scans / "b.png", 1)
    for name, value in (("a.png", 0), ("c.png", 255)):
        from PIL import Image

        Image.new("L", (9, 9), value).save(scans / name)
    opened.encoder = Faulty()
    report = opened.index(scans)
    assert [Path(entry.path).name for entry in report.skipped] == ["a.png", "c.png"]
    assert opened.paths() == [str(good)]
    assert_true_vectors(opened)


def test_missing_path_and_folder_without_images(opened: Opened, scans: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        opened.index(scans / "nowhere")
    with pytest.raises(InputError, match="no images in"):
        opened.index(scans)
    (scans / "notes.txt").write_text("words")
    with pytest.raises(InputError, match="no images in"):
        opened.index(scans)
    assert opened.library.status().roots == []
    full = draw(scans.parent / "full" / "a.png", 1)
    report = opened.index(scans, full.parent)
    assert report.indexed == 1 and len(report.warnings) == 1


def test_single_files_and_overlapping_roots_store_once(opened: Opened, scans: Path) -> None:
    path = draw(scans / "sub" / "a.png", 1)
    (scans / "link").symlink_to(scans / "sub")
    for paths in ([path], [scans / "sub"], [scans], [scans / "link", scans / "sub" / ".." / "sub", path]):
        opened.index(*paths)
        assert opened.paths() == [str(path)]
    assert opened.index(scans).unchanged == 1


def test_interrupt_keeps_what_is_done(opened: Opened, scans: Path) -> None:
    for number in range(40):
        draw(scans / f"{number:02}.png", number)

    class Impatient(ToyEncoder):
        def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
            if len(self.batches) == 3:
                raise KeyboardInterrupt
            return super().encode_images(images)

    with pytest.raises(KeyboardInterrupt):
        opened.library.index([scans], Impatient(), batch_size=8)
    kept = len(opened.paths())
    assert 16 <= kept < 24
    report = opened.index(scans)
    assert (report.indexed, report.unchanged) == (40 - kept, kept)
    assert_true_vectors(opened)


def test_progress_follows_every_file(opened: Opened, scans: Path) -> None:
    for number in range(9):
        draw(scans / f"{number}.png", number)
    spoil(scans / "bad.png")
    meter = Meter()
    opened.index(scans, progress=meter, batch_size=4)
    assert (meter.total, meter.done, meter.stopped) == (10, 10, True)
    assert all(figures["images_per_second"] > 0 for figures in meter.figures)
