"""Labels understood, prompts chosen, and images classified, with an encoder whose answers are known."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from roco_search.classify import Classifier, Label, Picture, Unreadable, classify, classify_files, meaning, split_labels
from roco_search.classify.heat import draw as draw_heat
from roco_search.classify.heat import heat_maps, write
from roco_search.classify.labels import fold
from roco_search.classify.prompt_choice import fitting, prompts_for
from roco_search.errors import InputError
from roco_search.imaging import Tags, open_image
from roco_search.vocabulary import prompt_sets, words
from tests.concepts import ConceptEncoder, draw, picture
from tests.imaging.drawing import shipped

names = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("name", "kind", "of"),
    [
        ("normal", "normal", None),
        ("No Finding", "normal", None),
        ("no_finding", "normal", None),
        ("unremarkable", "normal", None),
        ("healthy", "normal", None),
        ("clear lungs", "normal", None),
        ("Normal chest X-ray", "normal", None),
        ("within normal limits", "normal", None),
        ("no acute cardiopulmonary abnormality", "normal", None),
        ("no evidence of disease", "normal", None),
        ("abnormal", "abnormal", None),
        ("not normal", "abnormal", None),
        ("finding", "abnormal", None),
        ("no tumor", "absence", "tumor"),
        ("without pleural effusion", "absence", "pleural effusion"),
        ("COVID-19 negative", "absence", "covid 19"),
        ("fracture absent", "absence", "fracture"),
        ("normal pressure hydrocephalus", "finding", None),
        ("clear cell carcinoma", "finding", None),
        ("lung disease", "finding", None),
        ("nodule", "finding", None),
        ("pneumonia", "finding", None),
        ("CT", "subject", None),
        ("head and neck", "subject", None),
        ("X-ray of the hand", "subject", None),
    ],
)
def test_a_label_is_understood(name: str, kind: str, of: str | None) -> None:
    assert (meaning(name).kind, meaning(name).of) == (kind, of or name)


@pytest.mark.parametrize("name", ["normal", "no finding", "unremarkable", "healthy", "clear"])
@pytest.mark.parametrize("chosen", sorted(prompt_sets()))
def test_a_negative_label_is_never_negated(name: str, chosen: str) -> None:
    """Against "no no finding", the AUC of CheXzero's negative label was turned round."""
    prompts = prompts_for(Label(name), prompt_sets()[chosen])
    assert any(name in text.lower() for text in prompts.positive)
    for text in prompts.negative:
        assert not re.search(rf"\b({name}|no|without)\b", text.lower()), text
    opposite = prompts_for(Label("abnormal"), prompt_sets()[chosen])
    assert set(opposite.positive) == set(prompts.negative)


def test_presence_and_absence_are_each_others_opposite() -> None:
    chosen = prompt_sets()["chest-xray"]
    present, absent = (prompts_for(Label(name), chosen) for name in ("tumor", "no tumor"))
    assert present.positive == absent.negative
    assert set(absent.positive) < set(present.negative), "what every chest X-ray shows says nothing for an absence"
    assert all("tumor" in text for text in absent.positive)


def test_every_prompt_set_is_complete() -> None:
    special = [entry for entry in prompt_sets().values() if entry.name != "general"]
    assert {"chest-xray", "ct", "mri", "ultrasound"} <= {entry.name for entry in special}
    for entry in prompt_sets().values():
        assert all("{}" in text for text in entry.finding.present)
        assert any("{}" in text for text in entry.finding.absent)
        assert any("{}" not in text for text in entry.normal.absent)
        texts = (*entry.finding.present, *entry.finding.absent, *entry.normal.present, *entry.normal.absent)
        assert all(isinstance(text, str) and text.strip() for text in texts)
    assert all(entry.modalities for entry in special)
    assert "no" in words().negations, "YAML 1.1 reads a bare no as False"


def test_the_header_chooses_the_prompts() -> None:
    def chosen(modality: str, part: str | None = None) -> list[str]:
        return [entry.name for entry in fitting(modality, part)]

    assert chosen("CT") == ["ct"]
    assert chosen("MR", "CHEST") == ["mri"]
    assert chosen("DX", "CHEST") == ["chest-xray"]
    assert chosen("DX", "HAND") == ["xray"]
    assert chosen("DX") == ["chest-xray", "xray"], "the model decides between these"
    assert chosen("EEG") == ["general"]


