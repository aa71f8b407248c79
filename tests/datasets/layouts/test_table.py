"""A table of paths and captions, as open_clip and others take it."""

from __future__ import annotations

from pathlib import Path

import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.errors import InputError
from tests.datasets.drawing import draw, grey_of, write_csv, write_lines
from tests.imaging.drawing import draw_dicom, ramp


@pytest.mark.parametrize("column", ["path", "file_name", "filepath", "image", "Image Path"])
@pytest.mark.parametrize("caption", ["caption", "text", "title"])
def test_the_names_of_its_columns(tmp_path: Path, column: str, caption: str) -> None:
    draw(tmp_path / "images" / "1.png", 7)
    path = write_csv(tmp_path / "list.csv", [column, caption, "age"], [["images/1.png", " a  chest ", "40"]])
    found = open_pairs(path, "train")
    assert (found.name, found.layout) == ("list", "table of paths")
    (pair,) = found.pairs
    assert (pair.caption, pair.columns, grey_of(pair)) == ("a chest", {"age": "40"}, 7)


def test_as_open_clip_writes_it(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 7)
    path = write_csv(tmp_path / "train.csv", ["filepath", "title"], [["1.png", "a chest, frontal"]], "\t")
    assert open_pairs(path, "train").pairs[0].caption == "a chest, frontal"


def test_paths_may_lead_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "beside.png", 1)
    absolute = draw(tmp_path / "elsewhere" / "2.png", 2)
    draw(tmp_path / "current" / "sub" / "3.png", 3)
    monkeypatch.chdir(tmp_path / "current")
    rows = [["../beside.png", "one"], [str(absolute), "two"], ["sub/3.png", "three"], ["gone/5.png", "five"]]
    path = write_csv(tmp_path / "tables" / "all.tsv", ["path", "caption"], rows, "\t")
    found = open_pairs(path, "train")
    assert [grey_of(pair) for pair in found.pairs] == [1, 2, 3]
    assert found.left_out.examples == {"the image is missing": ["gone/5.png"]}


def test_dicom_works_too(tmp_path: Path) -> None:
    draw_dicom(tmp_path / "1.dcm", ramp())
    path = write_csv(tmp_path / "list.csv", ["path", "caption"], [["1.dcm", "a ramp"]])
    assert open_pairs(path, "train").pairs[0].picture.read().shape == (64, 64, 3)


def test_a_column_of_splits(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / f"{number}.png", number)
    rows = [{"path": f"{n}.png", "text": str(n), "split": ("train", "train", "val", "test")[n]} for n in range(4)]
    path = write_lines(tmp_path / "list.jsonl", rows)
    data = open_training(path)
    assert not data.cut and [pair.caption for pair in data.train.pairs] == ["0", "1"]
    assert [pair.caption for pair in open_pairs(path, "test").pairs] == ["3"]


def test_a_table_for_each_split(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 1)
    for split in ("train", "val"):
        write_csv(tmp_path / f"{split}.csv", ["path", "caption"], [["1.png", split]])
    write_csv(tmp_path / "notes.csv", ["a"], [["b"]])
    assert open_pairs(tmp_path, "dev").pairs[0].caption == "val"
    with pytest.raises(InputError, match=r"it has train, val\."):
        open_pairs(tmp_path, "test")


def test_the_name_of_a_table_may_be_its_split(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 1)
    path = write_csv(tmp_path / "test.csv", ["path", "caption"], [["1.png", "a"]])
    assert open_pairs(path, "test").split == "test"


def test_a_table_without_paths_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "list.csv", ["where", "caption"], [["1.png", "a"]])
    with pytest.raises(InputError, match="no column that names the images; it has where, caption"):
        open_pairs(path, "train")


def test_a_line_without_a_path_is_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "list.csv", ["path", "caption"], [["1.png", "a"], [" ", "b"]])
    with pytest.raises(InputError, match=r"list\.csv, line 3: no path"):
        open_pairs(path, "train")
