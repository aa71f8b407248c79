"""COCO's captions: several of each image, one file a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.errors import InputError
from tests.datasets.drawing import draw, grey_of

SPLITS = {"train": (1, 2), "val": (3,)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two splits as COCO 2017 has them: the images of each in a folder of its own."""
    for split, numbers in SPLITS.items():
        content: dict[str, Any] = {"info": {}, "images": [], "annotations": []}
        for number in numbers:
            draw(tmp_path / f"{split}2017" / f"{number:012}.jpg", number)
            content["images"].append({"id": number, "file_name": f"{number:012}.jpg", "license": 1})
        for caption in range(2):
            content["annotations"] += [
                {"image_id": n, "id": 10 * caption + n, "caption": f"{caption} of {n}\n"} for n in numbers
            ]
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"captions_{split}2017.json").write_text(json.dumps(content))
    return tmp_path


def test_a_row_for_each_caption_of_an_image(folder: Path) -> None:
    data = open_training(folder)
    assert [(pair.caption, grey_of(pair)) for pair in data.train.pairs] == [
        ("0 of 1", 1), ("0 of 2", 2), ("1 of 1", 1), ("1 of 2", 2),
    ]  # fmt: skip
    assert len(data.validation) == 2 and data.train.layout == "COCO captions"
    assert data.train.pairs[0].captions == {"0 of 1": 1.0, "1 of 1": 0.0}
    assert data.train.pairs[0].columns == {"image_id": 1, "id": 1}


def test_the_file_alone_is_a_split(folder: Path) -> None:
    assert len(open_pairs(folder / "annotations" / "captions_val2017.json", "validation")) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[:-9], "line 1: not JSON"),
        (lambda text: text.replace('"images"', '"pictures"'), "not of the form of COCO"),
        (lambda text: text.replace('"image_id": 3', '"image_id": 4', 1), "annotation 1: there is no such image"),
        (lambda text: text.replace('"image_id": 3', '"image_id": [3]', 1), "annotation 1: there is no such image"),
        (lambda text: text.replace("000000000003.jpg", "../3.jpg"), "annotation 1: there is no such image"),
    ],
)
def test_damage_is_named(folder: Path, change: Any, says: str) -> None:
    path = folder / "annotations" / "captions_val2017.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=says):
        open_pairs(folder, "val")


def test_other_json_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "captions.json").write_text("[1]")
    for path in (tmp_path, tmp_path / "captions.json"):
        with pytest.raises(InputError, match=r"none of the layouts|not read"):
            open_pairs(path, "train")
