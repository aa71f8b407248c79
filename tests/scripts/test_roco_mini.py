"""What roco-mini's recipe makes of a data set's rows before training draws from them."""

from __future__ import annotations

import importlib
import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from roco_search.datasets.pair import Pair, PictureFile
from roco_search.models.roco_mini.efficientnet import EfficientNetLiteConfig, EfficientNetLiteModel

RECIPE = Path(__file__).parents[2] / "scripts/roco_mini"
words = st.sampled_from(
    ["left", "Right", "LEFT", "Rt", "L", "R", "kidney", "L4", "L-spine", "R/O", "right-sided", "cleft"]
)


@pytest.fixture(scope="module")
def mirror() -> ModuleType:
    return recipe("mirror")


@pytest.fixture(scope="module")
def captions() -> ModuleType:
    return recipe("captions")


@pytest.fixture(scope="module")
def drawn() -> ModuleType:
    return recipe("drawn")


def recipe(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPE))
        return importlib.import_module(name)


def pair(path: Path, caption: str, part: str, **columns: Any) -> Pair:
    return Pair(PictureFile(path), caption, columns={"body_part": part, "text": caption, **columns})


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Left knee, right-sided.", "Right knee, left-sided."),
        ("RIGHT > LEFT; Lt. and rt.", "LEFT > RIGHT; Rt. and lt."),
        ("cyst in the R kidney, L>R", "cyst in the L kidney, R>L"),
        ("L4 of the L-spine, R/O fracture, cleft, bright", "L4 of the L-spine, R/O fracture, cleft, bright"),
    ],
)
def test_sides_are_exchanged_and_nothing_else(mirror: ModuleType, text: str, other: str) -> None:
    assert mirror.exchange_sides(text) == other


@given(parts=st.lists(words, max_size=8))
def test_exchanging_sides_twice_changes_nothing(mirror: ModuleType, parts: list[str]) -> None:
    text = " ".join(parts)
    assert mirror.exchange_sides(mirror.exchange_sides(text)) == text


def test_a_mirrored_pair_shows_and_says_the_other_side(mirror: ModuleType, tmp_path: Path) -> None:
    pixels = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6) * 9
    Image.fromarray(pixels).save(tmp_path / "knee.png")
    knee = pair(tmp_path / "knee.png", "Left knee MRI", "musculoskeletal")
    knee, other = mirror.with_mirrored([knee])
    assert other.caption == "Right knee MRI"
    assert other.captions == {"Right knee MRI": 1.0}
    np.testing.assert_array_equal(other.picture.read(), knee.picture.read()[:, ::-1])


@pytest.mark.parametrize(
    ("part", "columns"),
    [
        ("chest", {}),
        ("heart", {}),
        ("abdomen", {}),
        ("pelvis", {"title": "Appendicitis"}),
        ("spine", {"case_findings": "A mass behind the liver."}),
    ],
)
def test_what_has_its_side_in_every_body_is_never_mirrored(
    mirror: ModuleType, tmp_path: Path, part: str, columns: dict[str, str]
) -> None:
    assert len(mirror.with_mirrored([pair(tmp_path / "a.png", "a mass", part, **columns)])) == 1


def test_a_written_pair_keeps_its_own_caption_as_the_heaviest(captions: ModuleType, tmp_path: Path) -> None:
    own = medpix(tmp_path, "Axial CT shows a large cyst of the left kidney. No stone is seen anywhere.")
    (given,) = captions.with_captions([own])
    assert max(given.captions, key=given.captions.get) == own.caption
    assert {"No stone is seen anywhere.", "Renal cyst", "CT of the kidney", "axial pelvic CT"} <= set(given.captions)


def test_versions_of_a_caption_are_those_of_every_image_that_has_it(captions: ModuleType, tmp_path: Path) -> None:
    text = "Axial CT shows a large cyst of the left kidney"
    one, two = captions.with_captions([medpix(tmp_path, text), medpix(tmp_path, text)])
    assert one.captions == two.captions
    fewer = [caption for caption in one.captions if caption != text and set(caption.split()) < set(text.split())]
    assert fewer, "no version without some of the words"


def test_all_phrasings_of_a_label_are_true_of_each_of_its_images(captions: ModuleType, tmp_path: Path) -> None:
    columns = {"source": "busi_us", "labels": ["benign"], "modality": "US", "text_kind": "label"}
    texts = ["benign breast mass", "ultrasound of a benign mass"]
    pairs = captions.with_captions(
        [pair(tmp_path / f"{n}.png", text, "breast", **columns) for n, text in enumerate(texts)]
    )
    assert all(set(texts) <= set(each.captions) for each in pairs)


