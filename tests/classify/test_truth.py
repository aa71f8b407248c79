"""A table says what images really show, or the line that cannot be used is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roco_search.classify import Label
from roco_search.classify.truth import Truth
from roco_search.errors import InputError
from tests.concepts import draw

NORMAL_OR_PNEUMONIA = [Label("normal", aliases=("no finding",)), Label("pneumonia")]


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def images(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "images"
    return {name: str(draw(folder / name, "ct").resolve()) for name in ("a.png", "b.png", "c.png")}


def truth_of(table: Path, images: dict[str, str], mode: str = "exclusive", **options: object) -> dict[str, list[float]]:
    truth = Truth(table, NORMAL_OR_PNEUMONIA, mode, options.pop("column", None))  # type: ignore[arg-type]
    found = truth.match(images.values(), allow_missing=True, **options)  # type: ignore[arg-type]
    return {Path(path).name: value.tolist() for path, value in found.values.items()}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "path,label\nimages/a.png,normal\nimages/b.png,Pneumonia\nelsewhere.png,glioma\n"),
        ("t.csv", '\ufefflabel,path\r\nno finding,images/a.png\r\n"pneumonia","images/b.png"\r\n'),
        ("t.tsv", "file_name\tage\tlabel\nimages/a.png\t4\tnormal\nimages/b.png\t5\tpneumonia\n"),
        ("t.txt", "path;label\nimages/a.png;normal\nimages/b.png;pneumonia\n"),
        (
            "t.jsonl",
            '{"file_name": "images/a.png", "labels": ["No Finding", "PA"]}\n\n'
            '{"file_name": "images/b.png", "labels": ["pneumonia", "viral"]}\n',
        ),
    ],
)
def test_every_kind_of_table_says_the_same(tmp_path: Path, images: dict[str, str], name: str, text: str) -> None:
    assert truth_of(write(tmp_path / name, text), images) == {"a.png": [1, 0], "b.png": [0, 1]}


def test_paths_may_be_absolute_or_relative_to_a_given_folder(tmp_path: Path, images: dict[str, str]) -> None:
    (tmp_path / "tables").mkdir()
    table = write(tmp_path / "tables" / "t.csv", f"path,label\na.png,normal\n{images['b.png']},pneumonia\n")
    found = truth_of(table, images, folders=[tmp_path / "images"])
    assert found == {"a.png": [1, 0], "b.png": [0, 1]}


def test_several_labels_of_an_image(tmp_path: Path, images: dict[str, str]) -> None:
    text = "path,label\nimages/a.png,normal\nimages/b.png,pneumonia;effusion\nimages/c.png,pneumonia | normal\n"
    expected = {"a.png": [1, 0], "b.png": [0, 1], "c.png": [1, 1]}
    assert truth_of(write(tmp_path / "t.csv", text), images, "multi-label") == expected
    with pytest.raises(InputError, match=r"line 4: 'normal' and 'pneumonia' both.*`multi_label`"):
        truth_of(tmp_path / "t.csv", images)
    text = "path,No Finding,pneumonia\nimages/a.png,1,0\nimages/b.png,0.0,\nimages/c.png,-1,true\n"
    found = truth_of(write(tmp_path / "t.csv", text), images, "multi-label")
    np.testing.assert_equal(found, {"a.png": [1, 0], "b.png": [0, np.nan], "c.png": [np.nan, 1]})


@pytest.mark.parametrize(
    ("text", "mode", "column", "says"),
    [
        ("image,label\na,b\n", "exclusive", None, "no column 'path' or 'file_name'; it has image, label"),
        ("path,finding\nx,y\n", "exclusive", None, "no column 'label'; it has finding. Name one"),
        ("path,finding\nx,y\n", "exclusive", "truth", "no column 'truth'; it has finding"),
        ("path,normal\nx,1\n", "multi-label", None, "no column for 'pneumonia'; it has normal"),
        ("path,label\n", "exclusive", None, "has no row"),
        ("path,label\n,normal\n", "exclusive", None, "line 2: no file"),
        ("path,label\nimages/a.png,normal,x\n", "exclusive", None, "line 2: 3 cells where the header has 2"),
        ("path,label\nother.png,normal\n", "exclusive", None, "says nothing of these images"),
        ("path,label\nimages/a.png,glioma\n", "exclusive", None, "'glioma' (1), none of which is among the labels"),
        ("path,label\nimages/a.png,glioma\n", "multi-label", None, "'glioma' (1), none of which is among the labels"),
        ("path,label\nimages/a.png,\n", "exclusive", None, "has none of the labels"),
        ("path,label\nimages/a.png,normal\nimages/a.png,pneumonia\n", "exclusive", None, "line 3: images/a.png was in"),
        ("path,normal,pneumonia\nimages/a.png,1,maybe\n", "multi-label", None, "line 2: column 'pneumonia' is neither"),
        ('{"path": "images/a.png"\n', "exclusive", None, "line 1: not a JSON object"),
        ('{"path": "a\\u0000.png", "label": "normal"}\n', "exclusive", None, "line 1: no file"),
        ('{"path": "\\ud800.png", "label": "normal"}\n', "exclusive", None, "line 1: no file"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_named(
    tmp_path: Path, images: dict[str, str], text: str, mode: str, column: str | None, says: str
) -> None:
    with pytest.raises(InputError) as refused:
        truth_of(write(tmp_path / "t.csv", text), images, mode, column=column)
    assert says in str(refused.value)


def test_a_name_too_long_for_any_file_is_that_of_none(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", f"path,label\n{'x' * 5000}.png,normal\n")
    assert Truth(table, NORMAL_OR_PNEUMONIA, "exclusive").files() == [str(tmp_path / f"{'x' * 5000}.png")]


def test_other_truth_can_be_left_out(tmp_path: Path, images: dict[str, str]) -> None:
    table = write(tmp_path / "t.csv", "path,label\nimages/a.png,normal\nimages/b.png,glioma\nimages/c.png,\n")
    found = Truth(table, NORMAL_OR_PNEUMONIA, "exclusive").match(images.values(), ignore_other=True)
    assert list(found.values) == [images["a.png"]]
    assert (found.left_out, found.other) == ([images["b.png"], images["c.png"]], {"glioma": 1})


def test_a_table_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"path,label\na.png,\xff\xfe\n")
    for name, says in (("t.csv", r"t\.csv, line 2: .*UTF-8"), ("absent.csv", "no truth file .*check the path")):
        with pytest.raises(InputError, match=says):
            Truth(tmp_path / name, NORMAL_OR_PNEUMONIA, "exclusive")


def test_a_column_without_a_name_is_no_column(tmp_path: Path, images: dict[str, str]) -> None:
    """Pandas writes its index so."""
    table = write(tmp_path / "t.csv", ",path,label\n0,images/a.png,normal\n")
    assert truth_of(table, images) == {"a.png": [1, 0]}
    with pytest.raises(InputError, match="it has label"):
        truth_of(table, images, column="finding")


def test_files_that_match_no_image_are_counted_named_and_refused_beyond_a_tenth(
    tmp_path: Path, images: dict[str, str]
) -> None:
    rows = [f"images/{name},normal" for name in ("a.png", "b.png", "typo.png", "gone.png")]
    truth = Truth(write(tmp_path / "t.csv", "\n".join(["path,label", *rows])), NORMAL_OR_PNEUMONIA, "exclusive")
    with pytest.raises(InputError, match=r"2 of the 4 rows of the truth .*t\.csv match no image \(images/typo\.png, "):
        truth.match(images.values())
    with pytest.raises(InputError, match="2 of the 4 rows"):
        truth.match(truth.files())  # without images to choose from, files that do not exist are missing all the same
    found = truth.match(images.values(), allow_missing=True)
    assert found.missing == ["images/typo.png", "images/gone.png"] and len(found.values) == 2
    rows = [f"images/{number}.png,normal" for number in range(9)]
    known = [str(draw(tmp_path / "images" / f"{number}.png", "ct").resolve()) for number in range(9)]
    table = write(tmp_path / "t.csv", "\n".join(["path,label", *rows, "images/typo.png,normal"]))
    assert Truth(table, NORMAL_OR_PNEUMONIA, "exclusive").match(known).missing == ["images/typo.png"]


def test_paths_may_be_written_on_windows(tmp_path: Path, images: dict[str, str]) -> None:
    table = write(tmp_path / "t.csv", "path,label\nimages\\a.png,normal\n.\\images\\b.png,pneumonia\n")
    assert truth_of(table, images) == {"a.png": [1, 0], "b.png": [0, 1]}
