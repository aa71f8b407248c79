"""ROCO as its repository lays it out, written small here, and its real text files where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.datasets.report import describe
from roco_search.errors import InputError
from tests.datasets.drawing import SHARED, draw, grey_of

TEXTS = SHARED / "data" / "roco" / "data"
needs_texts = pytest.mark.skipif(
    not TEXTS.is_dir(), reason="the shared text files of ROCO are not beside this checkout"
)

FILES = {
    "captions.txt": "ROCO_00001\t Axial  MRI.\nROCO_00002\t CT of\tthe chest\nROCO_00003\t \nROCO_00004\t Lost.\n",
    "keywords.txt": "ROCO_00001\t\taxial\tmri\nROCO_00002\t\n",
    "cuis.txt": "ROCO_00001\t\tC0024485\nROCO_00002\t\n",
    "semtypes.txt": "ROCO_00001\tT060\tDiagnostic Procedure\tT023\tBody Part, Organ, or Organ Component\n",
    "licences.txt": "ROCO_ID,PMC_ID,CC\nROCO_00001,PMC1_a_b.jpg,CC BY\nROCO_00002,PMC2_x.jpg,NO-CC CODE\n",
}


def write_split(folder: Path, files: dict[str, str] = FILES) -> Path:
    (folder / "images").mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    for number in (1, 2, 3):
        draw(folder / "images" / f"ROCO_{number:05d}.jpg", 50 * number)
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for split in ("train", "validation", "test"):
        write_split(tmp_path / "roco-dataset" / "data" / split / "radiology")
        write_split(tmp_path / "roco-dataset" / "data" / split / "non-radiology")
    return tmp_path / "roco-dataset"


def test_a_split(repository: Path) -> None:
    found = open_pairs(repository, "test")
    assert (found.name, found.layout, found.split) == ("roco-dataset", "ROCO", "test")
    first, second = found.pairs
    assert [first.caption, second.caption] == ["Axial MRI.", "CT of the chest"]
    assert first.columns == {
        "id": "ROCO_00001",
        "keywords": ["axial", "mri"],
        "cuis": ["C0024485"],
        "semtypes": ["Diagnostic Procedure", "Body Part, Organ, or Organ Component"],
        "licence": "CC BY",
        "pmc_id": "PMC1",
    }
    assert (first.case, second.case) == ("PMC1", "PMC2")
    assert second.columns["keywords"] == second.columns["semtypes"] == []
    assert [round(grey_of(pair) / 50) for pair in found.pairs] == [1, 2]
    assert found.left_out.examples == {
        "the caption is empty": ["data/test/radiology/images/ROCO_00003.jpg"],
        "the image is missing": ["data/test/radiology/images/ROCO_00004.jpg"],
    }


@pytest.mark.parametrize("inside", ["", "data", "data/test", "data/test/radiology"])
def test_any_of_its_folders_may_be_given(repository: Path, inside: str) -> None:
    found = open_pairs(repository / inside, "test")
    assert (len(found), found.name, found.layout) == (2, "roco-dataset", "ROCO")


def test_the_folder_of_one_split_has_no_other(repository: Path) -> None:
    with pytest.raises(InputError, match="no split 'train'; it has test"):
        open_pairs(repository / "data" / "test", "train")


def test_the_current_folder(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "data" / "test" / "radiology")
    assert open_pairs(".", "test").left_out.examples["the image is missing"] == ["images/ROCO_00004.jpg"]


def test_keywords_can_be_captions(repository: Path) -> None:
    first, second = open_pairs(repository, "val", caption_columns=["keywords"]).pairs
    assert first.captions == {"Axial MRI.": 0.6, "axial, mri": pytest.approx(0.4)}
    assert second.captions == {"CT of the chest": 1.0}


def test_a_licence(repository: Path) -> None:
    found = open_pairs(repository, "test", licences=["cc-by"])
    assert [pair.columns["id"] for pair in found.pairs] == ["ROCO_00001"]
    assert found.left_out.counts["under another licence than asked for"] == 1
    found = open_pairs(repository, "test", licences=["NO-CC CODE"])
    assert [pair.columns["id"] for pair in found.pairs] == ["ROCO_00002"]


def test_files_that_are_not_there_are_no_columns(tmp_path: Path) -> None:
    write_split(tmp_path / "train" / "radiology", {"captions.txt": FILES["captions.txt"]})
    first, *_ = open_pairs(tmp_path, "train").pairs
    assert first.columns == {"id": "ROCO_00001"} and first.case is None


def test_a_line_that_is_no_caption_is_named(tmp_path: Path) -> None:
    broken = "ROCO_00001\t One.\n and its second line\n../ROCO_00002\t Out.\n"
    write_split(tmp_path / "train" / "radiology", {"captions.txt": broken})
    left_out = open_pairs(tmp_path, "train").left_out
    assert left_out.examples == {
        "the line is not an id, a tab and a caption": [
            "train/radiology/captions.txt line 2",
            "train/radiology/captions.txt line 3",
        ]
    }


def test_articles_of_the_validation_split_are_left_out_of_train(repository: Path) -> None:
    text = "ROCO_ID,PMC_ID,CC\nROCO_00001,PMC9_a.jpg,CC BY\nROCO_00002,PMC2_other.jpg,CC BY\n"
    (repository / "data" / "validation" / "radiology" / "licences.txt").write_text(text)
    data = open_training(repository)
    assert not data.cut
    assert [pair.case for pair in data.train.pairs] == ["PMC1"]
    assert [pair.case for pair in data.validation.pairs] == ["PMC9", "PMC2"]
    assert data.train.left_out.examples["the case is in the validation split too"] == [
        "data/train/radiology/images/ROCO_00002.jpg"
    ]


@needs_texts
def test_the_real_text_of_the_test_split(tmp_path: Path) -> None:
    """8,179 rows, of which three images are gone, as in the copy of it on the hub."""
    folder = tmp_path / "data" / "test" / "radiology"
    (folder / "images").mkdir(parents=True)
    for file in (TEXTS / "test" / "radiology").glob("*.txt"):
        (folder / file.name).symlink_to(file)
    stand_in = draw(tmp_path / "one.jpg", 90)
    ids = [line.split("\t")[0] for line in (folder / "captions.txt").read_text("utf-8").splitlines()]
    gone = {ids[0], ids[4000], ids[-1]}
    for name in ids:
        if name not in gone:
            os.link(stand_in, folder / "images" / f"{name}.jpg")

    found = open_pairs(tmp_path, "test")
    assert len(found) + sum(found.left_out.counts.values()) == 8179
    assert found.left_out.counts == {"the image is missing": 3}
    assert len(found) == 8176
    assert [pair.columns["id"] for pair in found.pairs] == [name for name in ids if name not in gone]
    assert all(pair.caption == pair.caption.strip() for pair in found.pairs)
    first = found.pairs[0]
    assert first.caption.startswith("Coronal plain computed tomography image showing multiple large tumor masses")
    assert first.columns["keywords"][:3] == ["tumor", "abdominal", "cavity"]
    assert first.columns["cuis"][0] == "C0040395" and first.columns["semtypes"][0] == "Diagnostic Procedure"
    assert all(str(pair.case).startswith("PMC") and "_" not in str(pair.case) for pair in found.pairs)
    assert abs(grey_of(found.pairs[-1]) - 90) <= 1

    (size, licences, left_out) = describe(found)
    assert size.startswith(f"{tmp_path.name} (ROCO), test: 8,176 pairs (")
    assert "CC BY (3,4" in licences and "NO-CC CODE (93" in licences
    assert left_out.startswith(
        "Left out of test: 3 rows, the image is missing (data/test/radiology/images/ROCO_00001.jpg"
    )
    assert len(open_pairs(tmp_path, "test", licences=["CC BY"])) == sum(
        pair.columns["licence"] == "CC BY" for pair in found.pairs
    )


@needs_texts
def test_the_real_text_without_images() -> None:
    with pytest.raises(InputError, match=r"the image is missing \(8,179\)"):
        open_pairs(TEXTS.parent, "test")
