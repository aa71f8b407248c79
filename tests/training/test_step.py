"""The gradient of a batch on real models: whatever the micro-batch, that of the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from roco_search.datasets.pair import Pair
from roco_search.errors import TrainingError
from roco_search.models.catalogue.registry import EMBEDDED
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.training.batches import Batch, positives
from roco_search.training.distributed import ProcessGroup
from roco_search.training.losses import Objective
from roco_search.training.settings import Accumulation, Settings
from roco_search.training.step import Gradient, Inputs, text_features
from roco_search.training.towers import set_train_mode
from tests.models.checkpoints import FAMILIES
from tests.training.data import draw
from tests.training.gradients import difference, gradients, worst

EXACT = ["clip", "siglip", "vision-text-dual-encoder"]
Step = Callable[..., tuple[dict[str, torch.Tensor], float]]


def encoder(family: str, folder: Path) -> TorchEncoder:
    """A small checkpoint, or roco-mini itself, in float64."""
    directory = EMBEDDED if family == "roco-mini" else FAMILIES[family](folder / family)
    found = TorchEncoder(Checkpoint.open(family, directory), "cpu", "fp32")
    found.model.double().requires_grad_(True)
    return found


@pytest.fixture(params=[*EXACT, "roco-mini"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def corner(pair: Pair, side: int) -> np.ndarray:
    """The upper left corner of an image, of the size that an augmented one would have."""
    return np.ascontiguousarray(pair.picture.read()[:side, :side])


def step_of(model: TorchEncoder, folder: Path, count: int = 9) -> Step:
    pairs = draw(folder / "images", count)
    inputs = Inputs(model)

    def step(
        micro_batch: int, accumulation: Accumulation = "exact", seed: int = 0, at: int = 0, missing: Sequence[int] = ()
    ) -> tuple[dict[str, torch.Tensor], float]:
        images = [None if i in missing else corner(pair, 32) for i, pair in enumerate(pairs)]
        batch = Batch(at, np.arange(count), [pair.caption for pair in pairs], slice(0, count), images)
        objective = Objective(model.model, "auto")
        gradient = Gradient(model, inputs, objective, accumulation, micro_batch, ProcessGroup(), seed=seed)
        loss = gradient(pairs, batch)
        return gradients(model.model), float(loss)

    return step


def test_it_is_that_of_the_whole_batch_for_every_micro_batch(family: str, tmp_path: Path) -> None:
    model = encoder(family, tmp_path)
    step = step_of(model, tmp_path)
    expected, loss = step(micro_batch=9)
    assert "logit_scale" in expected
    for micro_batch in (4,) if family == "roco-mini" else (1, 4, 5):
        found, again = step(micro_batch)
        assert worst(found, expected) < 1e-12
        assert again == pytest.approx(loss, abs=1e-12)


def test_it_equals_a_plain_forward_pass_of_the_model_itself(tmp_path: Path) -> None:
    """No chunks, no distinct captions, no code of the trainer: transformers' own forward and torch's own loss."""
    model = encoder("clip", tmp_path)
    found, loss = step_of(model, tmp_path)(micro_batch=4)
    pairs = draw(tmp_path / "images", 9)
    inputs = {name: torch.from_numpy(a) for name, a in model.prepare_texts([p.caption for p in pairs]).items()}
    pixels = torch.from_numpy(model.prepare_images([corner(p, 32) for p in pairs])["pixel_values"]).double()
    logits = model.model(**inputs, pixel_values=pixels).logits_per_image
    target = torch.tensor(positives(pairs, [p.caption for p in pairs])).double()
    entropy = torch.nn.functional.cross_entropy
    plain = (
        entropy(logits, target / target.sum(1, keepdim=True)) + entropy(logits.T, target.T / target.T.sum(1)[:, None])
    ) / 2
    plain.backward()
    assert loss == pytest.approx(plain.item(), abs=1e-6), "pixels are normalised in float32 there"
    assert worst(found, gradients(model.model)) < 1e-6


def test_dropout_belongs_to_the_row_not_to_the_chunk(tmp_path: Path) -> None:
    model = encoder("vision-text-dual-encoder", tmp_path)
    set_train_mode(model.model, Settings())
    step = step_of(model, tmp_path)
    expected, loss = step(9)
    for micro_batch in (1, 2, 4, 5):
        found, again = step(micro_batch)
        assert worst(found, expected) < 1e-12
        assert again == pytest.approx(loss, abs=1e-12)
    assert step(9, at=1)[1] != pytest.approx(loss, rel=1e-4), "each step draws anew"
    assert step(9, seed=1)[1] != pytest.approx(loss, rel=1e-4)
    model.model.eval()
    assert step(9)[1] != pytest.approx(loss, rel=1e-4), "dropout was on"


def test_roco_mini_with_its_dropout_in_float32_has_one_gradient(tmp_path: Path) -> None:
    """Its own towers and weights, a batch of 16, in chunks of 4, 8 and 16; `test_distributed` adds two processes."""
    model = encoder("roco-mini", tmp_path)
    model.model.float()
    set_train_mode(model.model, Settings())
    step = step_of(model, tmp_path, 16)
    expected, loss = step(16)
    for micro_batch in (4, 8):
        found, again = step(micro_batch)
        assert again == loss
        assert difference(found, expected) < 1e-6


def test_short_captions_are_not_padded_to_the_longest(tmp_path: Path) -> None:
    model = encoder("roco-mini", tmp_path)
    captions = [f"axial ct {number}" for number in range(60)] + ["effusion " * 60]
    seen: list[int] = []
    text_tower = model.model.get_submodule("text_model")
    hook = text_tower.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((kwargs.get("input_ids") if kwargs else args[0]).numel()), with_kwargs=True
    )
    with torch.no_grad():
        features = text_features(model, Inputs(model), captions)
        hook.remove()
        alone = torch.cat([text_features(model, Inputs(model), [caption]) for caption in captions])
    assert torch.allclose(features, alone, atol=1e-12)
    whole = model.prepare_texts(captions)["input_ids"].size
    assert sum(seen) < 0.4 * whole


@pytest.mark.parametrize("small", EXACT)
def test_naive_accumulation_is_another_objective(small: str, tmp_path: Path) -> None:
    step = step_of(encoder(small, tmp_path), tmp_path, 8)
    exact, _ = step(4)
    naive, _ = step(4, "naive")
    assert difference(naive, exact) > 0.01


def test_an_unreadable_image_takes_its_caption_along(tmp_path: Path) -> None:
    model = encoder("clip", tmp_path)
    found, _ = step_of(model, tmp_path, 5)(2, missing=(4,))
    expected, _ = step_of(model, tmp_path / "four", 4)(2)
    assert worst(found, expected) < 1e-12
    with pytest.raises(TrainingError, match="Too few of the 3 images"):
        step_of(model, tmp_path, 3)(2, missing=(0, 2))


def test_sizes_that_a_tower_cannot_take_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="takes 32 pixels and no other"):
        Inputs(encoder("clip", tmp_path), 64)
    with pytest.raises(TrainingError, match="multiples of 32"):
        Inputs(encoder("roco-mini", tmp_path), 100)
