"""Which classes a column has, and what they are called to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roco_search.classify.labels import check_labels
from roco_search.datasets.pair import Pair
from roco_search.errors import InputError
from roco_search.evaluation.classes import Classes, Column, find_classes, find_column, own
from roco_search.vocabulary import attributes
from tests.evaluation.made import pair, pairs


def of(values: list[object], column: str = "modality", **options: Any) -> Classes:
    made = [pair(i, "a", **{column.split("[", maxsplit=1)[0]: value}) for i, value in enumerate(values)]
    return find_classes(find_column(column, made), made, **options)


def truth(classes: Classes, values: list[object], column: str = "modality") -> list[int]:
    return classes.truth([Pair(pair(0, "a").picture, "a", columns={column: value}) for value in values]).tolist()


def names(classes: Classes) -> list[str]:
    return [label.name for label in classes.labels]


def test_roco_brings_classes_for_modality_body_part_and_plane() -> None:
    assert list(attributes()) == ["body_part", "modality", "plane"]


@pytest.mark.parametrize("name", attributes())
def test_the_classes_that_come_with_roco_can_be_told_apart(name: str) -> None:
    labels = own(name)
    check_labels(labels, "exclusive")
    assert all(label.positive for label in labels), "each has prompts of its own"
    prompts = [prompt for label in labels for prompt in label.positive]
    assert len(set(prompts)) == len(prompts)


def test_codes_are_called_by_their_human_names() -> None:
    found = of(["CT", "MR", "XR", "US", "XA", "OTHER", "DX", None])
    assert names(found) == ["CT", "MRI", "X-ray", "ultrasound", "X-ray angiogram"]
    assert truth(found, ["OTHER", "XA", "cr", "MR", "nothing", None]) == [4, 4, 2, 1, -1, -1]
    assert "magnetic resonance imaging" in found.labels[1].positive
    assert (found.silent, found.other) == (1, {})


def test_only_the_classes_that_occur_are_told_apart() -> None:
    assert names(of(["CT", "MR", "CT"])) == ["CT", "MRI"]


def test_brain_head_and_head_and_neck_are_one() -> None:
    values: list[object] = ["brain", "head", "head and neck", "chest", "Spine"]
    found = of(values, "body_part")
    assert names(found) == ["chest", "head", "spine"]
    assert truth(found, values, "body_part") == [1, 1, 1, 0, 2]


def test_a_value_that_roco_does_not_know_is_a_class_by_its_own_name() -> None:
    found = of(["CT", "OCT", "oct"])
    assert names(found) == ["CT", "OCT"]
    assert found.labels[1].positive == (), "the prompt sets of roco classify speak for it"
    assert names(of(["glioma", "meningioma", "no tumor"], "finding")) == ["glioma", "meningioma", "no tumor"]


def test_an_entry_of_a_list_with_the_classes_of_another_name() -> None:
    values: list[object] = [["MR", "Axial"], ["MR", "sagittal"], ["CT", "Coronal"], ["CT", "3D"], ["CT"]]
    with pytest.raises(InputError, match=r"'labels\[1\]' has '3D' \(1\), none of which is among the classes"):
        of(values, "labels[1]", labels_file="plane")
    found = of(values, "labels[1]", labels_file="plane", ignore_other=True)
    assert names(found) == ["axial", "sagittal", "coronal"]
    assert (found.other, found.silent) == ({"3D": 1}, 1)
    assert names(of(values, "labels[1]")) == ["3D", "Axial", "Coronal", "sagittal"], "without, each value is a class"


def test_given_labels_are_called_by_what_roco_knows_of_the_column() -> None:
    found = of(["CT", "MR", "US"], labels=["CT,MR"], ignore_other=True)
    assert names(found) == ["CT", "MRI"] and all(label.positive for label in found.labels)
    assert found.other == {"US": 1}
    assert names(of(["CT", "MR", "US"], "column", labels=["CT,MR,US"])) == ["CT", "MR", "US"]


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "classes.yaml"
    file.write_text("tumour:\n  positive: [a brain tumour]\n  aliases: [glioma, meningioma]\nnone:\n")
    found = of(["glioma", "meningioma", "none"], "finding", labels_file=file)
    assert truth(found, ["meningioma", "none"], "finding") == [0, 1]
    with pytest.raises(InputError, match=r"no labels file .*nor is it one that comes with roco .body_part, modality"):
        of(["a", "b"], labels_file=tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("values", "options", "says"),
    [
        ([None, ""], {}, "says nothing of any"),
        (["CT", "CT"], {}, "Every image here is 'CT'"),
        (["MR", "MRI"], {}, "Every image here is 'MRI'"),
        ([str(i) for i in range(201)], {}, "has 201 different values, so they are no classes"),
        (["CT", "MR"], {"labels": ["CT"]}, "'CT' alone cannot be distinguished"),
        (["CT", "MR"], {"labels": ["CT,ct"]}, "is given twice"),
        (["CT", "MR"], {"labels": ["a,b"], "ignore_other": True}, "but none of the classes; write them as it does"),
        (["CT", "MR", "US"], {"labels": ["CT,MR"]}, "'US' .1., none of which is among the classes; add them, or"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(values: list[object], options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        of(values, **options)


def test_a_column_and_an_entry_of_a_list() -> None:
    made = pairs(4)
    assert [find_column("modality", made).of(entry) for entry in made] == ["CT", "MR", "CT", "MR"]
    assert [find_column("labels[1]", made).of(entry) for entry in made] == [
        "Pneumonia",
        "Pneumonia",
        "Normal",
        "Normal",
    ]
    assert find_column("labels[-2]", made).of(made[1]) == "mri"
    assert find_column("number", made).of(made[3]) == "3"
    assert find_column("Modality", made) == Column("modality")
    assert str(find_column("labels[1]", made)) == "labels[1]"


def test_a_column_that_ends_in_brackets_is_itself() -> None:
    made = [pair(0, "a", **{"size[mm]": 3, "odd[1]": "x"})]
    assert find_column("size[mm]", made) == Column("size[mm]")
    assert find_column("odd[1]", made) == Column("odd[1]")


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_nothing_is_nothing(value: object) -> None:
    assert Column("finding").of(pair(0, "a", finding=value)) is None
    assert Column("finding").of(pair(0, "a")) is None
    assert Column("finding").of(pair(0, "a", finding="none")) == "none", "no finding is something"
    assert Column("finding", 2).of(pair(0, "a", finding=["x", "y"])) is None, "the list is too short"


def test_what_cannot_be_meant_is_refused() -> None:
    made = pairs(4)
    with pytest.raises(InputError, match=r"no column 'modlity'; it has modality, labels, source, number\. Name one"):
        find_column("modlity", made)
    with pytest.raises(InputError, match="holds lists; name one entry of them, such as 'labels\\[0\\]'"):
        find_column("labels", made).of(made[0])
    with pytest.raises(InputError, match="holds no lists; name it without"):
        find_column("modality[0]", made).of(made[0])
    with pytest.raises(InputError, match="it has none"):
        find_column("modality", [pair(0, "a")])