def test_what_a_class_is_called_lands_on_its_images(captions: ModuleType, tmp_path: Path) -> None:
    """Each with a weight: it is drawn in training."""
    (knee,) = captions.with_captions([labelled(tmp_path, "knee_oa", "XR", "knee", "knee osteoarthritis")])
    drawn = {caption for caption, weight in knee.captions.items() if weight}
    assert {"X-ray of the knee", "knee radiograph", "Röntgen Knie", "radiografía de rodilla", "radio genou"} <= drawn
    assert {"bone X-ray", "knee osteoarthritis"} <= drawn, "what it is an image of as well, and its finding alone"
    (chest,) = captions.with_captions([labelled(tmp_path, "nih_cxr14", "XR", "chest", "effusion", "nodule")])
    assert {"CXR", "lung X-ray", "pleural effusion", "chest X-ray with lung nodule"} <= set(chest.captions)
    assert chest.captions["X-ray of the chest."] == 0, "true, so no negative, and never drawn"


def test_a_class_is_drawn_by_its_size_and_not_by_how_many_sources_show_it(tmp_path: Path) -> None:
    """One source of 400 alike counts as much as four of 100, and a small class more than its share."""
    one = [labelled(tmp_path, "knee_oa", "XR", "knee", "KL1") for _ in range(400)]
    four = [labelled(tmp_path, f"source{n % 4}", "XR", "hand", "hand") for n in range(400)]
    few = [labelled(tmp_path, "renal_nm", "NM", "kidney", "renal scintigraphy") for _ in range(100)]
    share = recipe("draws").frequencies([*one, *four, *few])
    assert share.sum() == pytest.approx(1)
    assert share[:400].sum() == pytest.approx(share[400:800].sum())
    assert share[800:].sum() == pytest.approx(share[:400].sum() / 2)


def test_drawings_are_the_same_each_time_and_no_two_alike(drawn: ModuleType) -> None:
    pairs = drawn.drawn_pairs(3)
    assert len({pair.case for pair in pairs}) == len(pairs) == 3 * len(drawn.KINDS)
    assert all(pair.columns["modality"] == "none" and len(pair.captions) > 3 for pair in pairs)
    seen = set()
    for pair in pairs:
        pixels = pair.picture.read()
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        np.testing.assert_array_equal(pixels, pair.picture.read())
        seen.add(pixels.tobytes())
    assert len(seen) >= len(pairs) - 2, "blank frames of one colour and size may coincide"


def test_no_case_that_the_example_library_shows_is_trained_on(tmp_path: Path) -> None:
    examples = recipe("examples")
    shown = next(examples.table())["case"]
    kept, left = (replace(labelled(tmp_path, "x", "CT", "head", "x"), case=case) for case in ("another", shown))
    assert examples.without_shown([kept, left]) == [kept]


def test_the_example_images_may_be_shown_and_are_small() -> None:
    examples = recipe("examples")
    rows = list(examples.table())
    assert 60 <= len(rows) <= 90
    assert {row["file"] for row in rows} == {file.name for file in examples.EXAMPLES.glob("*.jpg")}
    assert {row["licence"] for row in rows} <= {"CC0 1.0", "CC BY 2.0", "CC BY 3.0", "CC BY 4.0"}
    attribution = (examples.EXAMPLES / "ATTRIBUTION.md").read_text("utf-8")
    assert all(f"| {row['work']} | {row['licence']} |" in attribution for row in rows)
    assert sum(file.stat().st_size for file in examples.EXAMPLES.iterdir()) < 3e6
    for row in rows:
        with Image.open(examples.EXAMPLES / row["file"]) as image:
            assert min(image.size) <= 320 and not image.getexif()


@pytest.mark.parametrize("licence", ["CC BY-SA 4.0", "CC BY-NC 4.0", "CC BY-NC-ND", "not stated", "Apache 2.0"])
def test_other_licences_are_refused_for_examples(licence: str) -> None:
    assert not recipe("examples")._may_be_shown(licence)


def test_folds_divide_cases_and_each_image_is_held_out_once(tmp_path: Path) -> None:
    validate = recipe("validate")
    pairs = [replace(medpix(tmp_path, "a"), case=f"m{n // 3}") for n in range(90)]
    pairs += [replace(labelled(tmp_path, "x", "CT", "head", "x"), case=f"x{n // 2}") for n in range(60)]
    held = np.array([validate.in_fold(pairs, fold) for fold in range(validate.FOLDS)])
    assert (held.sum(axis=0) == 1).all()
    for case in {pair.case for pair in pairs}:
        assert len({fold for fold, i in zip(*np.nonzero(held), strict=True) if pairs[i].case == case}) == 1
    assert held[:, :90].sum(axis=1).tolist() == [18] * 5, "as many written captions in each"


