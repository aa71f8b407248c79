"""Directories that `datasets` saved, and the same through its loader."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.errors import InputError, UnreadableImage
from tests.datasets.drawing import draw, encoded, grey_of

FEATURES = {
    "image": datasets.Image(),
    "image_id": datasets.Value("string"),
    "caption": datasets.Value("string"),
    "cui": datasets.Sequence(datasets.Value("string")),
}


def made(greys: list[int], features: dict[str, Any] = FEATURES, **columns: list[Any]) -> datasets.Dataset:
    """Return a data set with the columns of eltorio/ROCOv2-radiology."""
    rows = {
        "image": [{"bytes": encoded(grey), "path": None} for grey in greys],
        "image_id": [f"ROCOv2_2023_train_{grey:06d}" for grey in greys],
        "caption": [f" a grey of {grey}\n" for grey in greys],
        "cui": [["C0040405", f"C{grey}"] for grey in greys],
        **columns,
    }
    return datasets.Dataset.from_dict(rows, features=datasets.Features(**features))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    splits = {"train": made([1, 2, 3]), "validation": made([4]), "test": made([5, 6])}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "mine"))
    return tmp_path / "mine"


def test_splits(saved: Path) -> None:
    found = open_pairs(saved, "test", caption_columns=["cui"])
    assert (found.name, found.layout, found.split) == ("mine", "saved data set", "test")
    assert [grey_of(pair) for pair in found.pairs] == [5, 6]
    assert found.pairs[0].captions == {"a grey of 5": 0.6, "C0040405, C5": pytest.approx(0.4)}
    assert found.pairs[0].columns == {"image_id": "ROCOv2_2023_train_000005", "cui": ["C0040405", "C5"]}
    assert found.pairs[1].picture.name == f"{saved} test row 2"
    data = open_training(saved)
    assert not data.cut and len(data.train) == 3 and len(data.validation) == 1


def test_one_data_set_is_train(tmp_path: Path) -> None:
    made([1, 2]).save_to_disk(str(tmp_path / "mine"))
    assert [grey_of(pair) for pair in open_pairs(tmp_path / "mine", "train").pairs] == [1, 2]
    made([3]).save_to_disk(str(tmp_path / "other" / "test"))
    assert len(open_pairs(tmp_path / "other" / "test", "test")) == 1


def test_rows_that_were_chosen_and_shuffled(tmp_path: Path) -> None:
    made(list(range(20))).select([7, 3, 11]).save_to_disk(str(tmp_path / "mine"))
    pairs = open_pairs(tmp_path / "mine", "train").pairs
    assert [(grey_of(pair), pair.caption) for pair in pairs] == [
        (7, "a grey of 7"),
        (3, "a grey of 3"),
        (11, "a grey of 11"),
    ]


def test_threads_read_at_random(tmp_path: Path) -> None:
    made(list(range(120))).save_to_disk(str(tmp_path / "mine"), num_shards=3)
    pairs = open_pairs(tmp_path / "mine", "train").pairs
    order = [i * 37 % 120 for i in range(240)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: grey_of(pairs[i]), order)) == order


def test_an_image_is_read_as_it_is_and_not_by_datasets(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = open_pairs(saved, "train").pairs
    monkeypatch.setattr(datasets.Image, "decode_example", lambda *_, **__: pytest.fail("datasets decoded it"))
    assert grey_of(pairs[0]) == 1


def test_paths_bytes_and_masks(tmp_path: Path) -> None:
    draw(tmp_path / "9.png", 9)
    features = {**FEATURES, "mask": datasets.Image(), "raw": datasets.Value("binary")}
    rows: dict[str, list[Any]] = {
        "image": [{"bytes": None, "path": str(tmp_path / "9.png")}, None],
        "mask": [{"bytes": encoded(1), "path": None}] * 2,
        "raw": [b"x", b"y"],
    }
    made([1, 2], features, **rows).save_to_disk(str(tmp_path / "mine"))
    first, second = open_pairs(tmp_path / "mine", "train").pairs
    assert grey_of(first) == 9 and set(first.columns) == {"image_id", "cui"}
    with pytest.raises(UnreadableImage, match="its cell of the table is empty"):
        second.picture.read()


def test_a_class_is_called_by_its_name(tmp_path: Path) -> None:
    features = {**FEATURES, "modality": datasets.ClassLabel(names=["CT", "MR"])}
    made([1, 2, 3], features, modality=[1, 0, None]).save_to_disk(str(tmp_path / "mine"))
    found = open_pairs(tmp_path / "mine", "train")
    assert [pair.columns["modality"] for pair in found.pairs] == ["MR", "CT", None]
    assert len(open_pairs(tmp_path / "mine", "train", where=["modality=mr"])) == 1


def test_bytes_without_a_feature(tmp_path: Path) -> None:
    made_of = datasets.Dataset.from_dict({"png": [encoded(3)], "text": ["three"]})
    made_of.save_to_disk(str(tmp_path / "mine"))
    (pair,) = open_pairs(tmp_path / "mine", "train").pairs
    assert grey_of(pair) == 3 and pair.columns == {}


def test_one_without_images_is_refused(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["three"]}).save_to_disk(str(tmp_path / "mine"))
    with pytest.raises(InputError, match="has no column of images; it has text"):
        open_pairs(tmp_path / "mine", "train")


def test_one_that_is_damaged_is_refused(saved: Path) -> None:
    (saved / "train" / "state.json").write_text("{")
    with pytest.raises(InputError, match="datasets cannot load it"):
        open_pairs(saved, "train")


def test_without_datasets_the_command_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"need the package datasets.*pip install 'roco-search\[train\]'"):
        open_pairs(saved, "train")
