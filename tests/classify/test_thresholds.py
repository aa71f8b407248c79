"""Thresholds fit what they were made with, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roco_search.classify import Classifier, Label, Mode, classify_files
from roco_search.classify.engine import Prediction
from roco_search.classify.thresholds import load_thresholds, save_thresholds
from roco_search.classify.truth import Truth, measure
from roco_search.errors import InputError
from tests.concepts import ConceptEncoder, draw

NORMAL_OR_PNEUMONIA = [Label("normal", aliases=("no finding",)), Label("pneumonia")]


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


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
