"""One table says what an image can be; guesses, `classify` and `eval` take their words from it alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roco_search import vocabulary
from roco_search.classify.engine import Classifier
from roco_search.classify.guesses import ATTRIBUTES, Guesses, guessable
from roco_search.classify.labels import Label
from roco_search.evaluation.classes import find_classes, find_column
from roco_search.imaging.dicom.tags import body_part
from roco_search.imaging.dicom.terms import MODALITIES
from roco_search.models import load_encoder
from roco_search.vocabulary import attributes, image_classes, read_yaml
from tests.concepts import ConceptEncoder
from tests.evaluation.made import pair

DEV = Path(__file__).parents[3] / "shared" / "data" / "pairs" / "dev"


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A vocabulary in which MRI is described by a word that occurs nowhere else."""
    content = {
        name: dict(read_yaml(name)) for name in ("classes/modality.yaml", "classes/body_part.yaml", "terms.yaml")
    }
    content["classes/modality.yaml"]["MRI"] = {"positive": ["zeugmatography"], "aliases": ["MR"]}
    monkeypatch.setattr(vocabulary, "read_yaml", lambda name: content[name] if name in content else read_yaml(name))
    image_classes.cache_clear()
    yield
    image_classes.cache_clear()


@pytest.mark.usefixtures("renamed")
def test_guesses_classify_and_eval_read_one_table() -> None:
    encoder = ConceptEncoder()
    image = encoder.encode_texts(["zeugmatography"])
    assert Guesses(encoder).guess("modality", image) == ["MR"]
    classifier = Classifier(encoder, [Label("nodule"), Label("normal")])
    assert classifier.choose(image[0].astype(np.float64), None) == ("mri", True)
    rows = [pair(number, "a", modality=value) for number, value in enumerate(["CT", "MR"])]
    found = find_classes(find_column("modality", rows), rows)
    assert [label.positive for label in found.labels if label.name == "MRI"] == [("zeugmatography",)]


def test_every_class_of_modality_and_body_part_is_mapped_to_terms_of_the_standard() -> None:
    terms = read_yaml("terms.yaml")
    for attribute, known in (("modality", MODALITIES.__contains__), ("body_part", body_part)):
        assert terms[attribute].keys() == {entry.name for entry in image_classes(attribute)}
        assert all(known(term) for entry in image_classes(attribute) for term in entry.terms)
    shown = [entry.terms[0] for attribute in ATTRIBUTES for entry in guessable(attribute)]
    assert len(set(shown)) == len(shown), "no two classes are shown alike"


def test_planes_are_never_guessed() -> None:
    assert "plane" in attributes() and not any(entry.terms for entry in image_classes("plane"))


@pytest.mark.slow
@pytest.mark.skipif(not DEV.is_dir(), reason="needs the development images")
def test_guesses_of_the_embedded_model_are_as_good_as_its_evaluation() -> None:
    """Every twelfth row of all sources; the whole is measured by `roco eval --classify`, and the card states it."""
    from roco_search.imaging import open_image

    rows = [json.loads(line) for line in (DEV / "metadata.jsonl").read_text("utf-8").splitlines()][::12]
    encoder = load_encoder("roco-mini", precision="fast")
    vectors = encoder.encode_images([next(open_image(DEV / row["file_name"])).pixels for row in rows])
    for attribute, least in zip(ATTRIBUTES, (0.95, 0.87), strict=True):
        terms = {name: entry.terms[0] for entry in guessable(attribute) for name in (entry.name, *entry.aliases)}
        guesses = Guesses(encoder).guess(attribute, vectors)
        right = [terms[row[attribute]] == guess for row, guess in zip(rows, guesses, strict=True)]
        assert np.mean(right) > least, attribute
