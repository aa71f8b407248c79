"""What is there twice: told by kind, against comparing every pair."""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from roco_search.curation import Duplicates, duplicates, find_duplicates
from roco_search.curation.pictures import SIDE, Pictures
from roco_search.errors import InputError
from roco_search.library.truth.frames import Columns, ListedFile
from tests.curation.stored import stored
from tests.library.toy import Opened, ToyEncoder, draw, draw_pages

SCANS = Path(__file__).parents[3] / "shared" / "scans"


def smooth(path: Path, seed: int, shade: float = 1.0) -> Path:
    """Write a picture that survives a JPEG: a few soft blobs."""
    chance = np.random.default_rng(seed)
    coarse = Image.fromarray(chance.integers(0, 256, (5, 5), dtype=np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.asarray(coarse) * shade).astype(np.uint8)).save(path)
    return path


def names(found: Duplicates) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(group.kind, [(Path(c.path).name, c.relation) for c in group.images]) for group in found.groups]


def test_three_kinds_of_duplicates(opened: Opened, scans: Path) -> None:
    for seed in range(4):
        smooth(scans / f"{seed}.png", seed)
    (scans / "x").mkdir()
    shutil.copy(scans / "0.png", scans / "x" / "copy.png")
    Image.open(scans / "1.png").save(scans / "x" / "again.tif")
    Image.open(scans / "2.png").save(scans / "x" / "lossy.jpg", quality=80)
    opened.index(scans)
    found = find_duplicates(opened.library)
    assert names(found) == [
        ("identical file", [("0.png", "first"), ("copy.png", "identical file")]),
        ("same pixels", [("1.png", "first"), ("again.tif", "same pixels")]),
        ("near", [("2.png", "first"), ("lossy.jpg", "near")]),
    ]
    near = found.groups[2].images[1]
    keys, vectors = stored(opened)
    one, other = (vectors[keys.index((str(scans / name), 0))] for name in ("2.png", "x/lossy.jpg"))
    assert near.score == pytest.approx(float(one @ other), abs=1e-6)
    small = [
        np.asarray(Image.open(scans / name).resize((SIDE, SIDE), Image.Resampling.BOX), float).ravel()
        for name in ("2.png", "x/lossy.jpg")
    ]
    assert near.agreement == pytest.approx(np.corrcoef(small)[0, 1], abs=1e-4)
    assert found.images == 7 and found.unreadable == []
    assert [group.kind for group in find_duplicates(opened.library, exact=True).groups] == [
        "identical file",
        "same pixels",
    ]
    assert names(find_duplicates(opened.library, under=scans / "x")) == []


def test_a_look_alike_is_no_duplicate(opened: Opened, scans: Path) -> None:
    """Two pictures whose embeddings are the same and whose pixels are not: an encoder cannot see what it cannot see."""
    chance = np.random.default_rng(0)
    for name in ("one.png", "other.png"):
        noise = chance.integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(noise).save(scans / name)

    class Blind(ToyEncoder):
        def encode_one(self, image: np.ndarray) -> np.ndarray:
            return self._unit(np.ones((1, self.dim), np.float32))

    opened.encoder = Blind()
    opened.index(scans)
    assert find_duplicates(opened.library).groups == []
    (group,) = find_duplicates(opened.library, compare_pictures=False).groups
    assert group.images[1].score == pytest.approx(1) and group.images[1].agreement is None


def test_a_copy_of_a_near_duplicate_is_told_once(opened: Opened, scans: Path) -> None:
    smooth(scans / "a.png", 0)
    shutil.copy(scans / "a.png", scans / "b.png")
    Image.open(scans / "a.png").save(scans / "c.jpg", quality=80)
    shutil.copy(scans / "c.jpg", scans / "d.jpg")
    opened.index(scans)
    assert names(find_duplicates(opened.library)) == [
        ("near", [("a.png", "first"), ("b.png", "identical file"), ("c.jpg", "near"), ("d.jpg", "near")])
    ]


def test_frames_of_a_file_and_slices_of_a_series_are_alike_by_nature(opened: Opened, scans: Path) -> None:
    pages = [Image.open(smooth(scans / f"{seed}.png", 0, shade)) for seed, shade in enumerate((1.0, 0.99, 0.98))]
    pages[0].save(scans / "pages.tif", save_all=True, append_images=pages[1:])
    opened.index(scans, frames="all")
    for frame_id in range(1, 7):
        opened.describe([frame_id], series="one", instance_number=frame_id)
    assert find_duplicates(opened.library).groups == []
    (group,) = find_duplicates(opened.library, within_series=True).groups
    assert len(group.images) == 6
    opened.describe([1, 2], instance_number=7)
    assert names(find_duplicates(opened.library)) == [("near", [("0.png", "first"), ("1.png", "near")])]


def test_equal_files_of_many_frames_are_one_group(opened: Opened, scans: Path) -> None:
    draw_pages(scans / "a.tif", range(4))
    shutil.copy(scans / "a.tif", scans / "b.tif")
    opened.index(scans, frames="all")
    (group,) = find_duplicates(opened.library).groups
    assert [(Path(c.path).name, c.frame, c.frames) for c in group.images] == [("a.tif", None, 4), ("b.tif", None, 4)]