def test_what_the_header_leaves_open_is_guessed_from_the_vocabularys_classes() -> None:
    encoder = ConceptEncoder()
    classifier = Classifier(encoder, [Label("nodule"), Label("normal")])

    def chosen(text: str, modality: str | None, part: str | None = None) -> tuple[str, bool]:
        return classifier.choose(encoder.encode_texts([text])[0], Tags(modality=modality, body_part=part))

    assert chosen("ultrasound", None) == chosen("ultrasound", "OT") == ("ultrasound", True), "OT says nothing"
    assert chosen("chest", "DX") == ("chest-xray", True) and chosen("knee", "DX") == ("xray", True)
    assert chosen("chest", "DX", "HAND") == ("xray", False), "what the header says is not asked of the model"
    assert chosen("radiograph", None, "CHEST") == ("chest-xray", True)


def test_exclusive_is_one_softmax_at_the_models_temperature() -> None:
    encoder = ConceptEncoder(logit_scale=7.5)
    labels = [Label(name, positive=(f"{name}",)) for name in ("pneumonia", "normal", "nodule")]
    (found,) = classify(encoder, [picture("pneumonia")], labels)
    image = encoder.encode_images([picture("pneumonia")])[0].astype(float)
    cosine = encoder.encode_texts(["pneumonia", "normal", "nodule"]).astype(float) @ image
    expected = np.exp(7.5 * cosine) / np.exp(7.5 * cosine).sum()
    by_name = {entry.label: entry for entry in found.labels}
    for name, score, probability in zip(("pneumonia", "normal", "nodule"), cosine, expected, strict=True):
        assert by_name[name].score == pytest.approx(score, abs=1e-6)
        assert by_name[name].probability == pytest.approx(probability, abs=1e-6)
    assert found.labels[0].label == "pneumonia"
    assert (found.mode, found.path, found.guessed) == ("exclusive", None, False)


def test_multi_label_sets_each_label_against_its_own_opposite() -> None:
    encoder = ConceptEncoder()
    own = Label("pneumonia", ("pneumonia",), ("ct", "mri"))
    image = encoder.encode_images([picture("pneumonia", "mri")])[0].astype(float)
    against = encoder.encode_texts(["ct", "mri"]).astype(float).sum(axis=0)
    gap = encoder.encode_texts(["pneumonia"])[0] @ image - image @ against / np.linalg.norm(against)
    (alone,) = classify(encoder, [picture("pneumonia", "mri")], [own], mode="multi-label")
    assert alone.labels[0].probability == pytest.approx(1 / (1 + np.exp(-10 * gap)), abs=1e-6)
    (among,) = classify(encoder, [picture("pneumonia", "mri")], [own, "normal", "CT"], mode="multi-label")
    found = {entry.label: entry.probability for entry in among.labels}
    assert found["pneumonia"] == alone.labels[0].probability, "other labels do not matter"


@pytest.mark.parametrize(
    "labels",
    [
        ["pneumonia", "no pneumonia"],
        ["without pneumonia", "CT", "pneumonia"],
        ["no CT", "CT"],
        ["normal", "abnormal"],
        ["not normal", "no finding", "COVID-19", "COVID-19 negative"],
        [Label("infiltrate", aliases=("pneumonia",)), "no pneumonia"],
        [Label("pneumonia", positive=("an opacity",)), "no pneumonia"],
        ["pneumonia", Label("no pneumonia", positive=("clear lungs",), negative=("an opacity",))],
    ],
)
@pytest.mark.parametrize("templates", [(), ("an image with {}", "{}")])
def test_a_label_and_its_opposite_add_up_to_one(labels: list[str | Label], templates: tuple[str, ...]) -> None:
    images = [picture("pneumonia"), picture("normal", "ct"), picture("mri")]
    for found in classify(ConceptEncoder(), images, labels, mode="multi-label", templates=templates):
        of = {entry.label: entry.probability for entry in found.labels}
        absent = next(name for name in of if meaning(name).kind in {"absence", "abnormal"})
        wanted = {fold(meaning(absent).of), "infiltrate"}
        if meaning(absent).kind == "abnormal":
            wanted = {fold(name) for name in of if meaning(name).kind == "normal"}
        other = next(probability for name, probability in of.items() if fold(name) in wanted)
        assert of[absent] + other == pytest.approx(1, abs=1e-12)


