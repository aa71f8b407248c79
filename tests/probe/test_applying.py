"""A probe over a library, kept and passed on: against numpy, and refused wherever it does not belong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roco_search.errors import InputError, ModelMismatch
from roco_search.probe import shelf
from roco_search.probe.applying import apply, find, where, worth_labelling
from roco_search.probe.classifying import ProbeClassifier
from roco_search.probe.examples import from_labels
from roco_search.probe.probe import Probe, dump, load
from roco_search.probe.teaching.teach import teach
from tests.library.toy import Opened, ToyEncoder, draw
from tests.probe.conftest import Taught


@pytest.fixture(scope="module")
def probe(taught: Taught) -> Probe:
    examples = from_labels(taught.opened.library, taught.table)
    half = replace(examples, ids=examples.ids[:40], truth=examples.truth[:40], cases=examples.cases[:40])
    found = teach(taught.opened.library, taught.opened.encoder, "toy", half, controls=False).probe
    shelf.SHELF.keep(taught.opened.library, found)
    return found


def test_a_library_is_one_product(taught: Taught, probe: Probe) -> None:
    library = taught.opened.library
    said = apply(library, probe)
    expected = 1 / (1 + np.exp(-(library.embeddings().astype(float) @ probe.weights.T + probe.bias)))
    np.testing.assert_allclose(said.probabilities, expected, atol=1e-5)
    some = said.ids[[3, 9]]
    assert np.array_equal(apply(library, probe, some).probabilities, said.probabilities[[3, 9]])
    (prediction,) = ProbeClassifier(probe, taught.opened.encoder).predict(library.embeddings(some[:1]))
    assert {entry.label: pytest.approx(entry.probability, abs=1e-5) for entry in prediction.labels} == dict(
        zip(probe.labels, said.probabilities[3].tolist(), strict=True)
    )


def test_conditions_are_met_by_exactly_those_pictures(taught: Taught, probe: Probe) -> None:
    library = taught.opened.library
    said = apply(library, probe)
    middle, corner = said.probabilities.T
    assert np.array_equal(
        where(library, ["middle>0.5", "toy:corner <= 0.4"]), said.ids[(middle > 0.5) & (corner <= 0.4)]
    )
    for wrong, words in (
        ("middle", "no condition"),
        ("middle>2", "no condition"),
        ("lung>0.5", "No probe"),
        ("no:a>0.1", "no probe"),
    ):
        with pytest.raises(InputError, match=words):
            where(library, [wrong])
    shelf.SHELF.keep(library, replace(probe, name="other"))
    with pytest.raises(InputError, match="other:middle, toy:middle"):
        where(library, ["middle>0.5"])
    shelf.SHELF.remove(library, "other")
    with pytest.raises(InputError, match="name one as NAME:LABEL"):
        find(library, "toy")


def test_what_is_worth_labelling_is_unsure_unlike_and_new(taught: Taught, probe: Probe) -> None:
    library = taught.opened.library
    found = worth_labelling(library, probe, 0, 4)
    assert len(set(found.ids.tolist())) == 4 and not np.isin(found.ids, probe.learned).any()
    said = apply(library, probe, library.embedded()[~np.isin(library.embedded(), probe.learned)])
    turn = probe.limits[0].best
    far = np.abs(said.probabilities[:, 0] - turn)
    assert np.abs(found.probabilities[:, 0] - turn)[0] == far.min()
    assert len(worth_labelling(library, probe, 0, 1000).ids) == len(said.ids), "no more than there are"


def test_a_probe_is_the_same_after_the_shelf_and_small(taught: Taught, probe: Probe, tmp_path: Path) -> None:
    library = taught.opened.library
    read = shelf.read_probe(library, "toy")
    assert np.array_equal(read.weights, probe.weights) and read.claims == probe.claims and read.limits == probe.limits
    assert np.array_equal(read.learned, probe.learned)
    shelf.export(library, "toy", tmp_path / "toy.safetensors")
    content = (tmp_path / "toy.safetensors").read_bytes()
    assert len(content) < 20_000 and str(taught.table.parent).encode() not in content
    assert not len(load(content).learned), "whose pictures it learned from stays here"
    with pytest.raises(InputError, match="already"):
        shelf.receive(library, tmp_path / "toy.safetensors")
    assert shelf.receive(library, tmp_path / "toy.safetensors", "theirs").name == "theirs"
    assert shelf.SHELF.names(library) == ["theirs", "toy"] and shelf.read_probe(library, "theirs").name == "theirs"
    shelf.SHELF.remove(library, "theirs")
    for name in ("../x", "", "a/b", " a", "x" * 90):
        with pytest.raises(InputError, match="cannot be the name"):
            shelf.read_probe(library, name)


def test_another_model_is_refused_everywhere(probe: Probe, tmp_path: Path) -> None:
    other = ToyEncoder(seed=9)
    with Opened(tmp_path / "library", other) as opened:
        opened.index(draw(tmp_path / "scans" / "0.png", 0))
        (tmp_path / "p.safetensors").write_bytes(dump(probe.shared()))
        shelf.SHELF.keep(opened.library, probe)
        for refused in (
            lambda: shelf.receive(opened.library, tmp_path / "p.safetensors", "new"),
            lambda: apply(opened.library, probe),
            lambda: where(opened.library, ["middle>0.5"]),
            lambda: ProbeClassifier(probe, other),
        ):
            with pytest.raises(ModelMismatch, match="was taught on embeddings of toy"):
                refused()


@settings(max_examples=40)
@given(place=st.integers(0, 4000), value=st.integers(0, 255), end=st.integers(0, 4000))
def test_a_damaged_probe_is_refused_or_read_whole(probe: Probe, place: int, value: int, end: int) -> None:
    content = bytearray(dump(probe))
    content[place % len(content)] = value
    for damaged in (bytes(content), bytes(content[: end % len(content)])):
        try:
            found = shelf.SHELF.parse(damaged, "x", "It holds no probe.")
        except InputError as error:
            assert "holds no probe" in str(error)
        else:
            assert isinstance(found, Probe) and (
                found.weights.shape == (len(found.labels), probe.weights.shape[1]) and np.isfinite(found.weights).all()
            )
