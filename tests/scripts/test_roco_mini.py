"""What roco-mini's recipe makes of a data set's rows before training draws from them."""

from __future__ import annotations

import importlib
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
