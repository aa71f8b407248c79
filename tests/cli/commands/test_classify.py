"""``roco classify`` as a person meets it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Roco
from tests.concepts import ConceptEncoder, draw

DEV = Path(__file__).parents[3] / "../shared/data/pairs/dev"


@pytest.fixture
def concepts(monkeypatch: pytest.MonkeyPatch) -> ConceptEncoder:
    encoder = ConceptEncoder()
    monkeypatch.setattr("roco_search.models.load_encoder", lambda *_: encoder)
    return encoder


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of known pictures, and a table of what they show."""
    monkeypatch.chdir(tmp_path)
    lines = ["path,label"]
    for word in ("normal", "pneumonia"):
        for number, other in enumerate((None, "ct", "mri")):
            path = draw(tmp_path / "drawn" / f"{word}{number}.png", *filter(None, (word, other)))
            lines.append(f"drawn/{path.name},{word}")
    (tmp_path / "truth.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "drawn"


def test_json_is_a_list_best_first(roco: Roco, scans: Path) -> None:
    found = roco("classify", scans / "dicom" / "CT_small.dcm", "--labels", "ultrasound,CT", "--json")
    assert (found.code, found.err) == (0, "")
    (entry,) = found.json
    assert list(entry) == ["path", "frame", "mode", "labels"]
    assert (entry["path"], entry["frame"], entry["mode"]) == (str(scans / "dicom" / "CT_small.dcm"), 0, "exclusive")
    assert [list(label) for label in entry["labels"]] == [["label", "probability", "score"]] * 2
    probabilities = [label["probability"] for label in entry["labels"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert {label["label"] for label in entry["labels"]} == {"CT", "ultrasound"}
    assert sum(probabilities) == pytest.approx(1)


def test_every_output_says_the_same(roco: Roco, drawn: Path, concepts: ConceptEncoder) -> None:
    command = ("classify", drawn, "--labels", "normal", "--labels", "pneumonia")
    as_json = roco(*command, "--json").json
    assert [Path(entry["path"]).name[:-5] for entry in as_json] == [entry["labels"][0]["label"] for entry in as_json]
    assert [json.loads(line) for line in roco(*command, "--jsonl").out.splitlines()] == as_json
    flat = [
        {"path": entry["path"], "frame": str(entry["frame"]), "mode": entry["mode"]}
        | {key: str(value) for key, value in label.items()}
        for entry in as_json
        for label in entry["labels"]
    ]
    assert list(csv.DictReader(io.StringIO(roco(*command, "--csv").out))) == flat
    table = roco(*command)
    assert table.out.startswith("exclusive: one softmax over 2 labels")
    assert table.out.count(".png") == 6 and len(flat) == 12
    assert "(guessed)" in table.out and "the model chose the prompts: " in table.err
    assert roco(*command, "--quiet", "--json").err == ""


def test_multi_label_says_how_it_understood_the_labels(roco: Roco, drawn: Path, concepts: ConceptEncoder) -> None:
    found = roco("classify", drawn / "normal0.png", "--multi-label", "--labels", "No finding,pneumonia,no tumor")
    assert found.out.startswith("multi-label: each label on its own")
    assert "'No finding' is compared with abnormal images" in found.err
    assert "'no tumor' is compared with 'tumor'" in found.err
    assert "no no finding" not in " ".join(concepts.texts).lower()


def test_a_file_that_cannot_be_read_is_named(roco: Roco, scans: Path, concepts: ConceptEncoder) -> None:
    found = roco("classify", scans, "--labels", "CT,MRI", "--json")
    assert found.code == 3
    assert [Path(entry["path"]).name for entry in found.json] == ["CT_small.dcm", "MR_small.dcm", "ramp.png"]
    assert "broken.png: " in found.err
    assert "notes.txt" not in found.err and "reportsi" not in found.err
    named = roco("classify", scans / "dicom" / "reportsi.dcm", scans / "notes.txt", "--labels", "CT,MRI")
    assert named.code == 1
    assert "reportsi.dcm: " in named.err and "notes.txt: " in named.err
    assert named.err.splitlines()[-1].startswith("Error: None of the 2 images could be read")
    named = roco("classify", scans / "notes.txt", "--labels", "CT,MRI")
    assert named.err.splitlines()[-1].startswith("Error: The image could not be read, for the reason above")
    assert "Doe" not in found.err + named.err


def test_frames_of_a_file(roco: Roco, tmp_path: Path, concepts: ConceptEncoder) -> None:
    from PIL import Image

    from tests.concepts import picture

    pages = [Image.fromarray(picture(word)) for word in ("ct", "mri", "ct")]
    pages[0].save(tmp_path / "pages.tiff", save_all=True, append_images=pages[1:])
    command = ("classify", tmp_path / "pages.tiff", "--labels", "CT,MRI", "--json")
    assert [(entry["frame"], entry["labels"][0]["label"]) for entry in roco(*command).json] == [(1, "MRI")]
    every = roco(*command, "--frames", "all").json
    assert [(entry["frame"], entry["labels"][0]["label"]) for entry in every] == [(0, "CT"), (1, "MRI"), (2, "CT")]


def test_explain_shows_shares_and_writes_heat_maps(roco: Roco, drawn: Path, concepts: ConceptEncoder) -> None:
    before = {path: path.read_bytes() for path in drawn.iterdir()}
    command = ("classify", drawn, "--labels", "normal,pneumonia", "--explain-dir", drawn, "--explain", "--json")
    found = roco(*command)
    for entry in found.json:
        best, other = entry["labels"]
        assert entry["prompts"]["guessed"] is True
        assert sum(share["share"] for share in best["prompts"]) == pytest.approx(best["score"])
        stem = Path(entry["path"]).stem
        assert best["heat_map"] == str(drawn / f"{stem}.{best['label']}.heat.png")
        assert Path(best["heat_map"]).exists() and other["heat_map"] is None
    assert {path: path.read_bytes() for path in before} == before
    again = roco(*command)
    assert [entry["path"] for entry in again.json] == [entry["path"] for entry in found.json]
    assert len(list(drawn.iterdir())) == 12, "heat maps are replaced, and not classified with their folder"
    assert "share" in roco("classify", drawn / "normal0.png", "--labels", "normal,ct", "--explain").out


def test_truth_makes_it_an_evaluation(roco: Roco, drawn: Path, concepts: ConceptEncoder) -> None:
    labels = ("--labels", "normal,pneumonia")
    found = roco("classify", drawn, *labels, "--truth", "truth.csv", "--json").json
    assert (found["mode"], found["images"], found["accuracy"]) == (
        "exclusive", 6, {"value": 1.0, "low": 1.0, "high": 1.0},
    )  # fmt: skip
    assert [label["auc"]["value"] for label in found["labels"]] == [1.0, 1.0]
    assert found["confusion"] == [[3, 0], [0, 3]]
    assert roco("classify", *labels, "--truth", "truth.csv", "--json").json == found, "its lines name the images"
    table = roco("classify", *labels, "--truth", "truth.csv").out
    assert "exclusive, 6 images, 95 % bootstrap intervals" in table
    assert "accuracy   1.000 (1.000–1.000)" in table and "macro AUC  1.000" in table
    rows = list(csv.DictReader(io.StringIO(roco("classify", *labels, "--truth", "truth.csv", "--csv").out)))
    assert [row["measure"] for row in rows] == ["accuracy", "macro_auc", "auc", "auc"]
    (drawn / "normal0.png").unlink()
    refused = roco("classify", *labels, "--truth", "truth.csv")
    says = "1 of the 6 rows of the truth truth.csv matches no image (drawn/normal0.png)"
    assert refused.code == 1 and says in refused.err
    partial = roco("classify", *labels, "--truth", "truth.csv", "--jsonl", "--allow-missing")
    assert (partial.code, json.loads(partial.out)["images"]) == (3, 5)
    assert json.loads(partial.out)["missing"] == ["drawn/normal0.png"]
    assert "normal0.png: there is no such file" in partial.err
    again = roco("classify", drawn, *labels, "--truth", "truth.csv", "--allow-missing")
    assert again.code == 0 and f"Note: {says}; they are not measured." in again.err


def test_a_folder_has_a_row_for_each_image_and_totals(roco: Roco, drawn: Path, concepts: ConceptEncoder) -> None:
    (drawn / "normal2.png").unlink()
    found = roco("classify", drawn, "--labels", "normal,pneumonia,ct")
    rows = [line.split() for line in found.out.splitlines()]
    assert [(row[0], row[-1].rsplit("/")[-1]) for row in rows if row and row[-1].endswith(".png")] == [
        (path.name[:-5], path.name) for path in sorted(drawn.iterdir())
    ]
    assert rows[-3:] == [["normal", "2", "40.0", "%"], ["pneumonia", "3", "60.0", "%"], ["ct", "0", "0.0", "%"]]
    command = ("classify", drawn, "--multi-label", "--template", "{}", "--labels", "pneumonia,no ct,fracture")
    given = [
        [label["label"] for label in e["labels"] if label["probability"] >= 0.5] for e in roco(*command, "--json").json
    ]
    expected = [[name, sum(name in labels for labels in given)] for name in ("pneumonia", "no ct", "fracture")]
    totals = [line.rsplit(maxsplit=3)[:2] for line in roco(*command).out.splitlines()[-4:] if "%" in line]
    assert [[name, int(count)] for name, count in totals if name != "none"] == expected
    assert sum(map(len, given)) < 15
    one = roco("classify", drawn / "normal0.png", "--labels", "normal,pneumonia,ct").out
    assert one.count("normal0.png") == 3 and "total" not in one


def test_thresholds_are_saved_and_applied(roco: Roco, drawn: Path, concepts: ConceptEncoder) -> None:
    command = ("classify", drawn, "--multi-label", "--labels", "normal,pneumonia", "--template", "{}")
    saved = roco(*command, "--truth", "truth.csv", "--save-thresholds", "t.json")
    assert saved.code == 0 and "saved to t.json" in saved.err
    for entry in roco(*command, "--thresholds", "t.json", "--json").json:
        shown = Path(entry["path"]).name[:-5]
        assert {label["label"]: label["above_threshold"] for label in entry["labels"]} == {
            name: name == shown for name in ("normal", "pneumonia")
        }
    evaluated = roco(*command, "--thresholds", "t.json", "--truth", "truth.csv", "--json").json
    assert (evaluated["accuracy"]["value"], evaluated["decided_by"]) == (1.0, "the given thresholds")
    concepts.fingerprint = "another"
    refused = roco(*command, "--thresholds", "t.json")
    assert refused.code == 1 and "belong to another model" in refused.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["drawn"], 2, 'No label is given; name some, such as --labels "normal,pneumonia"'),
        (["--labels", "a,b"], 2, "No image is given; name some"),
        (["drawn", "--labels", "normal", "pneumonia", "nodule"], 2, '--labels "normal,pneumonia,nodule"'),
        (["--labels", "normal", "pneumonia", "drawn"], 2, '--labels "normal,pneumonia"'),
        (["drawn", "--labels", "normal"], 1, "One label alone"),
        (["drawn", "--labels", " , "], 1, "There is no label"),
        (["drawn", "--labels", "normal,CT,Normal"], 1, "'Normal' is given twice"),
        (["missing.png", "--labels", "a,b"], 1, "no file or folder missing.png"),
        (["drawn", "missing/dir", "--labels", "a,b"], 1, "no file or folder missing/dir"),
        (["drawn", "--labels", "a,b", "--template", "an x-ray"], 1, "has no {}"),
        (["drawn", "--labels-file", "typo.yaml"], 1, "typo.yaml, line 2: 'negativ' under"),
        (["drawn", "--labels", "a,b", "--truth", "truth.csv"], 1, "has 'normal' (3), 'pneumonia' (3), none of which"),
        (["drawn", "--labels", "a,b", "--truth", "truth.csv", "--truth-column", "x"], 1, "no column 'x'; it has label"),
        (["drawn", "--labels", "a,b", "--truth", "absent.csv"], 1, "no truth file absent.csv"),
        (["drawn", "--labels", "a,b", "--save-thresholds", "t"], 2, "needs --truth"),
        (["drawn", "--labels", "a,b", "--truth", "truth.csv", "--explain"], 2, "leave one of them out"),
        (["drawn", "--labels", "a,b", "--truth", "truth.csv", "--thresholds", "t"], 2, "--multi-label"),
        (["drawn", "--labels", "a,b", "--truth", "truth.csv", "--frames", "all"], 2, "--frames middle"),
        (["drawn", "--labels", "a,b", "--json", "--csv"], 2, "--json and --csv"),
        (["drawn", "--labels", "a,b", "--frames", "some"], 2, "neither middle, all, nor a number"),
        (["empty", "--labels", "a,b"], 1, "There is no image in empty"),
    ],
)
def test_bad_input_is_one_sentence(
    roco: Roco, drawn: Path, concepts: ConceptEncoder, arguments: list[str], code: int, says: str
) -> None:
    (drawn.parent / "typo.yaml").write_text("a:\n  negativ: [x]\nb:\n")
    (drawn.parent / "empty").mkdir()
    found = roco("classify", *arguments)
    assert (found.code, found.out) == (code, "")
    assert says in " ".join(found.err.replace("│", " ").split())
    if "Usage:" not in found.err:
        assert len(found.err.splitlines()) == 1
    assert not concepts.images, "nothing is embedded before everything that can be refused is"


