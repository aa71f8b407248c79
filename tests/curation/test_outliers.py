"""What is odd in its folder: the same numbers by scikit-learn and NumPy."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from roco_search.curation import find_outliers, outliers
from roco_search.errors import InputError
from tests.curation.stored import stored
from tests.library.toy import Opened, ToyEncoder, draw, draw_pages


class Centred(ToyEncoder):
    """Grey that all pictures share would make them all alike."""

    def encode_one(self, image: np.ndarray) -> np.ndarray:
        small = np.asarray(Image.fromarray(image).convert("L").resize((16, 16)), np.float32).reshape(1, -1)
        return self._unit(np.append(small - small.mean(), [[1.0]], axis=1).astype(np.float32) @ self._projection)


@pytest.fixture(autouse=True)
def _centred(opened: Opened) -> None:
    opened.encoder = Centred(dim=64)


def hazy(path: Path, kind: int, seed: int) -> Path:
    """Write a picture of a kind: pictures of one kind are alike."""
    base = np.random.default_rng(kind).integers(40, 216, (24, 24))
    noise = np.random.default_rng((kind, seed)).integers(-12, 13, (24, 24))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((base + noise).astype(np.uint8)).save(path)
    return path


def test_outliers_are_found_with_the_place_where_they_belong(opened: Opened, scans: Path) -> None:
    for seed in range(20):
        hazy(scans / "chest" / f"{seed}.png", 0, seed)
        hazy(scans / "head" / f"{seed}.png", 1, seed)
    hazy(scans / "chest" / "a head.png", 1, 99)
    draw(scans / "head" / "noise.png", 5)
    opened.index(scans)
    found = find_outliers(opened.library)
    assert {Path(o.path).name: Path(o.elsewhere).name if o.elsewhere else None for o in found.found} == {
        "a head.png": "head",
        "noise.png": None,
    }
    assert (found.judged, found.unjudged) == (42, 0)
    # The same numbers, computed by scikit-learn and NumPy.
    keys, vectors = stored(opened)
    chest = [row for row, (path, _) in enumerate(keys) if Path(path).parent.name == "chest"]
    searcher = NearestNeighbors(n_neighbors=6, metric="cosine").fit(vectors[chest].astype(np.float64))
    distances = searcher.kneighbors()[0][:, :5].mean(axis=1)
    median = np.median(distances)
    spread = max(1.4826 * np.median(np.abs(distances - median)), outliers.LEAST_SPREAD)
    odd = next(o for o in found.found if o.path.endswith("a head.png"))
    own = distances[[keys[row][0] for row in chest].index(odd.path)]
    assert odd.score == pytest.approx(own, abs=1e-5)
    assert odd.deviation == pytest.approx((own - median) / spread, rel=1e-3)
    assert odd.elsewhere_score is not None and odd.elsewhere_score < odd.score
    assert [o.path for o in find_outliers(opened.library, n=1).found] == [found.found[0].path]
    assert [Path(o.path).name for o in find_outliers(opened.library, under=scans / "head").found] == ["noise.png"]
    assert find_outliers(opened.library, least_deviation=1e6).found == []


def test_a_copy_does_not_vouch_for_an_outlier(opened: Opened, scans: Path) -> None:
    for seed in range(15):
        hazy(scans / f"{seed}.png", 0, seed)
    draw(scans / "odd.png", 5)
    for number in range(7):
        shutil.copy(scans / "odd.png", scans / f"odd {number}.png")
    opened.index(scans)
    assert {Path(o.path).name[:3] for o in find_outliers(opened.library).found} == {"odd"}
    assert len(find_outliers(opened.library).found) == 8


def test_small_folders_count_to_the_one_above(opened: Opened, scans: Path, tmp_path: Path) -> None:
    for case in range(10):
        for seed in range(2):
            hazy(scans / f"case {case}" / f"{seed}.png", 0, 10 * case + seed)
    draw(scans / "case 3" / "odd.png", 5)
    few = tmp_path / "few"
    for seed in range(3):
        draw(few / f"{seed}.png", seed)
    opened.index(scans, few)
    found = find_outliers(opened.library)
    assert [(Path(o.path).name, o.folder) for o in found.found] == [("odd.png", str(scans))]
    assert (found.judged, found.unjudged) == (21, 3), "a folder that was indexed is not judged by what lies outside"


def test_of_many_frames_the_furthest_is_told(opened: Opened, scans: Path) -> None:
    for seed in range(15):
        hazy(scans / f"{seed}.png", 0, seed)
    draw_pages(scans / "pages.tif", [50, 51, 52])
    opened.index(scans, frames="all")
    (odd,) = find_outliers(opened.library).found
    assert odd.path.endswith("pages.tif") and odd.frames == 3


def test_a_large_folder_is_judged_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    vectors = 1 + 0.05 * chance.normal(size=(400, 16))
    vectors[7] = -chance.normal(size=16)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    rows = np.arange(400)
    whole = outliers._judge(vectors, rows, rows, rows)
    monkeypatch.setattr(outliers, "SAMPLED", 50)
    scores, deviations = outliers._judge(vectors, rows, rows, rows)
    np.testing.assert_allclose(scores, whole[0], atol=1e-6)
    assert np.flatnonzero(deviations > 6).tolist() == [7]


def test_outliers_refuses(opened: Opened, scans: Path) -> None:
    opened.index(draw(scans / "0.png", 0))
    with pytest.raises(InputError, match="at least 1"):
        find_outliers(opened.library, n=0)
    with pytest.raises(InputError, match="no image under"):
        find_outliers(opened.library, under="/nowhere")
