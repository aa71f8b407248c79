"""Another model: the old vectors serve until the new ones are complete."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from roco_search.errors import LibraryEmpty, ModelMismatch
from roco_search.imaging import open_image
from roco_search.library import Library
from tests.library.toy import Opened, ToyEncoder, connect, draw, draw_pages, spoil


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


class InBfloat16(ToyEncoder):
    """The same model in lower precision."""

    image_arithmetic = "openvino-bf16"

    def encode_one(self, image: np.ndarray) -> np.ndarray:
        return self._unit(super().encode_one(image) + np.float32(0.01))


def test_all_images_of_a_library_are_embedded_in_one_arithmetic(filled: Opened, scans: Path) -> None:
    assert filled.library.active().arithmetic == "fp32"
    draw(scans / "new.png", 99)
    lower = InBfloat16()
    with pytest.raises(ModelMismatch, match=r"embedded in fp32, and openvino-bf16 was asked for.*--precision fast"):
        filled.library.index([scans], lower)
    filled.reembed(lower)
    assert filled.library.active().arithmetic == "openvino-bf16"
    filled.library.index([scans], lower)
    assert_embedded_by(filled, lower)
    with pytest.raises(ModelMismatch, match=r"embedded in openvino-bf16, and fp32 was asked for.*--precision exact"):
        filled.index(scans)


def test_a_pending_set_of_another_arithmetic_is_given_up(filled: Opened) -> None:
    class Impatient(InBfloat16):
        def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().encode_images(images)

    with pytest.raises(KeyboardInterrupt):
        filled.reembed(Impatient(seed=5, name="other"), batch_size=4)
    other = ToyEncoder(seed=5, name="other")
    report = filled.reembed(other)
    assert (report.complete, report.files) == (True, 22)
    assert_embedded_by(filled, other)


def older(opened: Opened) -> None:
    """Turn a library into one of the version before arithmetic was recorded."""
    opened.library.close()
    with closing(connect(opened.directory)) as connection, connection:
        connection.execute("ALTER TABLE embedding_sets DROP COLUMN arithmetic")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'm002_arithmetic'")
        connection.execute("PRAGMA user_version = 1")


def test_an_older_library_answers_goes_on_and_can_be_embedded_again(filled: Opened, scans: Path) -> None:
    query = filled.encoder.encode_texts(["chest"])
    expected = filled.library.search(query, 99)
    older(filled)
    with Library.open(filled.directory) as opened:
        assert opened.active().arithmetic is None
        np.testing.assert_array_equal(opened.search(query, 99)[0], expected[0])
    draw(scans / "new.png", 99)
    with Library.create_or_open(filled.directory) as opened:
        report = opened.index([scans], filled.encoder)
        assert report.indexed == 1 and "mixed precision" in report.warnings[0]
        assert opened.index([scans], filled.encoder).warnings == [], "only where something is added"
        assert opened.active().arithmetic is None
        opened.index(None, filled.encoder, reembed=True)
        assert opened.active().arithmetic == "fp32"
