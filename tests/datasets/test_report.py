"""What a person is told before the first step."""

from __future__ import annotations

from pathlib import Path

from roco_search.datasets import open_pairs, open_training
from roco_search.datasets.report import describe
from tests.datasets.drawing import draw, write_lines


def write(folder: Path, count: int, **columns: object) -> Path:
    rows = [{"file_name": f"{i}.png", "text": f"text {i % 5}", **columns} for i in range(count)]
    for i in range(count):
        draw(folder / f"{i}.png")
    write_lines(folder / "metadata.jsonl", rows)
    return folder


def test_one_split(tmp_path: Path) -> None:
    folder = write(tmp_path / "scans" / "test", 6, license="CC BY 4.0 (as stated)", case="one")
    for i in range(4):
        (folder / f"{i}.png").unlink()
    assert describe(open_pairs(tmp_path / "scans", "test")) == [
        "scans (imagefolder), test: 2 pairs (1 case, 2 distinct captions).",
        "Licences: CC BY 4.0 (2).",
        "Left out of test: 4 rows, the image is missing (test/0.png, test/1.png, test/2.png, …).",
    ]


def test_a_cut(tmp_path: Path) -> None:
    folder = write(tmp_path / "scans", 20)
    (folder / "7.png").unlink()
    assert describe(open_training(folder, validation_share=0.2)) == [
        "scans (imagefolder), train: 15 pairs (5 distinct captions).",
        "The data does not say which images are of one case: each counts as a case of its own.",
        "The data has no validation split: 4 pairs (4 distinct captions) were cut off train, whole cases only, with "
        "the seed.",
        "Licences in train: not stated (15).",
        "Left out of train: 1 row, the image is missing (7.png).",
    ]


def test_a_validation_split_that_shares_a_case(tmp_path: Path) -> None:
    write(tmp_path / "scans" / "train", 2, case="one")
    with (tmp_path / "scans" / "train" / "metadata.jsonl").open("a") as file:
        file.write('{"file_name": "0.png", "text": "text 9", "case": "two"}\n')
    folder = write(tmp_path / "scans" / "val", 1, case="two")
    with (folder / "metadata.jsonl").open("a") as file:
        file.write('{"file_name": "0.png", "text": " ", "case": "three"}\n')
    assert describe(open_training(tmp_path / "scans")) == [
        "scans (imagefolder), train: 2 pairs (1 case, 2 distinct captions).",
        "Validation: 1 pair (1 case, 1 distinct caption).",
        "Licences in train: not stated (2).",
        "Left out of train: 1 row, the case is in the validation split too (train/0.png).",
        "Left out of validation: 1 row, the caption is empty (val/0.png).",
    ]
