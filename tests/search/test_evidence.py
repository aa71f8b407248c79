"""All that is known of a picture ranks it: compared with a sum over every row, computed here on its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roco_search.errors import LibraryEmpty
from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.search import Filters, read, search
from roco_search.search.evidence import SENSED, gather
from roco_search.search.phrasing import phrasings
from roco_search.search.senses import ATTRIBUTES, FLOOR, NOISE, STEP, Senses, classes, column, shipped_bank
from roco_search.search.understanding import as_typed, understand
from roco_search.search.weighing import weigh
from roco_search.search.weights import DEFAULT, FILE, LEAST_ROWS, Weights, load
from roco_search.vocabulary.concepts import elsewhere
from tests.collection import fill
from tests.library.toy import Opened, ToyEncoder

EVERY: dict[str, Any] = {"group_by": "none", "fold": False}
QUERIES = ("head CT", "chest MRI without effusion", "lateral chest x-ray", "pleural effusion", "zzyzx")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    root = tmp_path_factory.mktemp("evidence")
    with Opened(root / "library", ToyEncoder(dim=24)) as made:
        fill(made, root / "files")
        yield made


def test_a_query_embeds_each_text_once_and_is_done_with_texts_before_it_reads_vectors(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(opened.library, opened.encoder, ["head CT"])
    done, vectors = "no more texts", "the vectors"
    events: list[str] = []
    embed, facts = ToyEncoder.encode_texts, Library.facts

    def embedding(self: ToyEncoder, texts: Sequence[str]) -> Any:
        events.extend(texts)
        return embed(self, texts)

    def reading(self: Library, *given: Any) -> Any:
        events.append(vectors)
        return facts(self, *given)

    monkeypatch.setattr(ToyEncoder, "encode_texts", embedding)
    monkeypatch.setattr(ToyEncoder, "texts_are_done", lambda self: events.append(done), raising=False)
    monkeypatch.setattr(Library, "facts", reading)
    search(opened.library, opened.encoder, ["head CT"])
    *texts, last, first = events
    assert (last, first) == (done, vectors)
    assert "head CT" in texts and len(texts) == len(set(texts)) > 1


def sums(opened: Opened, text: str) -> dict[tuple[str, int], float]:
    """The sum of the evidence of every row: from the tables and the model, in float64, one row at a time."""
    sql = """
        SELECT path, number, modality, body_part, view, laterality, vector FROM vectors
        JOIN frames ON frames.id = frame_id JOIN files ON files.id = file_id ORDER BY frames.id
    """
    rows = opened.rows(sql)
    matrix = np.stack([np.frombuffer(row[-1], "<f4") for row in rows])
    judged = -STEP * Senses(opened.encoder).judge(matrix).astype(np.float64)
    understood = understand(text)
    evidence = gather(understood, opened.encoder, DEFAULT)
    terms = {kind: {term for c in understood.of(kind) for term in c.terms} for kind in ("modality", "view")}
    found = {}
    for number, (path, frame, modality, _body_part, view, _, _) in enumerate(rows):
        total = sum(
            DEFAULT.of(name) * float(matrix[number].astype(np.float64) @ p) for name, p in evidence.parts.items()
        )
        if terms["modality"]:
            if modality:
                total += DEFAULT.of("modality") * (0 if modality in terms["modality"] else -FLOOR)
            else:
                own = [
                    name
                    for name, keys in classes("modality").items()
                    for c in understood.of("modality")
                    if c.key in keys
                ]
                chance = sum(np.exp(judged[column("modality", name), number]) for name in dict.fromkeys(own))
                total += DEFAULT.of("modality") * max(np.log(min(chance, 1)), -FLOOR)
        if view and terms["view"]:
            total += DEFAULT.of("view") * (1 if view in terms["view"] else -1)
        facts = opened.library.facts(Senses(opened.encoder))
        for name in set(SENSED) - {"modality"}:
            if (values := evidence.sensed(name, facts)) is not None:
                total += DEFAULT.of(name) * float(values(np.array([number]))[0])
        found[path, frame] = total
    return found


@pytest.mark.parametrize("text", QUERIES)
def test_the_ranking_is_that_of_a_sum_over_every_row(opened: Opened, text: str) -> None:
    expected = sums(opened, text)
    hits = search(opened.library, opened.encoder, [text], n=len(expected), **EVERY)
    assert len(hits) == len(expected)
    totals = np.array([expected[hit.path, hit.frame] for hit in hits])
    assert (np.diff(totals) <= 1e-4).all(), "best first"
    offset = gather(understand(text), opened.encoder, DEFAULT).offset
    np.testing.assert_allclose([hit.relevance or 0.0 for hit in hits], 1 / (1 + np.exp(-(totals + offset))), atol=1e-4)
    few = search(opened.library, opened.encoder, [text], n=7, **EVERY)
    assert [(hit.path, hit.frame) for hit in few] == [(hit.path, hit.frame) for hit in hits[:7]]


def test_the_score_stays_the_cosine_of_the_words_as_typed(opened: Opened) -> None:
    query = opened.encoder.encode_texts(["head CT"])[0]
    for hit in search(opened.library, opened.encoder, ["head CT"], n=50, **EVERY):
        frame_id = opened.library.frames.id_of(hit.path, hit.frame)
        assert frame_id is not None
        assert hit.score == pytest.approx(float(opened.library.embedding(frame_id) @ query), abs=1e-5)


@pytest.mark.parametrize(("text", "suggested"), [("putaminal", True), ("putaminal chest", False), ("appendage", False)])
def test_a_word_that_is_said_of_a_body_part_prefers_its_images(opened: Opened, text: str, suggested: bool) -> None:
    """Where the query itself names a body part, that counts and nothing else."""
    facts = opened.library.facts(Senses(opened.encoder))
    values = gather(understand(text), opened.encoder, DEFAULT).sensed("place", facts)
    assert (values is not None) == suggested
    if values is not None:
        found = values(slice(None))
        parts = [facts.headers[code].body_part for code in facts.codes]
        heads = [value for value, part in zip(found, parts, strict=True) if part == "HEAD"]
        others = [value for value, part in zip(found, parts, strict=True) if part in {"KNEE", "ABDOMEN", "CHEST"}]
        assert heads and others and min(heads) > max(others)


def test_headers_that_agree_come_first_and_say_so(opened: Opened) -> None:
    hits = search(opened.library, opened.encoder, ["head CT"], n=5, **EVERY)
    assert all(hit.modality in {"CT", None} and hit.body_part in {"HEAD", None} for hit in hits)
    said = {(piece.about, piece.source, piece.says) for hit in hits for piece in hit.evidence}
    assert ("modality", "header", "CT") in said and hits[0].understood == {
        "modality": ["CT"],
        "body_part": ["head", "brain"],
    }
    assert json.dumps([piece.about for piece in hits[0].evidence])


def test_filters_and_the_least_score_hold_with_evidence(opened: Opened) -> None:
    everything = search(opened.library, opened.encoder, ["chest MRI"], n=500, **EVERY)
    chosen = search(opened.library, opened.encoder, ["chest MRI"], n=500, filters=Filters(modality=("CR",)), **EVERY)
    assert [(h.path, h.frame) for h in chosen] == [(h.path, h.frame) for h in everything if h.modality == "CR"]
    least = sorted(hit.score for hit in everything)[len(everything) // 2]
    above = search(opened.library, opened.encoder, ["chest MRI"], n=500, min_score=least, **EVERY)
    assert [(h.path, h.frame) for h in above] == [(h.path, h.frame) for h in everything if h.score >= least]


def test_only_matches_leaves_out_what_does_not_fit(opened: Opened) -> None:
    everything = search(opened.library, opened.encoder, ["head CT"], n=500, **EVERY)
    matches = search(opened.library, opened.encoder, ["head CT"], n=500, only_matches=True, **EVERY)
    assert [(h.path, h.frame) for h in matches] == [(h.path, h.frame) for h in everything if h.match != "none"]
    order = ["strong", "fair", "weak", "none"]
    degrees = [order.index(hit.match or "") for hit in everything]
    assert degrees == sorted(degrees)


def test_images_sums_and_the_cosine_are_ranked_without_evidence(opened: Opened) -> None:
    choices: list[dict[str, Any]] = [{"cosine": True}, {"vector": opened.encoder.encode_texts(["x"])[0]}]
    for options in choices:
        terms: list[str] = [] if "vector" in options else ["x"]
        assert {hit.relevance for hit in search(opened.library, opened.encoder, terms, **options)} == {None}
    assert read(opened.library, ["a", "b"]) is None and read(opened.library, [Path("a.png")]) is None
    typed = read(opened.library, ["pnuemonia"], verbatim=True)
    assert typed == as_typed("pnuemonia") and not typed.wanted


def test_facts_are_kept_and_made_again_when_pictures_come(opened: Opened, tmp_path: Path) -> None:
    with Opened(tmp_path / "library", ToyEncoder(dim=24)) as made:
        with pytest.raises(LibraryEmpty):
            weigh(made.library, made.encoder, understand("CT"))
        fill(made, tmp_path / "files", files=5)
        before = weigh(made.library, made.encoder, understand("CT")).facts
        kept = (made.directory / "vectors.facts").read_bytes()
        made.library.close()
        made.library = type(made.library).open(made.directory)
        again = weigh(made.library, made.encoder, understand("CT")).facts
        assert again.headers == before.headers and np.array_equal(again.senses, before.senses)
        assert (made.directory / "vectors.facts").read_bytes() == kept
        (made.directory / "vectors.facts").write_bytes(kept[:5000])
        made.library.close()
        made.library = type(made.library).open(made.directory)
        mended = weigh(made.library, made.encoder, understand("CT")).facts
        assert np.array_equal(mended.senses, before.senses) and np.array_equal(mended.codes, before.codes)


def test_facts_belong_to_the_classes_that_they_were_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Senses(ToyEncoder()).key
    assert Senses(ToyEncoder()).key == before != Senses(ToyEncoder(seed=1)).key
    monkeypatch.setattr("roco_search.search.senses.classes", lambda attribute: {**classes(attribute), "new": ()})
    assert Senses(ToyEncoder()).key != before


def test_weights_fitted_to_another_model_are_not_used(tmp_path: Path) -> None:
    class Other(ToyEncoder):
        class checkpoint:
            directory = tmp_path

    assert load(Other()) is DEFAULT
    content = {
        "format": 1,
        "fingerprint": "another",
        "pieces": {"text": 1.0},
        "offsets": {},
        "thresholds": [1, 0, -1],
        "detectable": {},
    }
    (tmp_path / FILE).write_text(json.dumps(content))
    assert load(Other()) is DEFAULT
    (tmp_path / FILE).write_text(json.dumps({**content, "fingerprint": Other().fingerprint}))
    assert load(Other()).of("text") == 1.0


def test_the_words_as_typed_stay_half_of_the_text() -> None:
    encoder = ToyEncoder(dim=24)

    def unit(vector: np.ndarray) -> np.ndarray:
        return vector / np.linalg.norm(vector)

    phrased = unit(np.mean([encoder.encode_texts([text])[0] for text in phrasings(understand("CXR")).text], axis=0))
    typed = encoder.encode_texts(["CXR"])[0]
    found = gather(understand("CXR"), encoder, DEFAULT).parts["text"]
    np.testing.assert_allclose(found, unit(phrased + typed), atol=1e-6)


def test_the_embedded_model_knows_modalities_and_nothing_fits_another_world() -> None:
    encoder = load_encoder("roco-mini", "cpu", "fast")
    weights = load(encoder)
    assert list(weights.thresholds) == sorted(weights.thresholds, reverse=True)
    for text in ("photo of a cat", "chocolate cake recipe", "football match"):
        assert (
            gather(understand(text), encoder, weights).offset
            < gather(understand("chest x-ray"), encoder, weights).offset
        )
    senses = Senses(encoder)
    vectors = encoder.encode_texts(["MRI of the brain", "chest X-ray", "breast ultrasound"])
    assert senses.judge(vectors).shape[0] >= sum(len(classes(attribute)) for attribute in ATTRIBUTES)


SCANS = Path(__file__).parents[3] / "shared" / "scans"


@pytest.mark.slow
@pytest.mark.skipif(not SCANS.exists(), reason="the real scans are not beside this checkout")
def test_head_ct_finds_no_test_pattern_among_real_scans(tmp_path: Path) -> None:
    encoder = load_encoder("roco-mini", "cpu", "fast")
    with Opened(tmp_path / "library", cast(Any, encoder)) as opened:
        opened.index(SCANS / "dicom")
        hits = search(opened.library, encoder, ["head CT"], n=10, **EVERY)
        assert len(hits) == 10 and {hit.modality for hit in hits} <= {"CT", None}
        found = search(opened.library, encoder, ["coronal MRI"], n=10, **EVERY)
        assert {hit.modality for hit in found} <= {"MR", None} and {hit.view for hit in found} <= {"CORONAL", None}


EXAMPLES = files("roco_search") / "examples"
ONE_OF_EACH = ("angiogram", "chest-xray", "dental-xray", "head-ct", "kidney-mri", "lung-ultrasound", "mammogram")


def test_what_is_absent_does_not_match(tmp_path: Path) -> None:
    encoder = load_encoder("roco-mini", "cpu", "fast")
    for name in ONE_OF_EACH:
        (tmp_path / f"{name}.jpg").write_bytes((EXAMPLES / f"{name}-01.jpg").read_bytes())
    with Opened(tmp_path / "library", cast(Any, encoder)) as opened:
        opened.index(tmp_path)

        def best(text: str) -> str | None:
            return search(opened.library, encoder, [text], n=1, **EVERY)[0].match

        for absent in ("photo of a cat", "fetal ultrasound", "hip MRI", "whole body bone scan", "knee x-ray"):
            assert best(absent) in {"weak", "none"}, absent
        assert best("photo of a cat") == "none"
        for present in ("chest x-ray", "mammogram", "head CT", "dental x-ray"):
            assert best(present) in {"strong", "fair"}, present


@given(st.floats(-0.2, 0.6), st.floats(-0.2, 0.6), st.integers(0, 10**6))
def test_the_limits_of_a_match_move_with_what_chance_brings(here: float, there: float, rows: int) -> None:
    """A hit that is as far above the noise of its library matches as well; in a tiny library, as in any other."""
    weights = Weights({"text": 5.0}, {}, (3.0, 2.0, -1.0), {}, noise=there)
    moved = weights.thresholds_for(rows, here)
    shift = 5.0 * (here - there) if rows >= LEAST_ROWS else 0.0
    np.testing.assert_allclose(moved, np.array(weights.thresholds) + shift)
    assert weights.thresholds_for(rows, None) == weights.thresholds
    assert replace(weights, noise=None).thresholds_for(rows, here) == weights.thresholds


def test_noise_is_that_of_the_nearest_row_to_texts_of_other_worlds(tmp_path: Path) -> None:
    encoder = load_encoder("roco-mini", "cpu", "fast")
    vectors = np.random.default_rng(0).normal(size=(9000, encoder.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    bank = np.concatenate([encoder.encode_texts([text]) for text in elsewhere()[:5]])
    expected = (vectors.astype(np.float64) @ bank.T).max(axis=0)
    stored = shipped_bank(encoder)
    assert stored is not None and len(stored) == len(elsewhere())
    np.testing.assert_allclose((vectors @ stored[:5].T).max(axis=0), expected, atol=2e-3)
    senses = Senses(encoder)
    found = senses.nearest(vectors)
    assert found is not None
    assert senses.noise(found) == pytest.approx(np.quantile((vectors @ stored.T).max(axis=0), NOISE), abs=1e-6)
    assert Senses(ToyEncoder()).nearest(vectors) is None, "a model that brings no such embeddings"
