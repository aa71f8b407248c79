"""The map: what is alike lies together, every point is its own picture, and a page tells which."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roco_search.classify.guesses import Guesses
from roco_search.embedding_map import (
    NOT_STATED,
    OTHERS,
    available_methods,
    make_map,
    map_page,
    project,
    small_pictures,
    write_map,
)
from roco_search.embedding_map.layout import folder_names, group
from roco_search.embedding_map.projection import _Rounds, _spread
from roco_search.embedding_map.regions import name_regions
from roco_search.errors import InputError, LibraryEmpty
from roco_search.figures import data_uri
from roco_search.figures.contact_sheet import thumbnail
from roco_search.library import Library
from roco_search.system.progress import Silent
from roco_search.vocabulary.concepts import spoken_term
from tests.collection import fill
from tests.library.toy import Opened, ToyEncoder


@pytest.fixture
def filled(tmp_path: Path) -> Opened:
    opened = Opened(tmp_path / "library", ToyEncoder())
    fill(opened, tmp_path / "scans")
    return opened


def clouds(each: int = 60, dim: int = 32) -> np.ndarray:
    """Three clouds of unit vectors, one after the other."""
    chance = np.random.default_rng(3)
    centres = np.repeat(chance.normal(size=(3, dim)), each, axis=0)
    vectors = centres + 0.1 * chance.normal(size=centres.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def separated(points: np.ndarray, each: int) -> float:
    """Share of the points whose nearest other is of their own cloud."""
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return float((apart.argmin(axis=1) // each == np.arange(len(points)) // each).mean())


def test_pca_is_that_of_the_definition() -> None:
    vectors = clouds()
    found = project(vectors, "pca")
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ directions[:2].T
    got = found.points * np.ptp(expected, axis=0).max()
    for axis in (0, 1):  # up to where zero is and which way is up
        one, other = got[:, axis] - got[:, axis].mean(), expected[:, axis]
        assert min(abs(one - other).max(), abs(one + other).max()) < 1e-5
    assert found.explained == pytest.approx((singular**2 / (singular**2).sum())[:2])
    assert found.points.min() == 0 and found.points.max() == pytest.approx(1)
    assert separated(found.points, 60) == 1
    assert np.array_equal(found.points, project(vectors, "pca").points)


@pytest.mark.slow
def test_umap_keeps_neighbours_together_and_is_the_default_where_it_is() -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed; pip install 'roco-search[map]'")
    found = project(clouds())
    assert (found.method, found.explained) == ("umap", None)
    assert separated(found.points, 60) == 1
    assert project(clouds(2)[:3]).method == "pca", "of three pictures UMAP makes nothing"
    assert project(clouds(2)[:5]).method == "umap"


def test_islands_come_nearer_and_nothing_changes_its_place_in_the_order() -> None:
    chance = np.random.default_rng(5)
    islands = np.concatenate([chance.normal(size=(80, 2)), chance.normal(size=(20, 2)) + 60])
    spread = _spread(islands)
    assert np.array_equal(islands.argsort(axis=0), spread.argsort(axis=0))
    assert separated(spread[:80], 80) == 1 and np.ptp(spread[:80, 0]) > 5 * np.ptp(islands[:80, 0]) / np.ptp(
        islands[:, 0]
    )
    assert np.isfinite(_spread(np.zeros((3, 2)))).all()


def test_a_region_has_the_name_of_most_of_its_images() -> None:
    chance = np.random.default_rng(7)
    middles = np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]])
    points = np.concatenate([middle + 0.02 * chance.normal(size=(30, 2)) for middle in middles]).astype(np.float32)
    modality = [*["CT"] * 30, *["MR"] * 30, *["DX", "MG", "US"] * 10]
    body_part = [*["HEAD"] * 20, *["CHEST"] * 10, *["KNEE", "HIP", "HAND"] * 10, *[None] * 30]
    found = name_regions(points, modality, body_part, most=3)
    assert [(region.name, region.count) for region in found] == [("MRI", 30), ("CT · head", 20)]
    for region, middle in zip(found, middles[[1, 0]], strict=True):
        assert np.hypot(*(np.array([region.x, region.y]) - middle)) < 0.03
    assert found == name_regions(points, modality, body_part, most=3)
    assert [region.name for region in name_regions(points[:30], ["CT"] * 30, ["HEAD"] * 30)] == ["CT · head"], (
        "one place"
    )
    assert name_regions(points[:2], modality[:2], body_part[:2]) == []


def test_without_umap_a_map_is_made_by_pca_and_a_request_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roco_search.embedding_map.projection.find_spec", lambda _: None)
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    assert available_methods() == ("pca",)
    assert project(clouds()).method == "pca"
    with pytest.raises(InputError, match=r"pip install 'roco-search\[map\]'"):
        project(clouds(), "umap")
    with pytest.raises(InputError, match="umap or pca"):
        project(clouds(), "tsne")  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_pictures_and_equal_ones_are_a_map_too(count: int) -> None:
    points = project(np.tile(clouds()[:1], (count, 1)), "pca").points
    assert points.shape == (count, 2) and np.isfinite(points).all()


def test_groups_are_the_largest_and_the_rest() -> None:
    values = [*"aaabbc", None]
    groups = group(values)
    assert (groups.names, groups.counts) == (["a", "b", "c", NOT_STATED], [3, 2, 1, 1])
    assert [groups.names[number] for number in groups.of] == [value or NOT_STATED for value in values]
    many = group([chr(97 + number) for number in range(12) for _ in range(20 - number)])
    assert many.names == [*"abcdefg", OTHERS]
    assert many.counts[-1] == sum(20 - number for number in range(7, 12))
    assert group([]).names == []


def test_folders_are_named_below_what_they_share() -> None:
    assert folder_names(["/a/b/x", "/a/b/y/z", "/a/b"]) == {"/a/b": "b", "/a/b/x": "x", "/a/b/y/z": "y/z"}
    assert folder_names(["/a/b"]) == {"/a/b": "b"}


def test_each_point_is_the_picture_with_its_vector(filled: Opened) -> None:
    found = make_map(filled.library, "pca")
    index = filled.library.vectors()
    assert np.array_equal(found.ids, index.ids) and found.total == len(index.ids) == len(found.frames)
    assert [frame.id for frame in found.frames] == found.ids.tolist()
    assert np.array_equal(found.projection.points, project(np.asarray(index.matrix), "pca").points)
    by_modality = found.groups("modality")
    for frame, number in zip(found.frames, by_modality.of, strict=True):
        assert by_modality.names[number] == (spoken_term("modality", frame.modality or "") or NOT_STATED)
    part = make_map(filled.library, "pca", most=50)
    assert len(part.ids) == 50 and part.total == found.total
    assert np.array_equal(part.ids, make_map(filled.library, "pca", most=50).ids)
    guessed = make_map(filled.library, "pca", guesses=Guesses(filled.encoder))
    assert NOT_STATED not in guessed.groups("modality").names and guessed.guessed
    with pytest.raises(InputError, match="not by 'age'"):
        found.groups("age")  # type: ignore[arg-type]


def test_an_empty_library_has_no_map(tmp_path: Path) -> None:
    with Library.create_or_open(tmp_path / "empty") as empty, pytest.raises(LibraryEmpty):
        make_map(empty)


def test_the_page_names_every_point_at_its_place(filled: Opened) -> None:
    found = make_map(filled.library, "pca")
    text = map_page(found, "modality", "Map <b>")
    assert text.isascii() and "Map &lt;b&gt;" in text and text.count("<script>") == 1 and 'id="pictures"' not in text
    titles = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*><title>([^<]*)</title>', text)
    assert len(titles) == len(found.ids)
    groups = found.groups("modality")
    grey = groups.names.index(NOT_STATED)  # is drawn first, so that it hides nothing
    order = np.lexsort((groups.of, groups.of != grey))
    names = [Path(found.frames[place].path).name for place in order]
    assert [title.split(" &#183; ")[0] for _, _, title in titles] == names
    places = np.array([(float(x), -float(y)) for x, y, _ in titles])
    points = found.projection.points[order]
    for axis in (0, 1):  # the drawn places are the map's, but for scale and origin
        assert np.corrcoef(places[:, axis], points[:, axis])[0, 1] > 0.99999
    hidden = map_page(found, "folder", "Map", redact_paths=True)
    assert not any(name in hidden for name in names)


def test_a_page_holds_small_pictures_only_when_they_are_wanted(filled: Opened) -> None:
    found = make_map(filled.library, "pca")
    pictures = small_pictures(found)
    text = map_page(found, "modality", "Map", pictures=pictures)
    held = json.loads(text.partition('id="pictures">')[2].partition("</script>")[0])
    assert len(held) == len(found.ids) and "protect it as you protect the scans" in text
    # Group after group, as the script reads them; each is the picture that its file has.
    order = np.argsort(found.groups("modality").of, kind="stable")
    for place, (index, picture) in enumerate(zip(order, held, strict=True)):
        shown = thumbnail(found.frames[index].path, found.frames[index].frame, 96)
        assert (picture is None) == isinstance(shown, str)
        if picture is not None and not isinstance(shown, str) and place < 5:
            assert f"data:image/jpeg;base64,{picture}" == data_uri(shown)
    assert len(text) < len(map_page(found, "modality", "Map")) + 8_000 * len(held)


def test_the_rounds_of_umap_are_counted_as_tqdm_counts_them() -> None:
    tqdm: Any = pytest.importorskip("tqdm").tqdm
    told: list[int] = []

    class Told(Silent):
        def start(self, total: int, done: int = 0) -> None:
            told.append(-total)

        def advance(self, count: int, **figures: float) -> None:
            told.append(count)

    for _ in tqdm(range(40), file=_Rounds(Told()), bar_format="{n}/{total} ", mininterval=0):
        pass
    assert told[0] == -40 and sum(told[1:]) == 40 and min(told[1:]) >= 0


def test_names_that_mean_harm_stay_text(tmp_path: Path) -> None:
    folder = tmp_path / "$x_1$<b>"
    folder.mkdir()
    for number, name in enumerate(["a<script>.png", "_\udcff.png", "'\".png", "$$.png"]):
        Image.new("L", (30, 30), 60 * number).save(folder / name, "PNG")
    opened = Opened(tmp_path / "library", ToyEncoder())
    opened.index(folder)
    text = map_page(make_map(opened.library, "pca"), "folder", "Map")
    assert text.count("<script>") == 1 and "a&lt;script&gt;.png" in text and "&lt;b&gt; (4)" in text


def test_a_map_is_written_as_its_name_says(filled: Opened, tmp_path: Path) -> None:
    found = make_map(filled.library, "pca")
    write_map(tmp_path / "a.html", found, "modality", "Map")
    write_map(tmp_path / "a.html", found, "body_part", "Map")
    assert (tmp_path / "a.html").stat().st_mode & 0o777 == 0o600
    write_map(tmp_path / "a.png", found, "modality", "Map")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (8 * 144, 6 * 144)
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 50
    with pytest.raises(InputError, match=r"exists, so it is kept; .* `force=True`"):
        write_map(tmp_path / "a.png", found, "modality", "Map")
    write_map(tmp_path / "a.png", found, "folder", "Map", force=True)
    with pytest.raises(InputError, match=r"as \.html or \.png"):
        write_map(tmp_path / "a.pdf", found, "modality", "Map")
