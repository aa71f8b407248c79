"""``roco eval`` as a person meets it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roco_search.models import Encoder, load_encoder
from tests.cli.conftest import Roco
from tests.concepts import ConceptEncoder, draw
from tests.models.checkpoints import clip

DEV = Path(__file__).parents[3] / "../shared/data/pairs/dev"
needs_pairs = pytest.mark.skipif(not DEV.is_dir(), reason="the held-out pairs are not beside this checkout")
KINDS = (("pneumonia", "ct"), ("pneumonia", "mri"), ("normal", "ct"), ("normal", "mri"))


@pytest.fixture
def concepts(monkeypatch: pytest.MonkeyPatch) -> ConceptEncoder:
    """In place of a model: one whose every answer is known."""
    encoder = ConceptEncoder()
    monkeypatch.setattr("roco_search.models.load_encoder", lambda *_: encoder)
    return encoder


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face imagefolder with a test split of 40 known images."""
    monkeypatch.chdir(tmp_path)
    return imagefolder(tmp_path / "drawn", 40)


def imagefolder(root: Path, count: int, split: str = "test") -> Path:
    rows = []
    for i in range(count):
        finding, modality = KINDS[i % 4]
        draw(root / split / f"{i:02}.png", finding, modality, own=True)
        rows.append(
            {
                "file_name": f"{i:02}.png",
                "text": f"{finding} {modality}",
                "modality": {"ct": "CT", "mri": "MR"}[modality],
                "labels": [modality, finding],
                "source": "a" if i < count // 2 else "b",
            }
        )
    (root / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_the_table_says_pool_direction_and_rule(roco: Roco, data: Path, concepts: ConceptEncoder) -> None:
    found = roco("eval", data, "--protocol", "shuffled-32", "--protocol", "roco-v1", "--by", "source")
    assert found.code == 0, found.err
    assert "Whole pool, each query among all N = 40; 95 % bootstrap intervals" in found.out
    assert "image-to-text, strict" in found.out and "text-to-image, any" in found.out
    assert "recall@1" in found.out and "100.0 % (100.0–100.0)" in found.out
    for figure in ("recall@5", "recall@10", "median rank", "mean rank", "MRR"):
        assert figure in found.out
    assert "Protocol shuffled-32, N = 40: image-to-text among 32 candidates, not among all" in found.out
    assert "Protocol roco-v1, N = 40: contiguous batches of 32" in found.out
    assert "70.83 %" in found.out and "6.02 %" in found.out and "first reported as recall@5" in found.out
    assert "By source: each query among its own group" in found.out


def test_json_is_one_object_or_a_list(roco: Roco, data: Path, concepts: ConceptEncoder) -> None:
    found = roco("eval", data, "--json", "--where", "source=a", "--seed", "7")
    assert (found.code, found.err) == (0, "")
    task = found.json
    assert (task["task"], task["n"], task["split"], task["seed"]) == ("zeroshot_retrieval", 20, "test", 7)
    assert task["where"] == ["source=a"] and task["fingerprint"] == "concepts-1" and task["model"] == "concepts"
    assert task["metrics"]["text_retrieval_recall@1_any"] == 1.0
    classified = roco("eval", data, "--classify", "modality", "--json").json
    assert (classified["task"], classified["metrics"]["acc1"]) == ("zeroshot_classification", 1.0)
    several = roco("eval", data, "--classify", "modality", "--classify", "labels[1]", "--protocol", "whole", "--json")
    assert [task["task"] for task in several.json] == ["zeroshot_retrieval", *["zeroshot_classification"] * 2]


def test_an_image_that_cannot_be_read_is_named_and_shifts_nobody(
    roco: Roco, data: Path, concepts: ConceptEncoder
) -> None:
    broken = data / "test" / "05.png"
    broken.write_bytes(broken.read_bytes()[:60])
    found = roco("eval", data, "--json")
    assert found.code == 3
    assert "05.png: " in found.err
    assert (found.json["n"], found.json["metrics"]["image_retrieval_recall@1_any"]) == (39, 1.0)
    assert len(found.json["unreadable"]) == 1 and "05.png" in found.json["unreadable"][0]["name"]
    assert roco("eval", data, "--json", "--quiet").err == ""


def test_classes_of_ones_own_and_images_of_none(roco: Roco, data: Path, concepts: ConceptEncoder) -> None:
    (data.parent / "classes.yaml").write_text(
        "sick:\n  positive: [pneumonia]\n  aliases: [pneumonia]\nnormal: [normal]\n"
    )
    found = roco("eval", data, "--classify", "labels[1]", "--labels-file", "classes.yaml")
    assert "Zero-shot labels[1], 2 classes, N = 40" in found.out and "accuracy   1.000" in found.out
    refused = roco("eval", data, "--classify", "labels[1]", "--labels", "normal,ct")
    assert refused.code == 1 and "has 'pneumonia' (20), none of which is among the classes" in refused.err
    left = roco("eval", data, "--classify", "labels[1]", "--labels", "normal,ct", "--ignore-other-truth")
    assert left.code == 0 and "20 images are left out: 'pneumonia' (20)" in left.err
    assert "N = 20" in left.out


def test_images_are_found_by_images(roco: Roco, data: Path, concepts: ConceptEncoder) -> None:
    command = ("eval", data, "--image-to-image", "modality", "--image-to-image", "labels")
    first, second = roco(*command, "--json").json
    assert (first["task"], first["label"], first["same_case"]) == ("image_to_image_retrieval", "modality", "not stated")
    assert first["metrics"]["precision@1"] == 1.0 and first["chance"]["precision@1"] == pytest.approx(19 / 39)
    assert second["metrics"]["precision@10"] == 1.0 and set(second["labels"]) == {"ct", "mri", "normal", "pneumonia"}
    table = roco(*command).out
    assert "Image to image by modality, 40 queries among N = 40 images" in table and "by chance" in table
    assert roco("eval", data, "--same-case").code == 2


def test_report_and_confusion_matrix(roco: Roco, data: Path, concepts: ConceptEncoder) -> None:
    command = ("eval", data, "--classify", "modality", "--protocol", "whole")
    found = roco(*command, "--report", "out.html", "--confusion", "out.png")
    assert found.code == 0
    assert "Report: out.html (it contains some of the images" in found.err and "Confusion matrix: out.png" in found.err
    text = Path("out.html").read_text("ascii")
    assert "concepts on drawn, test" in text and str(data) not in text
    assert Image.open("out.png").format == "PNG"
    seen = concepts.images
    Path("mine.html").write_text("<p>mine</p>")
    refused = roco(*command, "--report", "mine.html")
    assert refused.code == 1 and "is not a roco evaluation report, so it is kept" in refused.err
    refused = roco(*command, "--confusion", "absent/out.png")
    assert refused.code == 1 and "there is no folder absent" in refused.err
    assert concepts.images == seen, "refused before anything is measured"


def test_the_subset_of_the_literature(roco: Roco, tmp_path: Path, concepts: ConceptEncoder) -> None:
    """The ROCO layout with three splits, where some images are missing."""
    for split, count in (("train", 90), ("validation", 50), ("test", 60)):
        folder = tmp_path / "roco" / "data" / split / "radiology"
        names = [f"ROCO_{i:05}" for i in range(count)]
        kinds = [KINDS[i % 4] for i in range(count)]
        lines = [f"{name}\t {'a ' * (i % 3)}{' '.join(kinds[i])}" for i, name in enumerate(names)]
        (folder / "images").mkdir(parents=True)
        (folder / "captions.txt").write_text("\n".join(lines) + "\n")
        for name, kind in list(zip(names, kinds, strict=True))[: count - 6]:
            draw(folder / "images" / f"{name}.jpg", *kind, own=True)
    found = roco("eval", tmp_path / "roco", "--protocol", "m3ae-2k", "--json")
    assert found.code == 0, found.err
    subset = found.json["protocols"]["m3ae-2k"]
    assert found.json["n"] == 54 and "6 rows are left out" in found.err
    assert subset["n"] == 36, "the two thirds that have three words, whose images are there"
    assert len(subset["missing"]) == 4
    assert subset["metrics"]["text_retrieval_recall@10_any"] == 1.0
    table = roco("eval", tmp_path / "roco", "--protocol", "m3ae-2k").out
    assert (
        "Protocol m3ae-2k, each query among N = 36; 4 of its 2,000 pairs are not here, so it is not comparable" in table
    )


def test_two_models_side_by_side(roco: Roco, data: Path, tmp_path: Path) -> None:
    """Two real checkpoints; a model against itself has no difference at all."""
    first, second = clip(tmp_path / "first", seed=0), clip(tmp_path / "second", seed=1)
    found = roco("eval", data, "--model", first, "--against", second, "--json")
    assert found.code == 0, found.err
    assert found.json["against"]["model"] == str(second)
    assert found.json["against"]["fingerprint"] != found.json["fingerprint"]
    for key, gain in found.json["against"]["difference"].items():
        other = found.json["against"]["metrics"][key]
        assert gain["value"] == pytest.approx(found.json["metrics"][key] - other) and gain["low"] <= gain["high"]
    same = roco("eval", data, "--model", first, "--against", first, "--json").json
    assert {(g["value"], g["low"], g["high"]) for g in same["against"]["difference"].values()} == {(0, 0, 0)}
    table = roco("eval", data, "--model", first, "--against", second).out
    assert f"{first} minus {second}, recall in points; paired bootstrap" in table


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["absent"], 1, "absent"),
        (["drawn", "--split", "validation"], 1, "validation"),
        (["drawn", "--where", "source=c"], 1, "source=c"),
        (["drawn", "--where", "source"], 1, "is no condition"),
        (["drawn", "--by", "sorce"], 1, "no column 'sorce'; it has "),
        (["drawn", "--classify", "finding"], 1, "no column 'finding'; it has "),
        (["drawn", "--classify", "labels"], 1, "holds lists; name one entry"),
        (["drawn", "--protocol", "m3ae-2k"], 1, "no train/radiology/captions.txt"),
        (["drawn", "--where", "source=a", "--protocol", "shuffled-32"], 1, "20 pairs are too few for batches of 32"),
        (["one"], 1, "There is one pair here"),
        (["same"], 1, "All 4 captions are the same"),
        (["drawn", "--protocol", "roco-v2"], 2, "'roco-v2' is not one of whole, roco-v1"),
        (["drawn", "--precision", "int8"], 2, "'int8' is not one of auto, fast"),
        (["drawn", "--labels", "a,b"], 2, "need --classify COLUMN"),
        (["drawn", "--classify", "modality", "--classify", "source", "--labels", "a,b"], 2, "one by one"),
        (["drawn", "--confusion", "a.png"], 2, "give --classify COLUMN once"),
    ],
)
def test_bad_input_is_one_sentence(
    roco: Roco, data: Path, concepts: ConceptEncoder, arguments: list[str], code: int, says: str
) -> None:
    imagefolder(data.parent / "one", 1)
    same = imagefolder(data.parent / "same", 4) / "test" / "metadata.jsonl"
    rows = [{**json.loads(line), "text": "the same"} for line in same.read_text().splitlines()]
    same.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = roco("eval", *arguments)
    assert (found.code, found.out) == (code, "")
    assert says in " ".join(found.err.replace("│", " ").split())
    if "Usage:" not in found.err:
        assert len(found.err.splitlines()) == 1
    assert not concepts.images, "nothing is embedded before everything that can be refused is"