def test_a_persons_own_prompts_of_both_opposites_are_kept() -> None:
    labels = [Label("pneumonia", positive=("an opacity",)), Label("no pneumonia", negative=("consolidation",))]
    first, second = Classifier(ConceptEncoder(), labels, "multi-label").prompts("chest-xray")
    assert first.positive == ("an opacity",) and second.negative == ("consolidation",)
    assert first.negative == second.positive


def test_the_softmax_is_a_sigmoid_models_own_odds() -> None:
    """That one of two texts matches and the other does not, by SigLIP's independent sigmoids."""
    scale, bias = 10.0, -3.0
    encoder = ConceptEncoder(logit_scale=scale)
    encoder.logit_bias = bias
    own = Label("pneumonia", ("pneumonia",), ("normal",))
    (found,) = classify(encoder, [picture("pneumonia", "ct")], [own], mode="multi-label")
    image = encoder.encode_images([picture("pneumonia", "ct")])[0].astype(float)
    match = 1 / (1 + np.exp(-(scale * (encoder.encode_texts(["pneumonia", "normal"]) @ image) + bias)))
    expected = match[0] * (1 - match[1]) / (match[0] * (1 - match[1]) + match[1] * (1 - match[0]))
    assert found.labels[0].probability == pytest.approx(expected, abs=1e-6)


@settings(max_examples=40)
@given(st.lists(names, min_size=2, max_size=5, unique=True), st.integers(0, 99))
def test_probabilities_are_probabilities_whatever_the_order(labels: list[str], seed: int) -> None:
    encoder = ConceptEncoder(logit_scale=50)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)
    (found,) = classify(encoder, [pixels], labels)
    probabilities = [entry.probability for entry in found.labels]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    (turned,) = classify(encoder, [pixels], labels[::-1])
    expected = {entry.label: entry.probability for entry in found.labels}
    assert {entry.label: entry.probability for entry in turned.labels} == pytest.approx(expected)


def test_shares_of_the_prompts_add_up_to_the_score() -> None:
    (found,) = classify(ConceptEncoder(), [picture("normal")], ["normal", "pneumonia"], mode="multi-label", shares=True)
    for entry in found.labels:
        positive = [share for share in entry.shares if share.side == "positive"]
        assert sum(share.share for share in positive) == pytest.approx(entry.score)
        assert len(positive) > 1 and len(entry.shares) > len(positive)


def test_templates_replace_the_prompts_but_not_a_persons_own() -> None:
    labels = [Label("pneumonia"), Label("normal"), Label("mine", ("my words",), ("not my words",))]
    classifier = Classifier(ConceptEncoder(), labels, "multi-label", ["a chest x-ray of {}", "{} {x}"])
    pneumonia, normal, mine = classifier.prompts("own")
    assert pneumonia.positive == ("a chest x-ray of pneumonia", "pneumonia {x}")
    assert pneumonia.negative == ("a chest x-ray of no pneumonia", "no pneumonia {x}")
    assert normal.negative == ("a chest x-ray of abnormality", "abnormality {x}")
    assert (mine.positive, mine.negative) == (("my words",), ("not my words",))
    (found,) = classifier.predict(ConceptEncoder().encode_images([picture("normal")]))
    assert (found.prompt_set, found.guessed) == ("own", False)


