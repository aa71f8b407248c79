"""A strong match: the picture is and shows what is asked for, and more pictures do than would by chance."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import pdtrc

from roco_search.library.vectors.facts import Facts, Header
from roco_search.models import load_encoder
from roco_search.search import search
from roco_search.search.certainty import Certainty, more_than_chance
from roco_search.search.evidence import Evidence, Extra
from roco_search.search.hits import Hit, Piece, doubt, reasons
from roco_search.search.senses import STEP, column, found_column
from roco_search.search.understanding import understand
from roco_search.search.weighing import match
from roco_search.search.weights import FALSE_ALARM, Weights, load
from tests.library.toy import Opened

CHEST = {"modality": ["XA", "XR"], "body_part": ["chest"]}
WEIGHTS = Weights(
    {"text": 1.0},
    detectable={"finding:pneumonia": CHEST, "finding:pneumothorax": CHEST},
    certain={"finding:pneumonia": -0.2},  # nothing makes a pneumothorax certain
)
SURE, UNSURE = int(0.2 / STEP), int(0.2 / STEP) + 1
FAR = 255


def facts(seen: list[int], *, modality: str = "XR") -> Facts:
    """Return the facts of chest pictures, with the byte of the head for pneumonia of each."""
    senses = np.full((found_column(len(WEIGHTS.detectable)), len(seen)), FAR, np.uint8)
    senses[column("modality", modality)] = senses[column("body_part", "chest")] = 0
    senses[found_column(0)] = senses[found_column(1)] = seen
    return Facts([Header(None, None, None, None)], np.zeros(len(seen), np.uint32), senses)


def doubts(text: str, known: Facts, row: int = 0, **changed: Any) -> tuple[str, ...]:
    evidence = Evidence(understand(text), WEIGHTS, {"text": np.zeros(4, np.float32)})
    return Certainty(replace(evidence, **changed), known).doubts(row, row)


def test_a_finding_is_certain_where_its_head_says_so_in_more_pictures_than_by_chance() -> None:
    some = facts([SURE] * 6 + [UNSURE] * 94)  # 2 of 100 would be chance
    assert doubts("pneumonia", some) == ()
    assert doubts("pneumonia", some, row=6) == ("pneumonia",), "the head is less sure of this one"
    assert doubts("pneumonia", facts([SURE] * 2 + [UNSURE] * 98)) == ("pneumonia",), "as many as chance brings"
    assert doubts("pneumonia", facts([SURE] * 6 + [UNSURE] * 94, modality="MR")) == ("pneumonia",), "of another kind"


def test_a_finding_that_no_head_makes_certain_is_doubted_and_what_is_no_finding_is_not() -> None:
    sure = facts([SURE] * 50)
    assert doubts("pneumothorax", sure) == ("pneumothorax",)
    assert doubts("appendicitis", sure) == ("appendicitis",)
    assert doubts("chest x-ray with pneumomediastinum", sure) == ("pneumomediastinum",), "a word that nothing knows"
    assert doubts("pneumonia with pneumothorax", sure) == ("pneumothorax",)
    assert doubts("chest x-ray", sure) == doubts("chest x-ray without pneumothorax", sure) == ()


KINDS = replace(
    WEIGHTS,
    certain={**WEIGHTS.certain, "view:pa": -0.2},
    detectable={**WEIGHTS.detectable, "view:pa": CHEST},
    certain_classes={
        "modality:CT": (-0.7, 0.001),
        "body_part:chest@CT": (-0.1, 0.001),
        "body_part:chest": (-0.6, 0.001),
        "body_part:heart@CT": (),  # too few cardiac CTs reach what other CTs do
        "body_part:heart": (-0.6, 0.001),
        "plane:axial@CT": (-0.1, 0.1),
    },
)


def scans(chest: list[float], *, modality: str = "CT", axial: float = 0.0, header: Header | None = None) -> Facts:
    """Return the facts of pictures of a modality, with the log-probability of the chest, and of the axial plane."""
    senses = np.full((found_column(len(KINDS.detectable)), len(chest)), FAR, np.uint8)
    senses[column("modality", modality)] = 0
    senses[column("body_part", "chest")] = senses[column("body_part", "heart")] = np.array(chest) / -STEP
    senses[column("plane", "axial")] = axial / -STEP
    return Facts([header or Header(None, None, None, None)], np.zeros(len(chest), np.uint32), senses)


@pytest.mark.parametrize(
    ("text", "known", "doubted"),
    [
        ("chest CT", scans([-0.05] * 3), ()),
        ("lung CT", scans([-0.05] * 3), ()),  # every picture of the chest shows the lung
        ("chest CT", scans([-0.4] * 3), ("chest",)),  # as likely as cardiac CTs are
        ("chest", scans([-0.4] * 3, modality="MR"), ()),  # which is far from any other MRI
        ("chest CT", scans([-0.05] * 3, modality="MR"), ("CT", "chest")),
        ("cardiac CT", scans([-0.05] * 3), ("heart",)),
        ("CT of the esophagus and liver", scans([-0.05] * 3), ()),  # one of both is enough
        ("CT of the liver", scans([-0.05] * 3), ("liver",)),  # the model has no word for it
        ("CT of the ribs", scans([-0.05] * 3), ("ribs",)),
        ("axial CT", scans([-0.05] * 3), ()),
        ("axial CT", scans([-0.05] * 3, axial=-0.3), ("axial",)),
        ("axial CT", scans([-0.05]), ("axial",)),  # one in ten is taken for it, so one alone may be chance
        ("chest CT", scans([-0.4] * 3, header=Header("CT", "CHEST", None, None)), ()),
        ("chest CT", scans([-0.05] * 3, header=Header("CT", "HEART", None, None)), ()),  # a part of it
        ("chest CT", scans([-0.05] * 3, header=Header("CT", "KNEE", None, None)), ("chest",)),
        ("PA chest", scans([-0.05] * 3, header=Header(None, "CHEST", "PA", None)), ()),
        ("PA chest", scans([-0.05] * 3, header=Header(None, "CHEST", "LATERAL", None)), ("PA view",)),
        ("PA chest", scans([-0.05] * 3), ("PA view",)),
    ],
)
def test_a_header_or_the_model_is_certain_of_the_kind_of_picture(
    text: str, known: Facts, doubted: tuple[str, ...]
) -> None:
    assert doubts(text, known, weights=KINDS) == doubted


def test_what_no_limit_was_measured_for_is_not_doubted() -> None:
    assert doubts("axial chest CT of a PA view", scans([-5.0] * 3)) == ()


def test_one_sentence_says_what_is_doubted_in_every_hit() -> None:
    hit = Hit(1, 0.3, "a.png", 0, 1, None, None, None, None, None, None, match="fair")
    named: dict[str, object] = {"modality": ["CT"], "body_part": ["chest"], "plane": ["axial"], "view": ["PA view"]}
    hit = replace(hit, doubts=("CT", "chest", "axial", "PA view"), understood=named)
    assert doubt([hit]) == 'The model is not certain of CT, the chest, the axial plane or "PA view" in any of these.'
    typed = replace(hit, doubts=("pneumonia", "duodenal"), understood={"findings": ["pneumonia"], "rest": "duodenal"})
    assert doubt([typed]) == 'The model is not certain of pneumonia or "duodenal" in any of these.'


def test_a_reason_says_what_the_model_sees_and_what_it_does_not() -> None:
    pieces = (
        Piece("seen", "model", "osteoarthritis", 0.9, 1.0),
        Piece("unseen", "model", "fracture", 0.8, 0.5),
        Piece("body_part", "model", "knee", 1.0, 0.1),
        Piece("place", "model", "fetus", 0.02, -1.0),
    )
    hit = Hit(1, 0.3, "a.png", 0, 1, None, None, None, None, None, None, evidence=pieces)
    assert reasons(hit) == [
        "osteoarthritis: 90%",
        "no fracture: 80%",
        "looks like knee (100%)",
        "looks like fetus (what is asked: 2%)",
    ]


def test_a_caption_leaves_no_doubt_of_what_it_affirms_and_a_model_without_heads_raises_none() -> None:
    """A picture of which "fracture-dislocation" is said is no strong match for "tib fib fracture"."""
    ids, values = np.array([0, 1]), np.array([1.0, 0.6], np.float32)
    affirming = {"pneumonia": ids[:1], "cavitation": ids}
    caption = Extra("captions", ids, values, "caption", lambda ids: {}, affirming)
    nothing = facts([UNSURE] * 3)
    text = "pneumonia with cavitation"
    assert doubts(text, nothing, row=0, extras=(caption,)) == ()
    assert doubts(text, nothing, row=1, extras=(caption,)) == ("pneumonia",)
    assert doubts(text, nothing, row=2, extras=(caption,)) == doubts(text, nothing) == ("pneumonia", "cavitation")
    assert doubts("pneumonia", nothing, weights=replace(WEIGHTS, detectable={})) == ()


@given(st.integers(0, 400), st.floats(0, 400))
def test_more_than_chance_is_a_test_at_five_percent(count: int, expected: float) -> None:
    """Compared with the distribution's tail; where that is near five percent, a normal one may stand in for it."""
    tail = float(pdtrc(count - 1, expected)) if count else 1.0
    if count > expected and not 0.03 < tail < 0.07:
        assert more_than_chance(count, expected) == (tail < 0.05)
    if count <= expected:
        assert not more_than_chance(count, expected)


