"""A query becomes ranked hits."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from roco_search.errors import InputError, LibraryEmpty, ModelMismatch
from roco_search.library import Library
from roco_search.search import search
from tests.library.toy import Opened, ToyEncoder, draw, draw_pages


@pytest.fixture
def filled(tmp_path: Path):
    scans = tmp_path / "scans"
    for number in range(8):
        draw(scans / f"{number}.png", number)
    shutil.copy(draw(scans / "9a.png", 50), scans / "9b.png")
    draw_pages(scans / "pages.tiff", range(30, 35))
    shutil.copy(get_testdata_file("CT_small.dcm"), scans / "ct")
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        opened.index(scans, frames="all")
        yield opened


def test_hits_are_what_sorting_all_vectors_gives(filled: Opened) -> None:
    sql = """
        SELECT frames.id, path, number, vector FROM vectors
        JOIN frames ON frames.id = frame_id JOIN files ON files.id = file_id
    """
    query = filled.encoder.encode_texts(["pleural effusion"])[0].astype(np.float64)
    rows = [
        (i, p, f, float((np.frombuffer(v, "<f4").astype(np.float64) * query).sum())) for i, p, f, v in filled.rows(sql)
    ]
    rows.sort(key=lambda row: (-np.float32(row[3]), row[0]))
    for mode in ("exact", "approximate"):
        hits = search(filled.library, filled.encoder, ["pleural effusion"], n=99, mode=mode)
        assert [hit.rank for hit in hits] == list(range(1, 17))
        assert [(hit.path, hit.frame) for hit in hits] == [(path, frame) for _, path, frame, _ in rows]
        np.testing.assert_allclose([hit.score for hit in hits], [score for *_, score in rows], atol=1e-6)
    assert search(filled.library, filled.encoder, ["pleural effusion"], n=3) == hits[:3]


def test_a_hit_tells_what_the_header_says(filled: Opened) -> None:
    hits = {Path(hit.path).name: hit for hit in search(filled.library, filled.encoder, ["ct"], n=99)}
    ct = hits["ct"]
    assert (ct.modality, ct.frame, ct.frames, ct.rows, ct.columns) == ("CT", 0, 1, 128, 128)
    assert ct.series is not None
    assert hits["0.png"].modality is None and hits["0.png"].series is None
    assert hits["pages.tiff"].frames == 5


def test_equal_pictures_come_in_the_order_of_the_scan(filled: Opened) -> None:
    hits = search(filled.library, filled.encoder, ["anything"], n=99)
    names = [Path(hit.path).name for hit in hits]
    assert names.index("9b.png") == names.index("9a.png") + 1
    assert len({hit.score for hit in hits if Path(hit.path).name in {"9a.png", "9b.png"}}) == 1


def test_picture_finds_itself(filled: Opened) -> None:
    from roco_search.imaging import open_image

    path = filled.paths()[4]
    [frame] = open_image(path)
    [best] = search(filled.library, filled.encoder, vector=5 * filled.encoder.encode_one(frame.pixels)[0], n=1)
    assert best.path == path and best.score == pytest.approx(1, abs=1e-6)


def test_several_texts_are_averaged(filled: Opened) -> None:
    vectors = filled.encoder.encode_texts(["lung nodule", "nodule of the lung"])
    one = search(filled.library, filled.encoder, ["lung nodule", "nodule of the lung"])
    other = search(filled.library, filled.encoder, vector=vectors.mean(axis=0))
    assert one == other and len(one) == 10


def test_bad_queries_are_refused_in_words(filled: Opened, tmp_path: Path) -> None:
    for texts in ([], [" "], "bare string"):
        with pytest.raises(InputError, match="roco query"):
            search(filled.library, filled.encoder, texts)
    with pytest.raises(InputError, match="at least 1"):
        search(filled.library, filled.encoder, ["x"], n=0)
    with pytest.raises(InputError, match="24 values"):
        search(filled.library, filled.encoder, vector=np.ones(7, np.float32))
    with pytest.raises(InputError, match="other words"):
        search(filled.library, filled.encoder, vector=np.zeros(24, np.float32))
    with pytest.raises(ModelMismatch, match="--reembed --model other"):
        search(filled.library, ToyEncoder(seed=3, name="other"), ["x"])
    with Library.create_or_open(tmp_path / "empty") as empty, pytest.raises(LibraryEmpty, match="roco index PATH"):
        search(empty, filled.encoder, ["x"])
