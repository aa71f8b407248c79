"""Labels are read from a file, or the line with the typo is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roco_search.classify import Label, read_labels
from roco_search.errors import InputError


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
        ("a: " + "[" * 5000, "nested too deeply"),
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


@settings(max_examples=150)
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
