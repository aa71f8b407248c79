"""The Classify tab without a browser: it classifies as ``roco classify`` does, and keeps nothing."""

from __future__ import annotations

import re
from pathlib import Path

from roco_search.classify import classify, meaning, split_labels
from roco_search.classify.labels import check_labels
from roco_search.imaging import open_image
from roco_search.models import load_encoder
from roco_search.web.tabs.classify import MOST_LABELS, SETS
from tests.imaging.drawing import shipped
from tests.web.conftest import Site


def test_an_image_is_classified_as_roco_classify_does(site: Site) -> None:
    source = shipped("CT_small.dcm")
    status, result, *_ = site.call("bring_1", [site.upload(source), None, ["CT", "MRI"], "exclusive"])
    (prediction,) = classify(load_encoder("roco-mini", "cpu"), [next(open_image(source))], ["CT", "MRI"])
    values = re.findall(r'roco-label">([^<]*)<.*?roco-value">([\d.]+) %', result)
    assert values == [(entry.label, f"{100 * entry.probability:.1f}") for entry in prediction.labels]
    assert "heat map" in status
    _, drawn, _ = site.call("explain", [None])
    assert drawn.count("data-layer=") == 3 and drawn.count("data:image/jpeg;base64") == 3
    _, several, _ = site.call("ask", [None, ["pneumonia"], "multi-label"])
    assert "against its opposite" in several and several.count("roco-label") == 1
    told, *_ = site.call("ask", [None, ["one"], "exclusive"])
    assert "always gets 100 %" in told and 'role="alert"' in told


def test_one_click_chooses_a_list_of_labels_that_can_be_told_apart() -> None:
    assert {"Modality", "Body part", "Plane", "Chest X-ray", "Brain", "Abdomen"} <= set(SETS)
    for mode, labels in SETS.values():
        check_labels(split_labels(labels), mode)
        assert len(labels) <= MOST_LABELS and (mode == "exclusive" or labels[0] == "normal")
        assert mode == "exclusive" or all(meaning(label).kind in {"finding", "normal"} for label in labels)


def test_a_file_that_is_no_image_is_refused_and_deleted(site: Site, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Doe^Jane was here")
    file = site.upload(tmp_path / "notes.txt")
    status, *_ = site.call("bring_1", [file, None, ["a", "b"], "exclusive"])
    assert "cannot be used as an image" in status and "Doe" not in status
    assert not Path(str(file["path"])).exists()