@pytest.mark.slow
@pytest.mark.skipif(not DEV.is_dir(), reason="the held-out images are not beside this checkout")
def test_negative_labels_do_not_invert_on_real_images(roco: Roco, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (DEV / "metadata.jsonl").read_text("utf-8").splitlines()]
    wanted = [row for row in rows if row["source"] in {"kermany_cxr", "nih_talo"}][::3]
    lines = ["path,normal,no finding,pneumonia"]
    for row in wanted:
        sick = int("pneumonia" in row["labels"])
        lines.append(f"{(DEV / row['file_name']).resolve()},{1 - sick},{1 - sick},{sick}")
    (tmp_path / "truth.csv").write_text("\n".join(lines))
    labels = ("--labels", "normal,no finding,pneumonia")
    found = roco("classify", "--multi-label", *labels, "--truth", tmp_path / "truth.csv", "--json").json
    assert [(label["label"], label["auc"]["low"] > 0.5) for label in found["labels"]] == [
        ("normal", True), ("no finding", True), ("pneumonia", True),
    ]  # fmt: skip


def test_labels_that_the_model_cannot_read_are_refused(roco: Roco, scans: Path) -> None:
    refused = roco("classify", scans / "ramp.png", "--labels", "肺炎,pneumonia")
    assert refused.code == 1 and not refused.out
    assert "roco-mini cannot read 肺炎: its vocabulary has no words in that script" in refused.err
