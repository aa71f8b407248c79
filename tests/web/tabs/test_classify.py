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
    status, result, *_ = site.call("bring_1", [[site.upload(source)], None, ["CT", "MRI"], "exclusive"])
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
    *_, upload, refused = answer = site.call("bring_1", [[file], None, ["a", "b"], "exclusive"])
    assert "notes.txt cannot be used as an image" in refused and 'role="alert"' in refused and upload is None
    assert "Doe" not in str(answer) and not Path(str(file["path"])).exists()


def test_several_images_have_a_row_each_and_the_unreadable_one_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    sources = [shipped("CT_small.dcm"), tmp_path / "notes.txt", shipped("MR_small.dcm")]
    files = [site.upload(source) for source in sources]
    _, result, _, _, refused = site.call("bring_1", [files, None, ["CT", "MRI"], "exclusive"])
    assert "notes.txt" in refused and "CT_small" not in refused
    assert not [file for file in files if Path(str(file["path"])).exists()]
    rows = re.findall(r'data-row="(\d)" aria-pressed="(\w+)".*?roco-name">([^<]+)<.*?<span>(\w+)</span>', result, re.S)
    frames = [next(open_image(shipped(name))) for name in ("CT_small.dcm", "MR_small.dcm")]
    first = [p.labels[0].label for p in classify(load_encoder("roco-mini", "cpu"), frames, ["CT", "MRI"])]
    assert rows == [("0", "true", "CT_small.dcm", first[0]), ("1", "false", "MR_small.dcm", first[1])]
    _, result, _ = site.call("choose", [None], event_data={"row": 1})
    assert "The image MR_small.dcm" in result and 'data-row="1" aria-pressed="true"' in result
    _, drawn, _ = site.call("explain", [None])
    assert "Heat map of MRI" in drawn and drawn.count("roco-scale") == 2
    status, *_ = site.call("choose", [None], event_data={"row": 7})
    assert "no longer here" in status
