"""What the golden outputs of open_clip are computed from: configurations, and weights, images and texts by seeds.

``scripts/goldens/open_clip_outputs.py`` gives them to open_clip 3.3, the tests here to roco. `numpy.random.RandomState`
is frozen: its stream is the same in every version.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np

TEXTS = [
    "chest x-ray with a pleural effusion",
    "axial CT of the brain",
    "No finding.",
    "ultrasound of the gallbladder, stones, " * 8,  # longer than every context length here
]
VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "chest", "x", "ray", "with", "pleural", "effusion", "axial", "ct",
    "of", "the", "brain", "no", "find", "##ing", "ultrasound", "##s", "gall", "##bladder", "stone", ".", ",", "-",
    *"abcdefghijklmnopqrstuvwxyz",
]  # fmt: skip
SHAPES = [(225, 301, 3), (97, 64), (448, 600, 3)]
"""Of the images: odd margins of a crop, a small grey one, a large one."""

BERT = {
    "model_type": "bert", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
    "vocab_size": len(VOCABULARY), "max_position_embeddings": 48, "type_vocab_size": 2, "hidden_act": "gelu",
    "layer_norm_eps": 1e-12, "pad_token_id": 0,
}  # fmt: skip
TOWER = "example/small-bert"
TEXT = {"context_length": 20, "width": 64, "heads": 2, "layers": 2}


def bert(**options: Any) -> dict[str, Any]:
    """Return a text tower of the small BERT."""
    return {"hf_model_name": TOWER, "hf_tokenizer_name": TOWER, "context_length": 32, **options}


def vit(size: int, patch: int, **options: Any) -> dict[str, Any]:
    """Return an image tower of CLIP's kind."""
    return {"image_size": size, "patch_size": patch, "width": 64, "layers": 2, "head_width": 32, **options}


CASES: dict[str, dict[str, Any]] = {
    "vit-b-32-quickgelu": {
        "model_cfg": {"embed_dim": 16, "quick_gelu": True, "vision_cfg": vit(224, 32, layers=3), "text_cfg": TEXT},
    },
    "vit-l-14": {
        "model_cfg": {"embed_dim": 24, "vision_cfg": vit(224, 14, layers=24), "text_cfg": {**TEXT, "layers": 12}},
    },
    "448-px": {
        "model_cfg": {
            "embed_dim": 16, "vision_cfg": vit(448, 14, mlp_ratio=2.0), "text_cfg": TEXT, "custom_text": True,
        },
        "preprocess_cfg": {"mean": [0.3, 0.3, 0.3], "std": [0.2, 0.25, 0.3], "interpolation": "bilinear"},
    },
    "timm-pubmedbert-mlp": {
        "model_cfg": {
            "embed_dim": 32,
            "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "timm_proj": "linear",
                           "image_size": 224},
            "text_cfg": bert(hf_proj_type="mlp", hf_pooler_type="cls_last_hidden_state_pooler"),
        },
        "preprocess_cfg": {"resize_mode": "shortest"},
    },
    "mean-pooler": {
        "model_cfg": {
            "embed_dim": 16, "quick_gelu": True, "vision_cfg": vit(64, 16),
            "text_cfg": bert(hf_proj_type="linear", hf_pooler_type="mean_pooler"),
        },
    },
    "squash": {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "avg", "timm_proj": "mlp",
                           "image_size": 224},
            "text_cfg": bert(hf_proj_type="linear", hf_pooler_type="cls_pooler"),
        },
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear",
                           "resize_mode": "squash"},
    },
    "longest": {
        "model_cfg": {
            "embed_dim": 16, "init_logit_bias": -10.0, "vision_cfg": vit(70, 14),
            "text_cfg": {**TEXT, "proj_bias": True},
        },
        "preprocess_cfg": {"resize_mode": "longest", "fill_color": 17},
    },
    "openai-state-dict": {},
}  # fmt: skip


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the weight of this name, float32: the same wherever it is asked for."""
    if name in ("logit_scale", "logit_bias"):
        return np.full(shape, {"logit_scale": 2.5, "logit_bias": -10.0}[name], np.float32)
    drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
        return np.asarray(drawn * np.float32(1 / math.prod(shape[1:]) ** 0.5))
    of_norm = name.endswith("weight")
    return np.float32(of_norm) + np.float32(0.1) * drawn


def images() -> list[np.ndarray]:
    """Return smooth pictures with noise, uint8, of `SHAPES`; the grey ones as three equal channels."""
    random = np.random.RandomState(7)
    pictures = []
    for shape in SHAPES:
        y, x = np.mgrid[: shape[0], : shape[1]]
        wave = 100 + 60 * np.sin(x / random.uniform(5, 40)) * np.cos(y / random.uniform(5, 40))
        noisy = wave.reshape(*shape[:2], *[1] * (len(shape) - 2)) + 20 * random.standard_normal(shape)
        picture = np.clip(noisy, 0, 255).astype(np.uint8)
        pictures.append(picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2))
    return pictures
