"""ROCOv2 as its archive unpacks, and as copies of it do."""

from __future__ import annotations

from pathlib import Path

import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.errors import InputError
from tests.datasets.drawing import draw, grey_of, write_csv


def name(split: str, number: int) -> str:
    return f"ROCOv2_2023_{split}_{number:06d}"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "rocov2"
    for split in ("train", "valid", "test"):
        captions = [[name(split, i), f" CT, with a {word} \n"] for i, word in ((1, "mass"), (2, "cyst"), (3, "scar"))]
        write_csv(root / f"{split}_captions.csv", ["ID", "Caption"], captions)
        write_csv(root / f"{split}_concepts.csv", ["ID", "CUIs"], [[name(split, 1), "C0040405;C0000001"]])
        write_csv(root / f"{split}_concepts_manual.csv", ["ID", "CUIs"], [[name(split, 1), "C0040405"]])
    write_csv(root / "cui_mapping.csv", ["CUI", "Canonical name"], [["C0040405", "X-Ray Computed Tomography"]])
    licences = [
        [name(split, i), f"PMC{split}{i}", f"{code} [Ji et al. (2013)]", "https://example.org"]
        for split in ("train", "valid", "test")
        for i, code in ((1, "CC BY"), (2, "CC BY-NC"))
    ]
    write_csv(root / "license_information.csv", ["ID", "PMCID", "Attribution", "Link"], licences)
    return root


@pytest.mark.parametrize("place", ["{0}_images/{0}", "{0}_images", "{0}", "images/{0}", "images", ""])
def test_images_wherever_they_were_unpacked(archive: Path, place: str) -> None:
    for split in ("train", "valid", "test"):
        for number in (1, 2):
            draw(archive / place.format(split) / f"{name(split, number)}.png", 10 * number + len(split))
    found = open_pairs(archive, "valid")
    assert (found.name, found.layout, found.split) == ("rocov2", "ROCOv2", "validation")
    assert [grey_of(pair) for pair in found.pairs] == [15, 25]
    missing = f"{name('valid', 3)}.jpg"
    (example,) = found.left_out.examples["the image is missing"]
    assert example.endswith(missing) and found.left_out.counts == {"the image is missing": 1}


def test_what_the_tables_say(archive: Path) -> None:
    for number in (1, 2, 3):
        draw(archive / "test_images" / f"{name('test', number)}.jpg")
    first, second, third = open_pairs(archive, "test").pairs
    assert first.caption == "CT, with a mass" and first.case == "PMCtest1"
    assert first.columns == {
        "id": "ROCOv2_2023_test_000001",
        "cuis": ["C0040405", "C0000001"],
        "concepts": ["X-Ray Computed Tomography"],
        "licence": "CC BY",
        "attribution": "CC BY [Ji et al. (2013)]",
        "pmc_id": "PMCtest1",
    }
    assert second.columns["cuis"] == second.columns["concepts"] == []
    assert third.case is None and third.columns["licence"] is None
    found = open_pairs(archive, "test", licences=["CC BY"], caption_columns=["concepts"])
    assert [list(pair.captions) for pair in found.pairs] == [["CT, with a mass", "X-Ray Computed Tomography"]]
    assert found.left_out.counts == {"under another licence than asked for": 1, "no licence is stated": 1}


def test_the_table_of_captions_is_enough(tmp_path: Path) -> None:
    write_csv(tmp_path / "train_captions.csv", ["ID", "Caption"], [["a", "one"], ["b", "two"]])
    for stem in "ab":
        draw(tmp_path / "train" / f"{stem}.jpg")
    data = open_training(tmp_path, validation_share=0.5)
    assert data.cut
    assert [pair.columns.keys() for pair in (*data.train.pairs, *data.validation.pairs)] == [{"id"}, {"id"}]


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "train_captions.csv", ["ID", "Words"], [["a", "one"]])
    with pytest.raises(InputError, match=r"train_captions\.csv has no column 'caption'; it has ID, Words"):
        open_pairs(tmp_path, "train")


def test_a_line_without_an_id_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "train_captions.csv", ["ID", "Caption"], [["a", "one"], ["", "two"]])
    with pytest.raises(InputError, match=r"train_captions\.csv, line 3: no id"):
        open_pairs(tmp_path, "train")