@pytest.mark.parametrize(
    ("labels", "mode", "templates", "says"),
    [
        ([], "exclusive", [], "no label"),
        ([], "multi-label", [], "no label"),
        (["normal"], "exclusive", [], "always gets probability 1"),
        (["normal", "Normal "], "exclusive", [], "given twice"),
        (["no-finding", "no finding"], "multi-label", [], "given twice"),
        (["a", " "], "exclusive", [], "empty"),
        (["a", "b"], "exclusive", ["an x-ray"], "has no {}"),
        (["a", "b"], "both", [], "not a mode"),
    ],
)
def test_labels_that_cannot_work_are_refused(labels: list[str], mode: str, templates: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        classify(ConceptEncoder(), [picture()], labels, mode=mode, templates=templates)  # type: ignore[arg-type]
    assert str(refused.value).endswith(".")


def test_labels_between_commas() -> None:
    found = split_labels(["normal, pneumonia,", "pleural   effusion", ",,"])
    assert [label.name for label in found] == ["normal", "pneumonia", "pleural effusion"]


def test_a_folder_with_a_broken_file_shifts_nobody(tmp_path: Path) -> None:
    for number in range(40):
        draw(tmp_path / f"{number:02}.png", "pneumonia" if number % 2 else "normal")
    (tmp_path / "17.png").write_bytes((tmp_path / "17.png").read_bytes()[:60])
    (tmp_path / "notes.txt").write_text("nothing to see")
    draw(tmp_path / "03.normal.heat.png", "normal")
    classifier = Classifier(ConceptEncoder(), [Label("normal"), Label("pneumonia")])
    found = list(classify_files(classifier, [tmp_path]))
    assert [Path(str(entry.path)).name for entry in found] == [f"{number:02}.png" for number in range(40)]
    for number, entry in enumerate(found):
        if number == 17:
            assert isinstance(entry, Unreadable) and entry.reason
        else:
            assert not isinstance(entry, Unreadable)
            assert entry.labels[0].label == ("pneumonia" if number % 2 else "normal")


def test_what_a_header_says_is_not_guessed() -> None:
    frames = [next(open_image(shipped(name))) for name in ("CT_small.dcm", "MR_small.dcm")]
    labels = ["nodule", "normal"]
    ct, mr, unknown = classify(ConceptEncoder(), [*frames, picture("ct")], labels)
    assert [(entry.prompt_set, entry.guessed) for entry in (ct, mr)] == [("ct", False), ("mri", False)]
    assert (unknown.prompt_set, unknown.guessed) == ("ct", True)
    (subject,) = classify(ConceptEncoder(), [picture("ct")], ["CT", "MRI"])
    assert not subject.guessed, "labels that say what is imaged are asked alike of every image"


def test_heat_is_where_the_evidence_is() -> None:
    encoder = ConceptEncoder()
    classifier = Classifier(encoder, [Label(name, (name,)) for name in ("pneumonia", "ct", "mri")])
    directions = np.stack([classifier.contrast(name, "own") for name in ("pneumonia", "ct")])
    heats = heat_maps(encoder, picture("pneumonia", "ct", side=100), directions)
    assert heats.dtype == np.float32 and heats.shape == (2, 32, 32)
    for heat, quarter in zip(heats, ((0, 0), (1, 0)), strict=True):
        means = heat.reshape(2, 16, 2, 16).mean(axis=(1, 3))
        assert np.unravel_index(means.argmax(), (2, 2)) == quarter
        assert means.max() > 0 > means.min(), "the other bright quarter speaks for another label"


def test_heat_maps_overwrite_nothing_but_themselves(tmp_path: Path) -> None:
    first, second = draw(tmp_path / "a" / "x.png", "ct"), draw(tmp_path / "b" / "x.png", "mri")
    drawn = draw_heat(picture("ct", side=2000)[:, :1000], np.eye(8, dtype=np.float32) - 0.5)
    assert drawn.size == (512, 1024)
    taken = tmp_path / "out" / "x.pleural-effusion.heat.png"
    draw(taken, "ct")
    before = taken.read_bytes()
    paths = [write(drawn, tmp_path / "out", source, "Pleural / effusion") for source in (first, second, first)]
    assert [path.name for path in paths] == [f"x.pleural-effusion.{n}.heat.png" for n in (2, 3, 2)]
    assert taken.read_bytes() == before
    with Image.open(paths[0]) as image:
        assert image.size == (512, 1024)
        assert "x.png" not in json.dumps({key: str(value) for key, value in image.info.items()})
    assert paths[0].stat().st_mode & 0o077 == 0, "a picture of a patient is its owner's alone"
    with pytest.raises(InputError, match="cannot be written"):
        write(drawn, first, second, "ct")


def test_a_picture_is_shown_while_its_pixels_are_at_hand(tmp_path: Path) -> None:
    draw(tmp_path / "one.png", "ct")
    seen: list[tuple[str, tuple[int, ...], str]] = []

    def look(shown: Picture, prediction: object) -> None:
        seen.append((Path(shown.path).name, shown.pixels.shape, type(prediction).__name__))

    list(classify_files(Classifier(ConceptEncoder(), [Label("CT"), Label("MRI")]), [tmp_path], seen=look))
    assert seen == [("one.png", (64, 64, 3), "Prediction")]


def test_a_batch_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        draw(tmp_path / f"{number}.png", "ct")
    monkeypatch.setattr("roco_search.classify.MAX_BYTES", 2 * 64 * 64 * 3)
    batches: list[int] = []

    class Counting(ConceptEncoder):
        def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
            batches.append(len(images))
            return super().encode_images(images)

    assert len(list(classify_files(Classifier(Counting(), [Label("CT"), Label("MRI")]), [tmp_path]))) == 5
    assert batches == [2, 2, 1]
