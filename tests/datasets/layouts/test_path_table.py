"""Hugging Face's imagefolder, and tables of paths and captions as open_clip and others read them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.errors import InputError
from tests.datasets.drawing import SHARED, draw, grey_of, write_csv, write_lines
from tests.imaging.drawing import draw_dicom, ramp

PAIRS = SHARED / "data" / "pairs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two splits with a table each."""
    for split, numbers in (("train", (1, 2, 3)), ("dev", (4, 5))):
        for number in numbers:
            draw(tmp_path / "set" / split / "a" / f"{number}.png", number)
        rows = [
            {"file_name": f"a/{n}.png", "text": f" text  {n}", "group": f"g{n // 2}", "license": "CC BY"}
            for n in numbers
        ]
        write_lines(tmp_path / "set" / split / "metadata.jsonl", rows)
    return tmp_path / "set"


def test_a_table_in_the_folder_of_each_split(folder: Path) -> None:
    found = open_pairs(folder, "validation")
    assert (found.name, found.layout, found.split) == ("set", "imagefolder", "validation")
    assert [(pair.caption, pair.case, grey_of(pair)) for pair in found.pairs] == [
        ("text 4", "g2", 4),
        ("text 5", "g2", 5),
    ]
    assert found.pairs[0].columns == {"group": "g2", "license": "CC BY"}
    data = open_training(folder)
    assert not data.cut and len(data.train) == 3 and len(data.validation) == 2


def test_the_folder_of_one_split_is_that_split(folder: Path) -> None:
    found = open_pairs(folder / "dev", "dev")
    assert (len(found), found.name, found.split) == (2, "set", "validation")


def test_one_table_for_all_is_divided_by_its_folders(tmp_path: Path) -> None:
    for split, number in (("train", 1), ("test", 2)):
        draw(tmp_path / split / f"{number}.png", number)
    rows = [["train/1.png", "one"], ["test/2.png", "two"]]
    write_csv(tmp_path / "metadata.csv", ["file_name", "caption"], rows)
    assert [grey_of(pair) for pair in open_pairs(tmp_path, "test").pairs] == [2]
    assert [grey_of(pair) for pair in open_pairs(tmp_path, "train").pairs] == [1]


def test_one_table_for_all_is_divided_by_its_column(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        draw(tmp_path / f"{number}.png", number)
    rows = [
        {"file_name": f"{n}.png", "text": str(n), "split": split} for n, split in ((1, "train"), (2, "val"), (3, ""))
    ]
    write_lines(tmp_path / "metadata.jsonl", rows)
    assert [pair.caption for pair in open_pairs(tmp_path, "dev").pairs] == ["2"]
    with pytest.raises(InputError, match="it has train, val, without a split"):
        open_pairs(tmp_path, "test")


def test_a_flat_folder_is_train(tmp_path: Path) -> None:
    draw(tmp_path / "scans" / "1.png", 1)
    pq.write_table(
        pa.table({"file_name": ["1.png"], "caption": ["a"], "finding": [["x", "y"]]}),
        tmp_path / "scans" / "metadata.parquet",
    )
    (pair,) = open_pairs(tmp_path / "scans", "train", caption_columns=["finding"]).pairs
    assert pair.captions == {"a": 0.6, "x, y": pytest.approx(0.4)}


def test_the_hub_keeps_it_in_data(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    folder.rename(tmp_path / "repository" / "data")
    assert open_pairs(tmp_path / "repository", "train").name == "repository"


def test_several_captions_of_an_image(tmp_path: Path) -> None:
    draw(tmp_path / "1.png")
    draw(tmp_path / "2.png")
    rows = [
        {"file_name": "1.png", "captions": ["one", " first ", ""]},
        {"file_name": "2.png", "text": "two", "captions": ["second", "two"]},
    ]
    write_lines(tmp_path / "metadata.jsonl", rows)
    first, second = open_pairs(tmp_path, "train").pairs
    assert second.caption == "two" and second.captions == {"two": 0.6, "second": pytest.approx(0.4)}
    # The table has a column `text`, which the first row leaves empty.
    assert first.caption == "one" and first.captions == {"one": 0.6, "first": pytest.approx(0.4)}


def test_metadata_may_name_dicom(tmp_path: Path) -> None:
    draw_dicom(tmp_path / "1.dcm", ramp())
    write_lines(tmp_path / "metadata.jsonl", [{"file_name": "1.dcm", "text": "a ramp"}])
    (pair,) = open_pairs(tmp_path, "train").pairs
    assert pair.picture.read().shape == (64, 64, 3)


def test_what_is_missing_is_counted(folder: Path) -> None:
    (folder / "train" / "a" / "2.png").unlink()
    left_out = open_pairs(folder, "train").left_out
    assert left_out.examples == {"the image is missing": ["train/a/2.png"]}


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/hostname", r"..\secret.png"])
def test_a_path_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    draw(folder.parent / "secret.png")
    write_lines(
        folder / "dev" / "metadata.jsonl", [{"file_name": "a/4.png", "text": "x"}, {"file_name": name, "text": "x"}]
    )
    with pytest.raises(InputError, match=r"dev/metadata\.jsonl, line 2: .* leads out of the data folder"):
        open_pairs(folder, "dev")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"file_name": "a/4.png", "text": "x"}, "{"], "line 2: not a JSON object"),
        ([{"file_name": "a/4.png", "text": "x"}, {"text": "x"}], "line 2: no path of an image in 'file_name'"),
        ([{"name": "a/4.png", "text": "x"}], r"no column that names the images; it has name, text"),
        ([{"file_name": "a/4.png", "words": "x"}], r"no column of captions, such as 'text' or 'caption' \(1\)"),
        ([{"file_name": "a/4.png", "text": " "}], r"the caption is empty \(1\)"),
    ],
)
def test_bad_metadata_is_told(folder: Path, rows: list[dict[str, str] | str], says: str) -> None:
    write_lines(folder / "dev" / "metadata.jsonl", rows)
    with pytest.raises(InputError, match=says):
        open_pairs(folder, "dev")


