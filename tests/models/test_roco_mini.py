"""The embedded model's class: the towers, their pretrained layout, and the way through AutoModel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from roco_search.models import load_encoder, register
from roco_search.models.catalogue.registry import EMBEDDED
from roco_search.models.roco_mini.efficientnet import EfficientNetLiteConfig, EfficientNetLiteModel, from_imagenet
from roco_search.models.roco_mini.modeling import RocoMiniConfig, RocoMiniModel
from roco_search.models.tokenizer import TextTokenizer


@pytest.fixture(scope="module")
def lite0() -> EfficientNetLiteModel:
    torch.manual_seed(0)
    return EfficientNetLiteModel(EfficientNetLiteConfig()).eval()


def test_lite0_has_the_published_size(lite0: EfficientNetLiteModel) -> None:
    """4.65 million parameters with the classifier of 1,000 classes (the family's own figure)."""
    classifier = 1280 * 1000 + 1000
    assert sum(p.numel() for p in lite0.parameters()) + classifier == 4_652_008


def test_features_have_the_promised_shape(lite0: EfficientNetLiteModel) -> None:
    out = lite0(torch.zeros(2, 3, 64, 96))
    assert out.last_hidden_state.shape == (2, 1280, 2, 3)
    assert out.pooler_output.shape == (2, 1280)


def test_training_mode_leaves_batch_statistics_alone(lite0: EfficientNetLiteModel) -> None:
    pixels = torch.randn(2, 3, 32, 32)
    expected = lite0.eval()(pixels).pooler_output
    found = lite0.train()(pixels).pooler_output
    assert torch.equal(found, expected)
    lite0.eval()


def test_published_weights_are_taken_over_by_order_and_shape(lite0: EfficientNetLiteModel) -> None:
    source = {f"_old.{i}.{name.rpartition('.')[2]}": t for i, (name, t) in enumerate(lite0.state_dict().items())}
    source["_fc.weight"] = torch.zeros(1000, 1280)
    copied = from_imagenet(source)
    for one, two in zip(copied.state_dict().values(), lite0.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    first = next(iter(source))
    with pytest.raises(ValueError, match="does not fit"):
        from_imagenet({**source, first: torch.zeros(3, 3)})
    with pytest.raises(ValueError, match="another member"):
        from_imagenet(dict(list(source.items())[:-3]))


def test_a_text_is_the_mean_of_its_tokens_and_padding_does_not_count() -> None:
    torch.manual_seed(0)
    text = {
        "vocab_size": 9,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    model = RocoMiniModel(RocoMiniConfig(text_config=text, projection_dim=8)).eval()
    ids = torch.tensor([[1, 2, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    padded, plain = model.get_text_features(ids, mask), model.get_text_features(ids[:, :3])
    assert torch.allclose(padded.pooler_output, plain.pooler_output, atol=1e-6)
    mean = plain.last_hidden_state.mean(1)
    assert torch.allclose(plain.pooler_output, mean, atol=1e-6), "the fresh projection is the identity"


def test_the_embedded_model_is_whole_and_small_enough() -> None:
    encoder = load_encoder("roco-mini", device="cpu")
    assert (encoder.name, encoder.dim, encoder.image_size, encoder.logit_bias) == (
        "roco-mini",
        384,
        192,
        None,
    )
    assert 1 < encoder.logit_scale <= 100.01
    directory = EMBEDDED
    assert sum(file.stat().st_size for file in directory.glob("*.*")) < 60e6
    assert "/" not in json.dumps(json.loads((directory / "config.json").read_text())), "no path of a machine"
    card = (directory / "README.md").read_text()
    assert "for research, not for clinical use" in card.lower()


def test_auto_model_loads_the_embedded_model_once_registered() -> None:
    register()
    register()
    encoder = load_encoder("roco-mini", device="cpu")
    directory = EMBEDDED
    model = AutoModel.from_pretrained(directory, dtype=torch.float32).eval()
    assert isinstance(model, RocoMiniModel)
    pixels = np.zeros((192, 192, 3), np.uint8)
    with torch.no_grad():
        inputs = torch.full((1, 3, 192, 192), -127 / 128)
        pooled = model.get_image_features(inputs).pooler_output
    assert pooled is not None
    features = torch.nn.functional.normalize(pooled).numpy()
    np.testing.assert_allclose(encoder.encode_images([pixels]), features, atol=1e-5)


def test_a_tokenizer_cuts_pads_and_masks(tmp_path: Path) -> None:
    directory = EMBEDDED
    tokenizer = TextTokenizer.from_file(directory / "tokenizer.json", max_length=6)
    ids, mask = tokenizer(["pleural effusion", "ct", "one two three four five six seven eight"])
    assert ids.dtype == mask.dtype == np.int64
    assert ids.shape == mask.shape == (3, 6)
    assert (ids[:, 0] == 101).all(), "[CLS]"
    assert mask.sum(1).tolist()[1:] == [3, 6]
    assert (ids[mask == 0] == 0).all()
    full, _ = TextTokenizer.from_file(directory / "tokenizer.json", max_length=6, pad_to_max=True)(["ct"])
    assert full.shape == (1, 6)