@pytest.mark.parametrize("logit", [3.0, 1.5, 0.5, -1.0])
def test_a_doubted_hit_is_no_strong_match_and_else_what_it_was(logit: float) -> None:
    of = match(logit, (2.0, 1.0, 0.0))
    assert match(logit, (2.0, 1.0, 0.0), doubted=True) == ("fair" if of == "strong" else of)


def test_the_embedded_model_is_certain_of_findings_that_held_out_pictures_tell_apart() -> None:
    weights = load(load_encoder("roco-mini", "cpu", "fast"))
    assert {"finding:pneumonia", "finding:fracture", "finding:tuberculosis"} <= set(weights.certain)
    assert "finding:pneumothorax" not in weights.certain, "two of a hundred without it reach what one in ten with it do"
    assert set(weights.certain) <= set(weights.detectable)
    assert all(value <= 0 for value in weights.certain.values()) and FALSE_ALARM == 0.02


def test_an_absent_finding_is_no_strong_match_and_one_sentence_says_so(tmp_path: Path) -> None:
    for picture in (files("roco_search") / "examples").iterdir():
        if picture.name.startswith(("chest-xray", "head-ct")):
            (tmp_path / picture.name).write_bytes(picture.read_bytes())
    with Opened(tmp_path / "library", cast(Any, load_encoder("roco-mini", "cpu", "fast"))) as opened:
        opened.index(tmp_path)
        hits = search(opened.library, opened.encoder, ["pneumothorax"], n=5)
        assert {hit.match for hit in hits} <= {"fair", "weak", "none"} and hits[0].doubts == ("pneumothorax",)
        assert doubt(hits) == "The model is not certain of pneumothorax in any of these."
        healthy = [replace(hit, match="fair", doubts=("normal",)) for hit in hits]
        assert doubt(healthy) == "The model is not certain that any of these is normal."
        plain = search(opened.library, opened.encoder, ["chest x-ray"], n=2)
        assert plain[0].match == "strong" and doubt(plain) is None
