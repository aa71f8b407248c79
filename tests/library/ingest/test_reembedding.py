"""Another model: the old vectors serve until the new ones are complete."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from roco_search.errors import LibraryEmpty
from roco_search.imaging import open_image
from tests.library.toy import Opened, ToyEncoder, draw, draw_pages, spoil


@pytest.fixture
def filled(opened: Opened, scans: Path) -> Opened:
    for number in range(20):
        draw(scans / f"{number:02}.png", number)
    draw_pages(scans / "pages.tiff", range(6))
    draw(scans / "plain", 60)
    opened.index(scans, frames=3)
    return opened


def assert_embedded_by(opened: Opened, encoder: ToyEncoder) -> None:
    sql = """
        SELECT path, number, vector FROM vectors JOIN frames ON frames.id = frame_id JOIN files ON files.id = file_id
    """
    rows = opened.rows(sql)
    for path, number, vector in rows:
        frame = next(frame for frame in open_image(path, frames="all") if frame.index == number)
        np.testing.assert_allclose(np.frombuffer(vector, "<f4"), encoder.encode_one(frame.pixels)[0], atol=1e-6)
    model = opened.library.model
    assert model is not None and (model.fingerprint, model.count) == (encoder.fingerprint, len(rows))
    assert len(opened.rows("SELECT * FROM embedding_sets")) == 1
    assert opened.library.verify().problems == []


def test_everything_is_embedded_again(filled: Opened) -> None:
    other = ToyEncoder(dim=40, seed=5, name="other")
    report = filled.reembed(other, batch_size=4)
    assert (report.complete, report.files, report.frames, report.removed) == (True, 22, 24, 0)
    assert_embedded_by(filled, other)
    assert filled.library.search(other.encode_texts(["chest"]), 99)[0].shape == (1, 24)
    assert filled.reembed(other).files == 0


def test_interrupted_run_serves_the_old_and_goes_on(filled: Opened, scans: Path) -> None:
    class Impatient(ToyEncoder):
        def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
            if len(self.batches) == 3:
                raise KeyboardInterrupt
            return super().encode_images(images)

    before = filled.library.search(filled.encoder.encode_texts(["chest"]), 99)
    with pytest.raises(KeyboardInterrupt):
        filled.reembed(Impatient(seed=5, name="other"), batch_size=4)
    status = filled.library.status()
    assert status.pending is not None and 8 <= status.pending.count < 16
    after = filled.library.search(filled.encoder.encode_texts(["chest"]), 99)
    np.testing.assert_array_equal(before[0], after[0])
    draw(scans / "new.png", 99)
    assert filled.index(scans).indexed == 1
    other = ToyEncoder(seed=5, name="other")
    report = filled.reembed(other)
    assert report.files == 23 - status.pending.count and report.complete
    assert_embedded_by(filled, other)


def test_another_pending_model_is_given_up(filled: Opened) -> None:
    class Impatient(ToyEncoder):
        def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().encode_images(images)

    with pytest.raises(KeyboardInterrupt):
        filled.reembed(Impatient(seed=5), batch_size=4)
    other = ToyEncoder(seed=6, name="third")
    assert filled.reembed(other).complete
    assert_embedded_by(filled, other)
    filled.reembed(ToyEncoder(seed=6, name="third"))
    assert_embedded_by(filled, other)


def test_gone_and_changed_files(filled: Opened, scans: Path) -> None:
    (scans / "03.png").unlink()
    draw(scans / "04.png", 444)
    (scans / "plain").write_text("words now")
    spoil(scans / "06.png", 6)
    other = ToyEncoder(seed=5, name="other")
    report = filled.reembed(other)
    assert (report.complete, report.removed, report.unavailable) == (True, 2, [])
    assert [Path(entry.path).name for entry in filled.library.status().skipped] == ["06.png"]
    assert_embedded_by(filled, other)


def test_unavailable_files_hold_the_switch_back(filled: Opened, scans: Path, tmp_path: Path) -> None:
    disk = draw(tmp_path / "disk" / "a.png", 70).parent
    filled.index(disk)
    disk.rename(tmp_path / "unmounted")
    other = ToyEncoder(seed=5, name="other")
    report = filled.reembed(other)
    assert not report.complete
    assert "`prune_missing=True`" in filled.library.index(None, other, reembed=True).warnings[0]
    assert [Path(entry.path).name for entry in report.unavailable] == ["a.png"]
    assert "mount its disk" in report.unavailable[0].reason
    assert filled.library.search(filled.encoder.encode_texts(["chest"]), 99)[0].shape == (1, 25)
    report = filled.reembed(other, prune_missing=True)
    assert (report.complete, report.removed, report.files) == (True, 1, 0)
    assert_embedded_by(filled, other)


def test_empty_library_has_nothing_to_embed(opened: Opened) -> None:
    with pytest.raises(LibraryEmpty, match="roco index PATH"):
        opened.reembed(ToyEncoder(seed=5))
