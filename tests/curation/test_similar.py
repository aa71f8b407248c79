"""Images like one of the library: against brute force over the stored vectors."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from roco_search.curation import find_similar
from roco_search.errors import InputError, LibraryEmpty
from tests.curation.stored import stored
from tests.library.toy import Opened, draw, draw_pages


def test_similar_is_the_order_of_all_stored_vectors(opened: Opened, scans: Path) -> None:
    for seed in range(12):
        draw(scans / f"{seed:02}.png", seed)
    shutil.copy(scans / "03.png", scans / "copy of 03.png")
    draw_pages(scans / "pages.tif", range(20, 25))
    opened.index(scans, frames="all")
    keys, vectors = stored(opened)
    query = vectors[keys.index((str(scans / "03.png"), 0))].astype(np.float64)
    order = np.argsort(-(vectors @ query), kind="stable")
    own = {str(scans / "03.png"), str(scans / "copy of 03.png")}
    expected = [keys[row] for row in order if keys[row][0] not in own]
    hits = find_similar(opened.library, scans / "03.png", n=100)
    assert [(hit.path, hit.frame) for hit in hits] == expected
    assert [hit.rank for hit in hits] == list(range(1, len(expected) + 1))
    np.testing.assert_allclose(
        [hit.score for hit in hits], np.sort([vectors[keys.index(key)] @ query for key in expected])[::-1], atol=1e-6
    )
    (scans / "03.png").unlink()
    assert find_similar(opened.library, scans / "03.png", n=100) == hits, "the file itself is not needed"


def test_similar_of_a_file_with_frames_takes_the_middle_or_the_named_one(opened: Opened, scans: Path) -> None:
    draw_pages(scans / "pages.tif", range(5))
    for seed in range(5):
        draw(scans / f"{seed}.png", seed)
    opened.index(scans, frames="all")
    assert Path(find_similar(opened.library, scans / "pages.tif", n=1)[0].path).name == "2.png"
    hits = find_similar(opened.library, scans / "pages.tif", frame=4)
    assert Path(hits[0].path).name == "4.png" and hits[0].score == pytest.approx(1)
    assert not any(hit.path.endswith(".tif") for hit in hits), "its other frames are left out too"
    with pytest.raises(InputError, match="1, 2, 3, 4, 5, not 9"):
        find_similar(opened.library, scans / "pages.tif", frame=8)


def test_similar_passes_over_the_own_series(opened: Opened, scans: Path) -> None:
    for seed in range(6):
        draw(scans / f"{seed}.png", seed)
    opened.index(scans)
    opened.describe([1, 2, 3], series="one")
    first = str(scans / "0.png")
    assert len(find_similar(opened.library, first)) == 5
    others = find_similar(opened.library, first, other_series=True)
    assert {Path(hit.path).name for hit in others} == {"3.png", "4.png", "5.png"}


def test_similar_refuses_what_the_library_has_not(opened: Opened, scans: Path, tmp_path: Path) -> None:
    with pytest.raises(LibraryEmpty, match="roco index"):
        find_similar(opened.library, draw(tmp_path / "a file.png", 5))
    opened.index(draw(scans / "0.png", 0).parent)
    with pytest.raises(InputError, match=r"run `roco query '.*a file\.png'`"):
        find_similar(opened.library, tmp_path / "a file.png")
    with pytest.raises(InputError, match="no such file"):
        find_similar(opened.library, tmp_path / "none.png")
    with pytest.raises(InputError, match="is a folder"):
        find_similar(opened.library, scans)
