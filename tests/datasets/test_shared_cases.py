"""The public problem files on tables and splits, each with the answer that its ``expected.json`` gives.

They are not part of this repository; the same conditions are tested on files of our own beside this one.
"""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.errors import InputError
from roco_search.training.batches import positives
from tests.datasets.drawing import SHARED, draw

CASES = SHARED / "cases" / "data"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not beside this checkout")


def case(number: str, folder: Path, *images: str) -> Path:
    """Copy a case, and draw the images that its table names."""
    (found,) = CASES.glob(f"{number}-*")
    copied = Path(copytree(found, folder / "case"))
    for path in (copied, *copied.iterdir()):
        path.chmod(0o755)
    for number_of, name in enumerate(images):
        draw(copied / name, number_of)
    return copied


def test_02_captions_of_one_file_are_no_negatives(tmp_path: Path) -> None:
    lines = (next(CASES.glob("01-*")) / "test.csv").read_text("utf-8").splitlines()[1:]
    names = list(dict.fromkeys(line.partition(",")[0] for line in lines))
    folder = case("01", tmp_path, *names)
    pairs = open_pairs(folder / "test.csv", "test").pairs
    shown = np.array([pair.picture.name for pair in pairs])
    found = positives(pairs, [pair.caption for pair in pairs])
    assert len(pairs) == 60 and found[shown[:, None] == shown[None, :]].all()


def test_03_an_unbalanced_quote_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 3"):
        open_pairs(case("03", tmp_path) / "captions.tsv", "train")


@pytest.mark.parametrize("name", ["all.csv", ""])
def test_10_splits_of_any_spelling(tmp_path: Path, name: str) -> None:
    folder = case("10", tmp_path, *(f"{number}.jpg" for number in range(8)))
    if not name:
        (folder / "all.csv").unlink()
    assert [len(open_pairs(folder / name, split)) for split in ("train", "validation", "test")] == [5, 2, 1]


def test_18_windows_paths(tmp_path: Path) -> None:
    folder = case("18", tmp_path, "images/a.jpg", "images/b.jpg")
    assert [pair.caption for pair in open_pairs(folder / "train.csv", "train").pairs] == ["one", "two"]


def test_20_an_image_in_both_splits(tmp_path: Path) -> None:
    data = open_training(case("20", tmp_path, *(f"{number}.jpg" for number in range(4))) / "all.csv")
    assert [pair.caption for pair in data.train.pairs] == ["one", "two"] and len(data.validation) == 2
    assert data.train.left_out.counts == {"the image is in the validation split too": 1}