def test_a_recipe_against_itself_is_a_ratio_of_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validate, random = recipe("validate"), np.random.default_rng(0)
    part = {
        "case": [f"c{n // 2}" for n in range(40)],
        "shuffled-32": np.column_stack([np.full(40, 9), random.integers(1, 9, (40, 2))]).tolist(),
        "image-to-text": random.integers(1, 20, 40).tolist(),
        "text-to-image": random.integers(1, 20, 40).tolist(),
        "precision": {"XR chest": 1.0},
        "drawn": [0, 1],
    }
    for name in ("new", "old"):
        (tmp_path / name / "0").mkdir(parents=True)
        (tmp_path / name / "0/found.json").write_text(json.dumps(part))
    validate.compare_runs(Namespace(names=["new", "old"], output=tmp_path))
    said = capsys.readouterr().out
    assert "new / old  mean of the three: 1.000 (1.000 to 1.000)" in said


def test_what_looks_alike_is_left_out_and_a_written_caption_never(tmp_path: Path) -> None:
    projections = recipe("projections")
    alike = [labelled(tmp_path, "knee_oa", "XR", "knee", "KL1") for _ in range(100)]
    written = [medpix(tmp_path, f"caption {n}") for n in range(100)]
    other = labelled(tmp_path, "knee_oa", "XR", "knee", "KL2")
    assert projections.few_alike([*alike, *written, other]) == [*alike[: projections.ALIKE], *written, other]


def test_projections_learn_what_the_stored_features_tell_apart(tmp_path: Path) -> None:
    """Of eight labels, whose features are noise around a mean of their own, each image finds its own afterwards."""
    projections, random = recipe("projections"), np.random.default_rng(0)
    pairs = [labelled(tmp_path, "s", "XR", "knee", f"label {n % 8}") for n in range(160)]
    pairs = [replace(pair, image=str(n), captions={pair.caption: 1.0}) for n, pair in enumerate(pairs)]
    captions = [pair.caption for pair in pairs[:8]]
    means = random.normal(size=(8, 24))
    images = (means[np.arange(160) % 8] + 0.5 * random.normal(size=(160, 24))).astype(np.float16)
    texts = random.normal(size=(8, 12)).astype(np.float32)
    once = np.ones(160, np.int64)
    features = projections.Features(
        images, np.arange(160), once, texts, {text: row for row, text in enumerate(captions)}
    )
    model = torch.nn.Module()
    model.visual_projection = torch.nn.Linear(24, 6, bias=False)
    model.text_projection = torch.nn.Linear(12, 6, bias=False)
    model.logit_scale = torch.nn.Parameter(torch.tensor(2.0))
    before = {name: one.clone() for name, one in model.state_dict().items()}

    def right(state: dict[str, torch.Tensor]) -> float:
        sides = (
            images.astype(np.float32) @ state[projections.VISUAL].numpy().T,
            texts @ state[projections.TEXTUAL].numpy().T,
        )
        seen, said = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
        return float(((seen @ said.T).argmax(axis=1) == np.arange(160) % 8).mean())

    quick = {"steps": 80, "batch_size": 32, "image_rate": 0.03, "text_rate": 0.03, "dropout": 0.1, "averaging": 0.9}
    learned = projections.fit(model, pairs, features, {**projections.SETTINGS, **quick})
    assert right(before) < 0.5
    assert right(learned) > 0.95
    assert learned.keys() == before.keys()
    assert all(torch.equal(before[name], one) for name, one in model.state_dict().items()), "the model stays as it is"


def labelled(folder: Path, source: str, modality: str, part: str, *labels: str) -> Pair:
    columns = {"source": source, "labels": list(labels), "modality": modality, "text_kind": "label"}
    return pair(folder / "a.png", f"{part} {' '.join(labels)}", part, **columns)


def medpix(folder: Path, caption: str) -> Pair:
    labels = ["CT - noncontrast", "Axial", "Genitourinary", "Renal cyst"]
    columns = {"source": "medpix2", "labels": labels, "modality": "CT", "text_kind": "written", "title": "Renal cyst"}
    return pair(folder / "a.png", caption, "pelvis", **columns)


def test_noise_changes_what_is_trained_on_and_never_what_is_used() -> None:
    torch.manual_seed(0)
    tower = EfficientNetLiteModel(EfficientNetLiteConfig())
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        without = tower.eval()(pixels).pooler_output
    recipe("noise").add_noise(tower, 0.2, 0.25)
    with torch.no_grad():
        assert torch.equal(tower.eval()(pixels).pooler_output, without)
    one, two = tower.train()(pixels).pooler_output, tower(pixels).pooler_output
    assert not torch.equal(one, two)
    assert 0.1 < (one == 0).float().mean() - (without == 0).float().mean() < 0.4  # dropout's share of the features