@pytest.mark.skipif(not PAIRS.is_dir(), reason="the shared pairs are not beside this checkout")
def test_the_real_pairs() -> None:
    data = open_training(PAIRS)
    assert (len(data.train), len(data.validation), data.cut) == (17084, 1299, False)
    assert not data.train.left_out.counts
    medpix = open_pairs(PAIRS, "dev", where=["source=medpix2"])
    assert len(medpix) == 194 and {pair.columns["source"] for pair in medpix.pairs} == {"medpix2"}
    assert medpix.pairs[0].picture.read().shape[2] == 3
    assert len(open_pairs(PAIRS, "dev", licences=["CC BY"])) == 144


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


def test_a_table_may_name_dicom(tmp_path: Path) -> None:
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


SPELLED = ["train", "Train", "train", "TRAIN", " train", "val", "Val", "test"]


@pytest.mark.parametrize("name", ["all.csv", "train.csv", "folder"])
def test_a_split_may_be_spelled_in_any_case_and_in_the_table_of_another(tmp_path: Path, name: str) -> None:
    rows = [[f"{number}.png", f"caption {number}", split] for number, split in enumerate(SPELLED)]
    for number in range(len(rows)):
        draw(tmp_path / f"{number}.png", number)
    path = write_csv(tmp_path / ("train.csv" if name == "folder" else name), ["file_name", "caption", "split"], rows)
    if name == "folder":
        path = tmp_path
    found = {split: [pair.caption for pair in open_pairs(path, split).pairs] for split in ("train", "dev", "test")}
    assert found == {
        "train": [f"caption {number}" for number in range(5)],
        "dev": ["caption 5", "caption 6"],
        "test": ["caption 7"],
    }


def test_a_column_of_folds_does_not_divide_the_table_of_a_split(tmp_path: Path) -> None:
    draw(tmp_path / "1.png")
    rows = [["1.png", "a", "3"], ["1.png", "b", "train"]]
    write_csv(tmp_path / "train.csv", ["path", "caption", "split"], rows)
    assert len(open_pairs(tmp_path, "train")) == 2


def test_a_damaged_table_of_another_split_is_refused_when_that_is_opened(tmp_path: Path) -> None:
    draw(tmp_path / "1.png")
    write_csv(tmp_path / "train.csv", ["path", "caption"], [["1.png", "a"]])
    write_lines(tmp_path / "test.csv", ["path,caption", "1.png"])
    assert len(open_pairs(tmp_path, "train")) == 1
    with pytest.raises(InputError, match=r"test\.csv, line 2: 1 cells"):
        open_pairs(tmp_path, "test")


