"""How a data set is named and described, without a path of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.datasets.report import dataset_name, describe, relative_name
from tests.datasets.drawing import draw, write_lines


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("scans", "scans"),
        ("roco-dataset/data", "roco-dataset"),
        ("roco-dataset/data/test/radiology", "roco-dataset"),
        ("pairs/dev", "pairs"),
        ("pairs/train.csv", "pairs"),
        ("pairs/list.v2.csv", "list.v2"),
    ],
)
def test_its_name(tmp_path: Path, path: str, name: str) -> None:
    place = tmp_path / path
    if path.endswith(".csv"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    else:
        place.mkdir(parents=True)
    assert dataset_name(place) == name


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scans" / "train").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "scans" / "train")
    assert dataset_name(Path()) == "scans"


def test_a_path_in_a_report() -> None:
    assert relative_name(Path("/a/b/c.png"), Path("/a")) == "b/c.png"
    assert relative_name(Path("/x/c.png"), Path("/a")) == "/x/c.png"


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
        "The data does not state which images are of one case: each counts as a case of its own.",
        "The data has no validation split: whole cases were split off train by the seed, 4 pairs (4 distinct "
        "captions).",
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