def test_what_cannot_be_compared_is_named_and_not_claimed(opened: Opened, scans: Path) -> None:
    for name in ("a.png", "b.tif", "c.bmp"):
        smooth(scans / name, 0)
    opened.index(scans)
    (scans / "b.tif").unlink()
    smooth(scans / "c.bmp", 9)
    found = find_duplicates(opened.library)
    assert found.groups == []
    assert [Path(entry.path).name for entry in found.unreadable] == ["b.tif", "c.bmp"]
    assert all("roco index" in entry.reason for entry in found.unreadable)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threshold": 0.0}, "at most 1"),
        ({"threshold": 1.5}, "at most 1"),
        ({"exact": True, "compare_pictures": False}, "without opening"),
        ({"under": "/nowhere"}, "no image under /nowhere"),
    ],
)
def test_duplicates_refuses(opened: Opened, scans: Path, options: dict[str, Any], says: str) -> None:
    opened.index(draw(scans / "0.png", 0))
    with pytest.raises(InputError, match=says):
        find_duplicates(opened.library, **options)


def columns_of(count: int, series: np.ndarray, instance: np.ndarray) -> Columns:
    rows = np.arange(count)
    files = [ListedFile(f"/{row}", 0, 0, "/") for row in range(count)]
    return Columns(rows + 1, rows, rows, rows * 0, rows * 0 + 1, series, instance, files)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6), count=st.integers(1, 40), centres=st.integers(1, 6), within=st.booleans(),
    rows=st.integers(1, 9), columns=st.integers(1, 50),
)  # fmt: skip
def test_blocks_find_what_comparing_every_pair_finds(
    seed: int, count: int, centres: int, within: bool, rows: int, columns: int
) -> None:
    chance = np.random.default_rng(seed)
    vectors = chance.normal(size=(centres, 8))[chance.integers(0, centres, count)] + 0.2 * chance.normal(
        size=(count, 8)
    )
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    table = columns_of(count, chance.integers(-1, 3, count), chance.integers(-1, 2, count))
    least = 0.95

    def comparable(one: int, other: int) -> bool:
        if one == other or (not within and table.series[one] == table.series[other] != -1):
            return one != other and bool(table.instance[one] == table.instance[other] != -1)
        return True

    similar = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    near = [[j for j in range(count) if comparable(i, j) and similar[i, j] >= least] for i in range(count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "ROWS_AT_ONCE", rows)
        patch.setattr(duplicates, "COLUMNS_AT_ONCE", columns)
        found = duplicates._has_partner(vectors, table, np.arange(count), least, within)
        stars = duplicates._stars(vectors, table, np.arange(count), least, within, None, False)
    assert found.tolist() == [bool(others) for others in near]
    expected: dict[int, list[int]] = {}
    for row in range(count):
        leaders = [other for other in near[row] if other < row and other in expected]
        if leaders:
            expected[max(leaders, key=lambda other: similar[row, other])].append(row)
        else:
            expected[row] = []
    assert {leader: [ray.row for ray in rays] for leader, rays in stars.items()} == {
        leader: others for leader, others in expected.items() if others
    }


@given(seed=st.integers(0, 10**6), gain=st.floats(0.2, 3), shift=st.floats(-9, 9))
def test_agreement_is_pearsons_correlation(seed: int, gain: float, shift: float) -> None:
    chance = np.random.default_rng(seed)
    grey = chance.integers(0, 256, (5, SIDE * SIDE), dtype=np.uint8)
    grey[1] = (grey[0] * (gain / 4) + shift + 9).clip(0, 255)
    grey[3:] = [[7], [200]]
    pictures = Pictures(grey, [b""] * 5, [])
    found = pictures.agreement(0, np.arange(1, 5))
    np.testing.assert_allclose(found[:2], np.corrcoef(grey[:3].astype(float))[0, 1:], atol=1e-5)
    np.testing.assert_array_equal(found[2:], 0)
    np.testing.assert_array_equal(pictures.agreement(3, np.array([4, 0])), [1, 0])


@pytest.mark.slow
@pytest.mark.skipif(not SCANS.exists(), reason="the shared scans are not here")
def test_real_scans_saved_as_jpeg_are_found_again(tmp_path: Path) -> None:
    """With the embedded model: half of these pictures come back as JPEG, the others have no double."""
    from roco_search import load_encoder
    from roco_search.library import Library

    chosen = sorted((SCANS / "png").glob("*/*.png"))[::12][:10]
    for number, source in enumerate(chosen):
        with Image.open(source) as picture:
            grey = picture.convert("L")
            grey.save(tmp_path / f"{number}.png")
            if number % 2:
                content = io.BytesIO()
                grey.save(content, "JPEG", quality=85)
                (tmp_path / f"{number}.jpg").write_bytes(content.getvalue())
    with Library.create_or_open(tmp_path / "library") as library:
        library.index([tmp_path], load_encoder("roco-mini"))
        found = find_duplicates(library)
    pairs = {tuple(sorted(Path(c.path).name for c in group.images)) for group in found.groups}
    expected = {(f"{number}.jpg", f"{number}.png") for number in range(1, len(chosen), 2)}
    assert pairs == expected
