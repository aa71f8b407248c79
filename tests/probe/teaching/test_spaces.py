"""A space: against a plain computation, better where labels are told, and refused where they are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roco_search.curation import find_similar
from roco_search.errors import InputError, ModelMismatch
from roco_search.probe import shelf
from roco_search.probe.examples import Examples, from_labels
from roco_search.probe.space import Space
from roco_search.probe.teaching.spaces import fit_map, precisions, teach_space
from tests.library.toy import Opened, ToyEncoder, draw
from tests.probe.conftest import Taught


@pytest.fixture(scope="module")
def examples(taught: Taught) -> Examples:
    return from_labels(taught.opened.library, taught.table, labels=("corner",))


@pytest.fixture(scope="module")
def space(taught: Taught, examples: Examples) -> Space:
    return teach_space(taught.opened.library, "looks", examples)


def test_what_is_similar_has_the_same_label(taught: Taught, examples: Examples, space: Space) -> None:
    claim = space.claim
    assert claim.better and claim.after[0] > claim.before[0] + 0.05 and claim.images == 72
    vectors = taught.opened.library.embeddings(examples.ids)
    plain = precisions(vectors.astype(float), examples.truth, examples.cases)
    within = precisions(space.mapped(vectors).astype(float), examples.truth, examples.cases)
    assert np.nanmean(within) >= np.nanmean(plain)
    # By hand, for one picture.
    row = int(np.flatnonzero(examples.truth[:, 0] == 1)[0])
    scores = vectors @ vectors[row]
    scores[examples.cases == examples.cases[row]] = -2
    assert plain[row, 0] == pytest.approx(examples.truth[np.argsort(-scores)[:10], 0].mean())


def test_labels_that_mean_nothing_make_no_space(taught: Taught, examples: Examples) -> None:
    chance = np.random.default_rng(1)
    nonsense = (chance.permutation(36) % 2)[examples.cases].astype(float)[:, None]
    claim = teach_space(taught.opened.library, "none", replace(examples, truth=nonsense)).claim
    assert not claim.better and claim.gain[1] <= 0


def test_a_map_whitens_within_labels_and_stretches_between_them() -> None:
    chance = np.random.default_rng(0)
    positive = np.arange(400) < 200
    points = chance.normal(size=(400, 3)) * [9, 1, 1] + positive[:, None] * [0, 2, 0]
    mapped = points @ fit_map(points, positive[:, None].astype(float), 0.0, 0.0)
    within = np.concatenate([mapped[side] - mapped[side].mean(axis=0) for side in (positive, ~positive)])
    spread = np.cov(within.T)
    np.testing.assert_allclose(spread, np.eye(3) * spread[0, 0], atol=1e-6 * spread[0, 0] + 1e-2)
    truth, apart = positive[:, None].astype(float), []
    for boost in (0.0, 3.0):
        placed = points @ fit_map(points, truth, 0.0, boost)
        apart.append(np.linalg.norm(placed[positive].mean(axis=0) - placed[~positive].mean(axis=0)))
    assert apart[1] == pytest.approx(4 * apart[0])


def test_similar_in_a_space_is_exact_kept_and_bound_to_its_model(taught: Taught, space: Space, tmp_path: Path) -> None:
    library = taught.opened.library
    shelf.SHELF.keep(library, space)
    read = shelf.read_space(library, "looks")
    assert np.array_equal(read.axes, space.axes) and read.claim == space.claim
    assert shelf.probes(library) == []
    with pytest.raises(InputError, match="is a space"):
        shelf.read_probe(library, "looks")
    hits = find_similar(library, taught.paths[3], n=5, space=read)
    vectors = library.embeddings()
    placed = vectors.astype(float) @ space.axes - space.offset
    placed /= np.linalg.norm(placed, axis=1, keepdims=True)
    ids = library.embedded()
    own = library.frames.of_file(str(taught.paths[3]))[0].id
    order = [i for i in ids[np.argsort(-(placed @ placed[ids == own][0]))].tolist() if i != own][:5]
    assert [library.frames.id_of(hit.path, 0) for hit in hits] == order
    shelf.export(library, "looks", tmp_path / "looks.safetensors")
    assert not len(shelf.receive(library, tmp_path / "looks.safetensors", "theirs").learned)
    with Opened(tmp_path / "library", ToyEncoder(seed=9)) as opened:
        opened.index(draw(tmp_path / "scans" / "0.png", 0))
        with pytest.raises(ModelMismatch, match="space looks was taught on embeddings of toy"):
            shelf.receive(opened.library, tmp_path / "looks.safetensors")
        with pytest.raises(ModelMismatch):
            find_similar(opened.library, tmp_path / "scans" / "0.png", space=space)