def test_a_model_that_is_not_there_is_refused(roco: Roco, data: Path) -> None:
    found = roco("eval", data, "--model", "clip-roco")
    assert found.code == 1 and len(found.err.splitlines()) == 1 and "clip-roco" in found.err


class Remembering:
    """An encoder that embeds a picture once, however often it is asked for it."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[bytes, np.ndarray] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        keys = [hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest() for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._known}
        if new:
            self._known |= dict(zip(new, self._encoder.encode_images(list(new.values())), strict=True))
        return np.stack([self._known[key] for key in keys])


@pytest.mark.slow
@needs_pairs
def test_roco_mini_on_held_out_pairs(roco: Roco, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded model on real images: far above chance, whichever way it is asked."""
    encoder = Remembering(load_encoder("roco-mini", "cpu"))
    monkeypatch.setattr("roco_search.models.load_encoder", lambda *_: encoder)
    command = ("eval", DEV.parent, "--split", "dev", "--where", "source=medpix2", "--json")
    retrieval, modality, body_part = roco(
        *command, "--protocol", "shuffled-32", "--classify", "modality", "--classify", "body_part"
    ).json
    assert (retrieval["n"], retrieval["left_out"]) == (194, {})
    assert retrieval["metrics"]["text_retrieval_recall@10_any"] > 0.4
    assert retrieval["protocols"]["shuffled-32"]["metrics"]["text_retrieval_recall@1_any"] > 0.27
    assert list(modality["classes"]) == ["CT", "MRI"] and modality["metrics"]["acc1"] > 0.95
    assert "head" in body_part["classes"] and "brain" not in body_part["classes"]
    assert body_part["metrics"]["acc1"] > 0.6
    plane = roco(*command, "--classify", "labels[1]", "--labels-file", "plane", "--ignore-other-truth").json
    assert (plane["n"], sum(plane["other"].values())) == (178, 16) and plane["metrics"]["acc1"] > 0.8
