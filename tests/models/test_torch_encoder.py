"""What an encoder returns equals what transformers itself returns on the same checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf
from PIL import Image
from safetensors.torch import load_file, save_file

from roco_search.errors import UnsupportedModel
from roco_search.models import Encoder, load_encoder
from roco_search.models.torch_encoder import IMAGES_AT_ONCE
from tests.models.checkpoints import FAMILIES, clip, dual_encoder

TEXTS = [
    "chest x-ray",
    "brain mri of the chest",
    "pleural effusion, pleural effusions of the brain ct x ray e e e e",
]


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Square, tall, wide, tiny, of odd sides, grey, almost grey: everything that a resize or a crop can get wrong."""
    random = np.random.default_rng(0)
    sizes = [(32, 32), (77, 41), (40, 200), (9, 13), (33, 32), (301, 299)]
    colour = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    grey = np.repeat(random.integers(0, 256, (90, 60, 1), dtype=np.uint8), 3, axis=2)
    speck = grey.copy()
    speck[-1, -1] = 255, 0, 255
    return [*colour, grey, speck]


def unit(output: object) -> np.ndarray:
    return torch.nn.functional.normalize(output.pooler_output, dim=-1).numpy()  # type: ignore[attr-defined]


def test_images_equal_transformers_own(checkpoint: Path, images: list[np.ndarray]) -> None:
    processor = tf.AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
    model = tf.AutoModel.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        inputs = processor([Image.fromarray(image) for image in images], return_tensors="pt")
        expected = unit(model.get_image_features(**inputs))
    found = load_encoder(checkpoint, device="cpu").encode_images(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_texts_equal_transformers_own(checkpoint: Path) -> None:
    tokenizer = tf.AutoTokenizer.from_pretrained(checkpoint)
    model = tf.AutoModel.from_pretrained(checkpoint).eval()
    siglip = "siglip" in model.config.model_type
    length = model.config.text_config.max_position_embeddings
    with torch.no_grad():
        inputs = tokenizer(
            TEXTS,
            padding="max_length" if siglip else True,
            truncation=True,
            max_length=min(length, tokenizer.model_max_length),
            return_tensors="pt",
        )
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask") if name in inputs}
        expected = unit(model.get_text_features(**inputs))
    encoder = load_encoder(checkpoint, device="cpu")
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected, atol=1e-5, rtol=0)
    alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, expected, atol=1e-5, rtol=0, err_msg="a text's neighbours changed it")


def test_reports_what_the_model_is(checkpoint: Path) -> None:
    encoder = load_encoder(checkpoint, device="cpu")
    model = tf.AutoModel.from_pretrained(checkpoint)
    assert isinstance(encoder, Encoder)
    assert encoder.encode_texts(TEXTS[:1]).shape == (1, encoder.dim)
    assert encoder.logit_scale == pytest.approx(model.logit_scale.exp().item(), rel=1e-6)
    bias = getattr(model, "logit_bias", None)
    assert encoder.logit_bias == (None if bias is None else pytest.approx(bias.item()))
    assert len(encoder.fingerprint) == 64


def test_embeddings_are_of_unit_norm_and_empty_input_is_empty(checkpoint: Path, images: list[np.ndarray]) -> None:
    encoder = load_encoder(checkpoint, device="cpu")
    np.testing.assert_allclose(np.linalg.norm(encoder.encode_images(images), axis=1), 1, atol=1e-5)
    assert encoder.encode_images([]).shape == (0, encoder.dim)
    assert encoder.encode_texts([]).shape == (0, encoder.dim)


def test_parts_in_flight_come_back_in_order(checkpoint: Path) -> None:
    random = np.random.default_rng(0)
    many = [random.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(2 * IMAGES_AT_ONCE + 5)]
    encoder = load_encoder(checkpoint, device="cpu")
    alone = np.concatenate([encoder.encode_images([image]) for image in many])
    np.testing.assert_allclose(encoder.encode_images(many), alone, atol=1e-5)


def test_reduced_precision_stays_close(checkpoint: Path, images: list[np.ndarray]) -> None:
    exact = load_encoder(checkpoint, device="cpu").encode_images(images)
    reduced = load_encoder(checkpoint, device="cpu", precision="bf16").encode_images(images)
    assert reduced.dtype == np.float32
    assert (exact * reduced).sum(1).min() > 0.99


@pytest.mark.parametrize("size", [32, [32, 32], {"height": 32, "width": 32}])
def test_every_spelling_of_a_square_is_one(size: object, images: list[np.ndarray], tmp_path: Path) -> None:
    """ViT's bare number is a square, where CLIP's keeps the aspect ratio (huggingface/transformers#24070)."""
    folder = dual_encoder(tmp_path / "model")
    expected = load_encoder(folder, device="cpu").encode_images(images)
    file = folder / "preprocessor_config.json"
    old = {key: value for key, value in json.loads(file.read_text()).items() if key != "image_processor_type"}
    file.write_text(json.dumps({**old, "feature_extractor_type": "ViTFeatureExtractor", "size": size}))
    np.testing.assert_array_equal(load_encoder(folder, device="cpu").encode_images(images), expected)
    prepared = tf.AutoImageProcessor.from_pretrained(folder, backend="pil")(images[1], return_tensors="np")
    assert prepared["pixel_values"].shape == (1, 3, 32, 32), "so transformers takes it"


def test_configurations_beside_null_ones_are_taken(tmp_path: Path) -> None:
    """``text_config: null`` with ``text_config_dict``, as CLIP's were once written."""
    folder = clip(tmp_path / "model")
    image = np.zeros((40, 30, 3), np.uint8)
    whole = load_encoder(folder, device="cpu")
    expected = whole.encode_images([image]), whole.encode_texts(TEXTS)
    config = json.loads((folder / "config.json").read_text())
    for name in ("text_config", "vision_config"):
        config |= {name: None, f"{name}_dict": config[name]}
    (folder / "config.json").write_text(json.dumps(config))
    found = load_encoder(folder, device="cpu")
    assert found.image_size == 32
    np.testing.assert_allclose(found.encode_images([image]), expected[0], atol=1e-6)
    np.testing.assert_allclose(found.encode_texts(TEXTS), expected[1], atol=1e-6)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = clip(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "logit_scale": weights["logit_scale"].reshape(1)}, folder / "model.safetensors")
    with pytest.raises(
        UnsupportedModel, match=r"cannot be used: its configuration, or the shape of its weights, is damaged .*copy the"
    ):
        load_encoder(folder, device="cpu").encode_texts(TEXTS)