def test_paths_written_on_windows(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "a.jpg", 7)
    write_csv(tmp_path / "train.csv", ["file_name", "caption"], [[r"images\a.jpg", "one"], [r".\images\A.JPG", "two"]])
    found = open_pairs(tmp_path / "train.csv", "train")
    assert [pair.caption for pair in found.pairs] == ["one", "two"] and len({p.image for p in found.pairs}) == 1
    write_csv(tmp_path / "b" / "metadata.csv", ["file_name", "caption"], [[r"images\a.jpg", "one"]])
    draw(tmp_path / "b" / "images" / "a.jpg", 8)
    (pair,) = open_pairs(tmp_path / "b", "train").pairs
    assert grey_of(pair) == 8


@pytest.mark.parametrize("name", ["captions.csv", "captions.txt", "results.csv"])
@pytest.mark.parametrize("folder", ["images", "Images/2024", "Flicker8k_Dataset", "scans/all", ""])
def test_a_table_of_captions_beside_a_folder_of_images(tmp_path: Path, name: str, folder: str) -> None:
    for number in (1, 2):
        draw(tmp_path / folder / f"{number}.png", number)
    write_csv(tmp_path / "notes.csv", ["a"], [["b"]])
    delimiter = "|" if name == "results.csv" else ","
    columns = ["image_name", " comment_number", " comment"] if delimiter == "|" else ["image", "number", "caption"]
    rows = [["1.png", " 0", " one"], ["1.png", " 1", " first"], ["2", " 0", " two, without an ending"]]
    write_csv(tmp_path / name, columns, rows, delimiter)
    found = open_pairs(tmp_path, "train")
    assert [(grey_of(pair), pair.caption) for pair in found.pairs] == [
        (1, "one"),
        (1, "first"),
        (2, "two, without an ending"),
    ]


def test_a_name_in_several_folders_is_refused_unless_one_is_for_images(tmp_path: Path) -> None:
    for number, folder in enumerate(("a", "b")):
        draw(tmp_path / folder / "1.png", number)
    write_csv(tmp_path / "captions.csv", ["path", "caption"], [["1.png", "one"]])
    with pytest.raises(InputError, match=r"captions\.csv, line 2: '1\.png' is in several folders"):
        open_pairs(tmp_path, "train")
    draw(tmp_path / "images" / "1.png", 7)
    assert grey_of(open_pairs(tmp_path, "train").pairs[0]) == 7


@pytest.mark.parametrize("folder", ["images", "scans"])
def test_a_mask_is_not_taken_for_the_image_that_is_missing(tmp_path: Path, folder: str) -> None:
    for name in ("1.png", "2.png"):
        draw(tmp_path / "masks" / name, 255)
    draw(tmp_path / folder / "1.png", 7)
    write_csv(tmp_path / "captions.csv", ["path", "caption"], [["1.png", "one"], ["2.png", "two"]])
    found = open_pairs(tmp_path, "train")
    assert [grey_of(pair) for pair in found.pairs] == [7]
    assert found.left_out.examples == {"the image is missing": ["2.png"]}


def test_of_several_tables_that_of_the_captions_is_taken(tmp_path: Path) -> None:
    draw(tmp_path / "1.png")
    for name in ("old", "new"):
        write_csv(tmp_path / f"{name}.csv", ["path", "caption"], [["1.png", name]])
    with pytest.raises(InputError, match=r"2 tables of images and captions: new\.csv, old\.csv"):
        open_pairs(tmp_path, "train")
    write_lines(tmp_path / "captions.csv", ["path,caption", "1.png"])
    with pytest.raises(InputError, match=r"captions\.csv, line 2: 1 cells"):
        open_pairs(tmp_path, "train")
    write_csv(tmp_path / "captions.csv", ["path", "caption"], [["1.png", "captions"]])
    assert open_pairs(tmp_path, "train").pairs[0].caption == "captions"


def test_an_object_is_no_caption(tmp_path: Path) -> None:
    draw(tmp_path / "1.png")
    write_lines(tmp_path / "metadata.jsonl", [{"file_name": "1.png", "text": t} for t in ({"en": "a"}, "b")])
    found = open_pairs(tmp_path, "train")
    assert [pair.caption for pair in found.pairs] == ["b"] and found.left_out.counts == {"the caption is empty": 1}
