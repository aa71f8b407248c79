"""A query is read: what it names, what it denies, how it was meant to be spelt, in six languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from roco_search.search.understanding import Understood, understand
from roco_search.vocabulary.concepts import KINDS, fold, implied_by_words, lexicon
from roco_search.vocabulary.concepts import split as parts


def named(understood: Understood) -> dict[str, list[str]]:
    found = {kind: [concept.key for concept in understood.of(kind)] for kind in KINDS}
    found["excluded"] = [concept.key for concept in understood.excluded]
    return {kind: keys for kind, keys in found.items() if keys}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("axial T2 brain MRI", {"plane": ["axial"], "sequence": ["t2"], "modality": ["MR"], "body_part": ["brain"]}),
        ("PA chest radiograph", {"view": ["pa"], "modality": ["XR"], "body_part": ["chest"]}),
        ("left knee x-ray", {"laterality": ["left"], "body_part": ["knee"], "modality": ["XR"]}),
        ("CT abdomen with contrast", {"modality": ["CT"], "body_part": ["abdomen"], "contrast": ["with"]}),
        ("non-contrast CT", {"contrast": ["without"], "modality": ["CT"]}),
        ("CXR", {"modality": ["XR"], "body_part": ["chest"]}),
        ("KUB", {"modality": ["XR"], "body_part": ["abdomen"]}),
        ("CTA", {"modality": ["CT"], "contrast": ["with"]}),
        ("MRCP", {"sequence": ["mrcp"], "modality": ["MR"], "body_part": ["liver"]}),
        ("OPG", {"view": ["panoramic"], "modality": ["XR"], "body_part": ["teeth"]}),
        ("DSA", {"modality": ["XA"]}),
        ("AXR", {"modality": ["XR"], "body_part": ["abdomen"]}),
        ("US breast", {"modality": ["US"], "body_part": ["breast"]}),
        ("LLL pneumonia", {"body_part": ["lung"], "laterality": ["left"], "finding": ["pneumonia"]}),
    ],
)
def test_words_and_abbreviations_are_read(text: str, expected: dict[str, list[str]]) -> None:
    assert named(understand(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "chest x-ray with pneumonia",
        "Röntgen Thorax mit Lungenentzündung",
        "radiografía de tórax con neumonía",
        "radiographie du thorax avec pneumonie",
        "radiografia del torace con polmonite",
        "radiografia de tórax com pneumonia",
    ],
)
def test_five_more_languages_mean_the_same(text: str) -> None:
    expected = {"modality": ["XR"], "body_part": ["chest"], "finding": ["pneumonia"]}
    assert named(understand(text)) == expected


def test_a_german_compound_is_taken_apart() -> None:
    assert named(understand("Knieröntgen")) == {"body_part": ["knee"], "modality": ["XR"]}
    assert named(understand("Kniegelenksarthrose")) == {"body_part": ["knee"], "finding": ["osteoarthritis"]}


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("liver lesion", {"body_part": ["liver"], "finding": ["lesion"]}),
        ("Leberläsion", {"body_part": ["liver"], "finding": ["lesion"]}),
        ("foreign body", {"finding": ["foreign body"]}),
        ("lung mass", {"finding": ["lung mass"]}),
        ("adnexal mass", {"body_part": ["uterus"], "finding": ["mass"]}),
        ("white matter lesions", {"finding": ["white matter lesions"]}),
        ("hepatosplenomegaly", {"finding": ["hepatomegaly", "splenomegaly"]}),
        ("myocarditis", {"finding": ["myocarditis"]}),
        ("cervical cancer", {"finding": ["cervical cancer"]}),
        ("CT AP", {"modality": ["CT"], "body_part": ["abdomen", "pelvis"]}),
        ("pelvic ultrasound", {"body_part": ["pelvis"], "modality": ["US"]}),
        ("turbo spin echo", {"sequence": ["se"], "modality": ["MR"]}),
        ("bone window", {"modality": ["CT"]}),
        ("filling defect", {"finding": ["filling defect"]}),
        ("mass effect", {"finding": ["mass effect"]}),
        ("subcutaneous emphysema", {"finding": ["subcutaneous emphysema"]}),
        ("Kerley B lines", {"finding": ["pulmonary edema"]}),
        ("cavitary lesion", {"finding": ["cavitation"]}),
        ("scanner abdomino-pelvien", {"modality": ["CT"], "body_part": ["abdomen", "pelvis"]}),
        ("boxer's fracture", {"body_part": ["hand"], "finding": ["fracture"]}),
    ],
)
def test_a_word_is_not_read_as_a_kind_or_a_neighbour_of_what_it_means(typed: str, read: dict[str, list[str]]) -> None:
    assert named(understand(typed)) == read


@pytest.mark.parametrize(
    ("typed", "finding"),
    [
        ("effusion", "pleural effusion"),
        ("CXR effusion", "pleural effusion"),
        ("knee x-ray with effusion", "joint effusion"),
        ("Erguss im Knie", "joint effusion"),
        ("effusion around the heart", "pericardial effusion"),
        ("effusion in the abdomen", "effusion"),
        ("stones", "kidney stone"),
        ("gallbladder stones", "gallstones"),
        ("infarct", "stroke"),
        ("cardiac infarct", "myocardial infarction"),
        ("renal infarct", "infarct"),
        ("liver fibrosis", "fibrosis"),
        ("carotid dissection", "dissection"),
        ("implant on mammogram", "breast implant"),
        ("bladder outlet obstruction", "obstruction"),
    ],
)
def test_a_general_word_means_its_usual_kind_unless_another_place_is_named(typed: str, finding: str) -> None:
    assert named(understand(typed))["finding"] == [finding]
    assert named(understand(f"without {finding}"))["excluded"] == [named(understand(finding))["finding"][0]]


def test_what_is_denied_may_mean_its_opposite_and_what_shows_a_finding_is_not_normal() -> None:
    assert named(understand("CT head w/o contrast"))["contrast"] == ["without"]
    assert named(understand("MRI with and without contrast"))["contrast"] == ["with", "without"]
    assert named(understand("not normal")) == {"finding": ["abnormal"]}
    assert named(understand("normal heart, pleural effusion"))["finding"] == ["pleural effusion"]
    assert named(understand("normal chest"))["finding"] == ["normal"]


def test_words_around_what_is_asked_for_ask_for_nothing() -> None:
    for typed in (
        "s/p THR",
        "h/o pneumonia",
        "TB vs sarcoid",
        "Z.n. Fraktur",
        "can you show me a CXR",
        "12 week fetus",
    ):
        assert understand(typed).unread == () and understand(typed).elsewhere == 0, typed
    assert understand("TB without cavitation").rest == (), "what is denied is not looked for"
    assert understand("intra articular").english == "intra articular", "a prefix is a word, too, where it stands alone"
    assert understand("fracture of a bone").english == "fracture bone", "that is no abbreviation"
    assert understand("TOF MRA").english == "MR angiography MRI", "and what two words mean is written once"


@pytest.mark.parametrize(
    ("text", "places", "excluded"),
    [
        ("no hip fracture", ["hip"], ["fracture"]),
        ("CT abdomen, no liver lesion", ["abdomen"], ["lesion"]),
        ("no fracture or hip dislocation", ["hip"], ["fracture", "dislocation"]),
        ("no Colles fracture", ["wrist"], ["fracture"]),
        ("keine Lungenmetastasen", ["lung"], ["metastases"]),
        ("no acute intracranial abnormality", ["brain"], []),
        ("no acute cardiopulmonary process", ["chest"], []),
        ("ultrasound without kidney", [], ["kidney"]),
    ],
)
def test_a_denied_finding_does_not_deny_the_place_where_it_would_be(
    text: str, places: list[str], excluded: list[str]
) -> None:
    found = named(understand(text))
    assert (found.get("body_part", []), found.get("excluded", [])) == (places, excluded)
    assert found.get("finding", []) == ([] if excluded else ["normal"])


@pytest.mark.parametrize(
    ("text", "wanted", "excluded"),
    [
        ("chest x-ray without pneumonia", [], ["pneumonia"]),
        ("no pneumothorax chest film", [], ["pneumothorax"]),
        ("negative for hemorrhage", [], ["hemorrhage"]),
        ("CT without hemorrhage or fracture", [], ["hemorrhage", "fracture"]),
        ("effusion but no pneumothorax", ["pleural effusion"], ["pneumothorax"]),
        ("no pneumothorax but effusion", ["pleural effusion"], ["pneumothorax"]),
        ("Thorax ohne Erguss", [], ["pleural effusion"]),
        ("sin fractura", [], ["fracture"]),
        ("sans fracture", [], ["fracture"]),
        ("senza frattura", [], ["fracture"]),
        ("sem fratura", [], ["fracture"]),
        ("rule out pneumothorax", ["pneumothorax"], []),
        ("r/o pneumothorax", ["pneumothorax"], []),
        ("Ausschluss Pneumothorax", ["pneumothorax"], []),
        ("normal chest", ["normal"], []),
        ("chest, no abnormality", ["normal"], []),
    ],
)
def test_what_is_denied_is_excluded_and_ruling_out_denies_nothing(
    text: str, wanted: list[str], excluded: list[str]
) -> None:
    found = named(understand(text))
    assert (found.get("finding", []), found.get("excluded", [])) == (wanted, excluded)


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ("Ultraschall der Brust", "breast"),
        ("MRT Brust", "breast"),
        ("ecografía de pecho", "breast"),
        ("Röntgen Brust", "chest"),
        ("CT Brust", "chest"),
    ],
)
def test_a_word_for_chest_and_breast_means_what_the_modality_shows(typed: str, place: str) -> None:
    assert [concept.key for concept in understand(typed).of("body_part")] == [place]


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("duodenal ulcer", {"body_part": ["abdomen"]}),
        ("tricuspid regurgitation", {"body_part": ["heart"]}),
        ("transesophageal view", {"body_part": ["heart"], "modality": ["US"]}),
        ("capitate", {"body_part": ["hand"]}),
        ("hypoechoic nodule of the breast", {"modality": ["US"]}),
        ("placenta previa", {}),
        ("no cholangitis", {}),
        ("photo of a cat", {}),
    ],
)
def test_a_word_that_names_nothing_suggests_where_it_is_said_of(typed: str, suggested: dict[str, list[str]]) -> None:
    found = understand(typed)
    keys = {kind: [concept.key for concept in found.suggested(kind)] for kind in ("body_part", "modality")}
    assert {kind: names for kind, names in keys.items() if names} == suggested
    for word in found.implied:
        assert f'"{word}" suggests' in found.line and word in found.as_json()["implied"]  # type: ignore[operator]
        assert word in found.unread, "where a thing is found is known, not what it looks like"


def test_no_word_that_names_a_concept_is_listed_among_those_that_imply_one() -> None:
    assert [word for word in implied_by_words() if understand(word, correct=False).wanted] == []


def test_words_that_nothing_knows_are_named_and_qualities_are_not() -> None:
    assert understand("chest x-ray with pneumomediastinum").unread == ("pneumomediastinum",)
    assert understand("erect chest x-ray of an elderly man").unread == ()
    assert "erect" in understand("erect chest x-ray").english
    assert understand("photo of a cat").unread == (), "that is another world"


@pytest.mark.parametrize(
    ("level", "part"), [("L4/5", "lumbar spine"), ("C5-C6", "cervical spine"), ("T10", "thoracic spine")]
)
def test_a_level_of_the_spine_is_a_part_of_it(level: str, part: str) -> None:
    assert [concept.key for concept in understand(f"{level} fracture").of("body_part")] == [part]


@pytest.mark.parametrize(
    ("typed", "read"),
    [("MR lspine", "MRI lumbar spine"), ("xr c spine", "X-ray cervical spine"), ("petct wholebody", "PET whole body")],
)
def test_a_clipped_word_is_written_out_for_the_model(typed: str, read: str) -> None:
    assert understand(typed).english == read


def test_a_phrase_means_what_it_does_in_the_language_of_the_query() -> None:
    assert named(understand("CT for PE")) == {"modality": ["CT"], "finding": ["pulmonary embolism"]}
    assert named(understand("RM do pé")) == {"modality": ["MR"], "body_part": ["foot"]}
    assert named(understand("cavity lung")) == {"body_part": ["lung"]}


@given(some.text(max_size=60))
def test_anything_can_be_read(text: str) -> None:
    found = understand(text)
    assert found.text == text and 0 <= found.elsewhere <= 1
    assert not set(found.wanted) & set(found.excluded)


def test_other_worlds_are_recognised_by_their_words() -> None:
    assert understand("chocolate cake").elsewhere == 1 and understand("football match").elsewhere == 1
    assert understand("pleural effusion").elsewhere == 0 and understand("osteopetrosis").elsewhere == 0


def test_the_lexicon_is_sound() -> None:
    """What a concept refers to exists, and folding a phrase twice changes nothing."""
    concepts = lexicon().concepts
    for concept in concepts.values():
        for key in (*concept.within, *concept.parts):
            assert (concept.kind, key) in concepts or key in {"upper limb", "lower limb"}, (concept.key, key)
        assert concept.place is None or ("body_part", concept.place) in concepts
        assert concept.opposite is None or (concept.kind, concept.opposite) in concepts
        assert concept.usually is None or concept.key in concepts["finding", concept.usually].within, concept.key
        assert fold(concept.name) == fold(fold(concept.name))
    assert parts("a, b,c ") == ("a", "b", "c")
    assert all(phrase == fold(phrase) for phrase in lexicon().phrases)
    languages = [sum(language in spoken for _, spoken in lexicon().phrases.values()) for language in ("de", "es", "fr")]
    assert min(languages) > 500
