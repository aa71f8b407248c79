"""The subset of the literature, drawn as its program draws it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from roco_search.errors import InputError
from roco_search.evaluation.m3ae import draw_ids, find_pairs
from tests.evaluation.made import pair

SHARED_ROCO = Path(__file__).parents[2] / "../shared/data/roco/data"
COUNTS = {"train": 311, "validation": 150, "test": 2600}


def captions(split: str) -> list[str]:
    """Lines of a split; every tenth is too short, every eleventh has a tab too many, as some of ROCO's have."""
    lines = []
    for i in range(COUNTS[split]):
        text = "short one" if i % 10 == 3 else f" Axial CT number {i}"
        lines.append(f"{split}_{i:05}\t{text}" + ("\tmore" if i % 11 == 5 else ""))
    return lines


@pytest.fixture
def roco_folder(tmp_path: Path) -> Path:
    for split in COUNTS:
        write(tmp_path / "data", split, captions(split))
    return tmp_path


def write(data: Path, split: str, lines: list[str]) -> None:
    folder = data / split / "radiology"
    folder.mkdir(parents=True)
    (folder / "captions.txt").write_text("\n".join(lines) + "\n", "utf-8")


def drawn(lines: Mapping[str, list[str]]) -> list[str]:
    """M3AE's procedure in its own order: one seed, then a shuffle of train, of validation and of test."""
    random.seed(42)
    for split in ("train", "validation", "test"):
        random.shuffle(lines[split])
    kept = [line.split("\t") for line in lines["test"]]
    return [cells[0] for cells in kept if len(cells) == 2 and len(cells[1].split()) >= 3]


def test_the_shuffles_follow_each_other(roco_folder: Path) -> None:
    before = random.getstate()
    found = draw_ids(roco_folder, "test")
    assert random.getstate() == before, "no one else's random numbers are touched"
    assert len(found) == len(set(found)) == 2000
    assert found == drawn({split: captions(split) for split in COUNTS})[:2000]
    assert draw_ids(roco_folder / "data", "test") == found
    assert not {int(name[-5:]) % 10 for name in found} & {3}, "two words are too few"
    assert not {int(name[-5:]) % 11 for name in found} & {5}, "two tabs are one too many"


def test_a_split_of_fewer_is_whole(roco_folder: Path) -> None:
    found = draw_ids(roco_folder, "validation")
    wanted = {f"validation_{i:05}" for i in range(150) if i % 10 != 3 and i % 11 != 5}
    assert set(found) == wanted and found != sorted(found)
    assert draw_ids(roco_folder, "val") == found


def test_the_number_of_training_captions_decides_which_are_drawn(roco_folder: Path) -> None:
    before = draw_ids(roco_folder, "test")
    path = roco_folder / "data" / "train" / "radiology" / "captions.txt"
    path.write_text("\n".join(captions("train")[:100]))
    assert draw_ids(roco_folder, "test") != before


def test_what_is_missing_is_said(roco_folder: Path) -> None:
    ids = draw_ids(roco_folder, "test")
    made = [pair(0, "a", id=name) for name in reversed(ids[3:])]
    found = find_pairs(ids, [pair(0, "a", id="another"), *made])
    assert found.missing == ids[:3]
    assert [f"{row}" for row in found.rows[:2]] == ["1997", "1996"], "in the order in which they were drawn"
    with pytest.raises(InputError, match="None of the 2,000 pairs of m3ae-2k"):
        find_pairs(ids, [pair(0, "a", id="x"), pair(0, "a")])
    with pytest.raises(InputError, match='use `split="test"`'):
        draw_ids(roco_folder, "train")
    (roco_folder / "data" / "train" / "radiology" / "captions.txt").unlink()
    with pytest.raises(InputError, match=r"no train/radiology/captions.txt .*all three splits"):
        draw_ids(roco_folder, "test")


@pytest.mark.skipif(not SHARED_ROCO.is_dir(), reason="the captions of ROCO are not beside this checkout")
def test_the_real_captions(tmp_path: Path) -> None:
    """The real test and validation captions; ROCO's train captions are not at hand, so their number is made up."""
    for split in ("validation", "test"):
        (tmp_path / split).symlink_to(SHARED_ROCO / split)
    write(tmp_path, "train", [f"ROCO_{i}\ta caption of four" for i in range(65_460)])
    found = draw_ids(tmp_path, "test")
    assert len(set(found)) == 2000 and all(name.startswith("ROCO_") for name in found)
    lines = (SHARED_ROCO / "test" / "radiology" / "captions.txt").read_text("utf-8").splitlines()
    assert set(found) <= {line.split("\t")[0] for line in lines}
