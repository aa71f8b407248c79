"""What is drawn depends on the seed and the step alone: not on threads, processes, or where a run was taken up."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from roco_search.datasets.pair import Pair, PictureFile
from roco_search.training.batches import Batch, Batches, Sampler, draw_caption, positives
from roco_search.training.distributed import ProcessGroup
from tests.training.data import draw


@given(pairs=st.integers(2, 60), batch=st.integers(2, 70), seed=st.integers(0, 5))
def test_an_epoch_has_each_pair_at_most_once_and_leaves_less_than_a_batch(pairs: int, batch: int, seed: int) -> None:
    sampler = Sampler(pairs, batch, seed)
    epochs = [
        np.concatenate([sampler.batch(e * sampler.steps_per_epoch + i) for i in range(sampler.steps_per_epoch)])
        for e in range(2)
    ]
    for epoch in epochs:
        assert len(set(epoch.tolist())) == len(epoch) > pairs - sampler.count
    if pairs > 12:
        assert epochs[0].tolist() != epochs[1].tolist()
    assert sampler.batch(1).tolist() == Sampler(pairs, batch, seed).batch(1).tolist()


@given(pairs=st.integers(2, 60), batch=st.integers(2, 70))
def test_what_an_epoch_leaves_the_next_one_draws_first(pairs: int, batch: int) -> None:
    sampler = Sampler(pairs, batch, 0)
    steps, drawn = sampler.steps_per_epoch, [sampler.batch(step) for step in range(6 * sampler.steps_per_epoch)]
    for epoch in range(5):
        left = set(range(pairs)) - set(np.concatenate(drawn[epoch * steps : (epoch + 1) * steps]).tolist())
        assert left <= set(drawn[(epoch + 1) * steps].tolist())
    assert len(set(np.concatenate(drawn).tolist())) == pairs


def test_weights_are_frequencies_and_nothing_of_weight_0_is_drawn() -> None:
    weights = np.array([0.0, 1, 1, 1, 6, 1])
    sampler = Sampler(6, 2, 0, weights)
    drawn = np.concatenate([sampler.batch(step) for step in range(600)])
    counts = np.bincount(drawn, minlength=6)
    assert counts[0] == 0 and counts[4] > 2 * counts[1:4].max()
    assert Sampler(6, 9, 0, weights).count == 5


def collect(batches: Batches, first: int, end: int) -> list[Batch]:
    return list(batches.run(first, end))


def make(pairs: list[Pair], workers: int = 2, group: ProcessGroup | None = None, size: int | None = 32) -> Batches:
    part = (group or ProcessGroup()).shard
    return Batches(pairs, Sampler(len(pairs), 4, 7), 7, part, size, lambda pixels: pixels, workers)


def same(one: Batch, two: Batch) -> bool:
    images = zip(one.images, two.images, strict=True)
    return one.captions == two.captions and all(np.array_equal(a, b) for a, b in images)  # type: ignore[arg-type]


def test_neither_threads_nor_the_first_step_change_what_is_drawn(tmp_path: Path) -> None:
    pairs = draw(tmp_path)
    whole = collect(make(pairs, workers=1), 0, 6)
    later = collect(make(pairs, workers=4), 3, 6)
    assert all(same(a, b) for a, b in zip(whole[3:], later, strict=True))
    assert not same(whole[0], whole[1])
    assert all(image is not None and image.shape == (32, 32, 3) for image in whole[0].images)


def test_processes_share_a_batch_without_changing_it(tmp_path: Path) -> None:
    pairs = draw(tmp_path)
    (whole,) = collect(make(pairs), 0, 1)
    parts = [collect(make(pairs, group=ProcessGroup(rank, 3)), 0, 1)[0] for rank in range(3)]
    together = list(itertools.chain.from_iterable(part.images for part in parts))
    assert all(np.array_equal(a, b) for a, b in zip(whole.images, together, strict=True))  # type: ignore[arg-type]
    assert all(part.captions == whole.captions for part in parts)


def test_a_corrupt_image_is_named_and_shifts_nobody(tmp_path: Path) -> None:
    pairs = draw(tmp_path, 4)
    (tmp_path / "002.png").write_bytes((tmp_path / "002.png").read_bytes()[:50])
    (batch,) = collect(make(pairs), 0, 1)
    for row, image in zip(batch.rows, batch.images, strict=True):
        assert (image is None) == (row == 2)
    ((name, reason),) = batch.unreadable
    assert name.endswith("002.png") and "cut short" in reason


def test_without_augmentation_images_are_fitted_only(tmp_path: Path) -> None:
    pairs = draw(tmp_path, 4)
    (batch,) = collect(make(pairs, size=None), 0, 1)
    for row, image in zip(batch.rows, batch.images, strict=True):
        assert np.array_equal(image, pairs[row].picture.read())  # type: ignore[arg-type]


def test_colour_stays_colour(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "red.png")
    pairs = [Pair(PictureFile(tmp_path / "red.png"), str(i)) for i in range(4)]
    (batch,) = collect(make(pairs), 0, 1)
    middles = np.array([image[16, 16] for image in batch.images if image is not None]).astype(int)
    assert (middles[:, 0] - middles[:, 1] > 30).any()


def test_captions_are_drawn_by_weight_and_true_where_they_are_listed() -> None:
    pictures = [PictureFile(Path(name)) for name in "abc"]
    pairs = [
        Pair(pictures[0], "a chest", {"a chest": 0.7, "chest": 0.3}),
        Pair(pictures[1], "another chest", {"another chest": 0.7, "chest": 0.3}),
        Pair(pictures[2], "a hand"),
    ]
    random = np.random.default_rng(0)
    drawn = [draw_caption(pairs[0], random) for _ in range(400)]
    assert drawn.count("chest") == pytest.approx(120, abs=40)
    found = positives(pairs, ["chest", "another chest", "a hand"])
    assert found.tolist() == [[True, False, False], [True, True, False], [False, False, True]]


def test_rows_of_one_image_are_positives_of_each_other() -> None:
    shown = [PictureFile(Path(name)) for name in ("a", "b", "a", "a")]
    pairs = [Pair(picture, f"caption {number}") for number, picture in enumerate(shown)]
    found = positives(pairs, [pair.caption for pair in pairs])
    same = np.array([[one == other for other in shown] for one in shown])
    assert np.array_equal(found, same)
    assert positives([], []).shape == (0, 0)
