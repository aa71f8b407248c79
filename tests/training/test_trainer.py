"""A run learns, repeats itself bit for bit, and touches only what it was told to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from roco_search.imaging.preprocess import Preprocessing
from roco_search.models.roco_mini.modeling import RocoMiniConfig, RocoMiniModel
from roco_search.models.tokenization import TextTokenizer
from roco_search.training.pairs import Pair
from roco_search.training.trainer import Settings, Step, batches, learning_rate_factor, train

PREPROCESSING = Preprocessing.from_config(
    {"image_processor_type": "SiglipImageProcessor", "do_resize": False, "image_mean": 0.5, "image_std": 0.5}
)
SETTINGS = Settings(steps=12, batch_size=6, image_size=32, warmup_steps=2, text_layers=1, averaging=0.5, seed=3)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    folder = tmp_path_factory.mktemp("pairs")
    found = []
    for i, (shape, fill) in enumerate((s, f) for s in ("disc", "box") for f in (60, 140, 230)):
        image = Image.new("L", (40, 36), 10)
        draw = ImageDraw.Draw(image)
        (draw.ellipse if shape == "disc" else draw.rectangle)((8, 8, 30, 30), fill=fill)
        image.save(folder / f"{i}.png")
        found.append(Pair(folder / f"{i}.png", f"{shape} {fill}", {f"{shape} {fill}": 1.0, shape: 0.2}))
    return found


def small_model() -> RocoMiniModel:
    torch.manual_seed(0)
    text = {
        "vocab_size": 8,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    vision = {"width_coefficient": 0.25, "depth_coefficient": 0.3}
    return RocoMiniModel(RocoMiniConfig(text_config=text, vision_config=vision, projection_dim=16))


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    words = ["[PAD]", "[UNK]", "disc", "box", "60", "140", "230"]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return TextTokenizer(tokenizer, 8, 0)


def run(pairs: list[Pair], tokenizer: TextTokenizer) -> tuple[RocoMiniModel, RocoMiniModel, list[Step]]:
    model, steps = small_model(), []
    weights = np.ones(len(pairs))
    average = train(model, tokenizer, PREPROCESSING, pairs, weights, SETTINGS, lambda step, _: steps.append(step))
    return model, average, steps  # type: ignore[return-value]


def test_it_learns_and_repeats_itself_bit_for_bit(pairs: list[Pair], tokenizer: TextTokenizer) -> None:
    model, average, steps = run(pairs, tokenizer)
    again, average_again, _ = run(pairs, tokenizer)
    assert steps[-1].loss < steps[0].loss
    for found, repeated in ((model, again), (average, average_again)):
        for one, two in zip(found.state_dict().values(), repeated.state_dict().values(), strict=True):
            assert torch.equal(one, two)


def test_only_what_should_learn_moves(pairs: list[Pair], tokenizer: TextTokenizer) -> None:
    before, (after, _, _) = small_model().state_dict(), run(pairs, tokenizer)
    moved = {name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before[name])}
    frozen_text = {name for name in moved if name.startswith("text_model") and "layer.1." not in name}
    assert not frozen_text
    assert not {name for name in moved if "running_" in name}, "batch statistics must stay as they were"
    assert {"visual_projection.weight", "text_projection.weight", "logit_scale"} <= moved
    assert any(name.startswith("vision_model") for name in moved)
    assert any("layer.1." in name for name in moved)


def test_a_batch_says_which_captions_are_true_of_which_images(pairs: list[Pair]) -> None:
    weights = np.array([1, 1, 1, 1, 1, 0.0])
    for batch in batches(PREPROCESSING, pairs, weights, SETTINGS):
        assert batch.pixels.shape == (5, 3, 32, 32), "a pair of weight 0 is never drawn"
        assert batch.positives.diagonal().all()
        for i, j in np.ndindex(batch.positives.shape):
            shape = next(c for c in batch.captions[i].split())
            if batch.captions[j] == shape:
                assert batch.positives[i, j]
            elif not batch.captions[j].startswith(shape):
                assert not batch.positives[i, j]


def test_the_learning_rate_warms_up_and_comes_down() -> None:
    factors = [learning_rate_factor(step, SETTINGS) for step in range(SETTINGS.steps)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert all(a >= b for a, b in itertools.pairwise(factors[1:]))
    assert 0.01 <= factors[-1] < 0.05
