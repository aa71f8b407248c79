"""The files that classification reads and writes: labels, truth, thresholds; every typo named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roco_search.classify import Classifier, Label, Mode, classify_files, read_labels
from roco_search.classify.engine import Prediction
from roco_search.classify.thresholds import load_thresholds, save_thresholds
from roco_search.classify.truth import Truth, measure
from roco_search.errors import InputError
from tests.concepts import ConceptEncoder, draw

NORMAL_OR_PNEUMONIA = [Label("normal", aliases=("no finding",)), Label("pneumonia")]


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_labels_a_line(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path / "l.txt", "\ufeffnormal\n# a remark\n\n  pleural   effusion \r\na, b\n"))
    assert [label.name for label in labels] == ["normal", "pleural effusion", "a, b"]


def test_labels_in_yaml(tmp_path: Path) -> None:
    text = """
no finding:
pneumonia: [lobar pneumonia, "pneumonia: both lungs"]
effusion:
  positive: [pleural effusion]
  negative: no pleural effusion
  aliases: [hydrothorax]
no: a text
12: [twelve]
"""
    assert read_labels(write(tmp_path / "l.yaml", text)) == [
        Label("no finding"),
        Label("pneumonia", ("lobar pneumonia", "pneumonia: both lungs")),
        Label("effusion", ("pleural effusion",), ("no pleural effusion",), ("hydrothorax",)),
        Label("no", ("a text",)),
        Label("12", ("twelve",)),
    ]
    assert read_labels(write(tmp_path / "m.yml", "- normal\n- yes\n")) == [Label("normal"), Label("yes")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [b\nc: d\n", "line 2: this is not YAML"),
        ("a:\n  positve: [x]\nb:\n", "line 2: 'positve' under the label 'a' is not known; did you mean 'positive'?"),
        ("a:\n  colour: [x]\n", "line 2: 'colour' under the label 'a' is not known; write positive"),
        ("a: [x]\nb:\nA: [y]\n", "line 3: the label 'A' is given twice, first in line 1"),
        ("a:\n  positive: [x]\n  positive: [y]\n", "line 3: 'positive' is there twice"),
        ("a: []\n", "line 1: the list of 'a' is empty"),
        ("a:\n  - {x: y}\n", "line 2: expected a text"),
        ("a: [x, ]\nb: ['']\n", "line 2: a text is missing"),
        ("just words\n", "line 1: expected labels with their prompts"),
        ("a: !!python/object/apply:os.system [x]\nb: *c\n", "line 2: this is not YAML"),
        ("\x00", "not YAML text"),
        ("", "holds no label"),
        ("# only a remark\n", "holds no label"),
    ],
)
def test_a_typo_in_yaml_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path / "labels.yaml", text)
    with pytest.raises(InputError) as refused:
        read_labels(path)
    assert says in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_labels_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "replace"))
    try:
        labels = read_labels(path)
    except InputError as refused:
        assert "\n" not in str(refused).replace(str(path), "")
    else:
        assert labels and all(label.name for label in labels)


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes(b"\xff\xfe\xfa")
    for name, says in (("l.txt", "UTF-8"), ("absent.txt", "check the path")):
        with pytest.raises(InputError, match=says):
            read_labels(tmp_path / name)
        with pytest.raises(InputError, match=says):
            Truth(tmp_path / name, NORMAL_OR_PNEUMONIA, "exclusive")


@pytest.fixture
def images(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "images"
    return {name: str(draw(folder / name, "ct").resolve()) for name in ("a.png", "b.png", "c.png")}


def truth_of(table: Path, images: dict[str, str], mode: str = "exclusive", **options: object) -> dict[str, list[float]]:
    found = Truth(table, NORMAL_OR_PNEUMONIA, mode, options.pop("column", None)).match(images.values(), **options)  # type: ignore[arg-type]
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
    with pytest.raises(InputError, match=r"line 4: 'normal' and 'pneumonia' both.*--multi-label"):
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
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_named(
    tmp_path: Path, images: dict[str, str], text: str, mode: str, column: str | None, says: str
) -> None:
    with pytest.raises(InputError) as refused:
        truth_of(write(tmp_path / "t.csv", text), images, mode, column=column)
    assert says in str(refused.value)


def test_other_truth_can_be_left_out(tmp_path: Path, images: dict[str, str]) -> None:
    table = write(tmp_path / "t.csv", "path,label\nimages/a.png,normal\nimages/b.png,glioma\nimages/c.png,\n")
    found = Truth(table, NORMAL_OR_PNEUMONIA, "exclusive").match(images.values(), ignore_other=True)
    assert list(found.values) == [images["a.png"]]
    assert (found.left_out, found.other) == ([images["b.png"], images["c.png"]], {"glioma": 1})


def test_thresholds_separate_what_they_were_chosen_on_and_fit_nothing_else(tmp_path: Path) -> None:
    labels = [Label("normal", ("normal",), ("abnormal",)), Label("pneumonia", ("pneumonia",), ("no pneumonia",))]
    shown = {"normal": [("normal",), ("normal", "ct")], "pneumonia": [("pneumonia",), ("pneumonia", "mri")]}
    lines = ["path,label"]
    for label, pictures in shown.items():
        for number, quarters in enumerate(pictures):
            path = draw(tmp_path / f"{label}{number}.png", *quarters)
            lines.append(f"{path},{label}")
    table = Truth(write(tmp_path / "t.csv", "\n".join(lines)), labels, "multi-label")
    matched = table.match(table.files())
    classifier = Classifier(ConceptEncoder(), labels, "multi-label")
    predictions = [found for found in classify_files(classifier, table.files()) if isinstance(found, Prediction)]
    found = measure(classifier, predictions, matched)
    assert [label.auc.value for label in found.labels if label.auc] == [1.0, 1.0]
    file = tmp_path / "thresholds.json"
    assert save_thresholds(file, classifier, found) == []
    limits = load_thresholds(file, classifier)
    assert measure(classifier, predictions, matched, limits).accuracy.value == 1.0
    assert load_thresholds(file, Classifier(ConceptEncoder(), labels[1:], "multi-label")) == {
        "pneumonia": limits["pneumonia"]
    }

    def refused(says: str, encoder: ConceptEncoder, asked: list[Label], mode: Mode) -> None:
        with pytest.raises(InputError, match=says):
            load_thresholds(file, Classifier(encoder, asked, mode))

    refused("another model", ConceptEncoder("concepts-2"), labels, "multi-label")
    refused("multi-label mode", ConceptEncoder(), labels, "exclusive")
    refused("none for 'nodule'", ConceptEncoder(), [*labels, Label("nodule")], "multi-label")
    refused("other prompts for 'normal'", ConceptEncoder(), [Label("normal"), labels[1]], "multi-label")
    for broken in ("{", "[]", '{"format": 1}', file.read_text().replace('"threshold": 0', '"threshold": 7')):
        file.write_text(broken)
        refused("holds no thresholds", ConceptEncoder(), labels, "multi-label")


def test_exclusive_thresholds_need_the_same_labels(tmp_path: Path) -> None:
    lines = [f"{draw(tmp_path / f'{word}.png', word)},{word}" for word in ("normal", "pneumonia", "ct")]
    labels = [*NORMAL_OR_PNEUMONIA, Label("ct")]
    table = Truth(write(tmp_path / "t.csv", "\n".join(["path,label", *lines])), labels, "exclusive")
    classifier = Classifier(ConceptEncoder(), labels)
    predictions = [found for found in classify_files(classifier, table.files()) if isinstance(found, Prediction)]
    file = tmp_path / "thresholds.json"
    found = measure(classifier, predictions, table.match(table.files()))
    assert found.accuracy.value == 1.0
    save_thresholds(file, classifier, found)
    assert json.loads(file.read_text())["labels"].keys() == {"normal", "pneumonia", "ct"}
    with pytest.raises(InputError, match="'ct' among the labels"):
        load_thresholds(file, Classifier(ConceptEncoder(), NORMAL_OR_PNEUMONIA))
