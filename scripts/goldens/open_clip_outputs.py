"""Compute what open_clip itself makes of small random checkpoints: the golden file of ``tests/models/open_clip``.

It runs where open_clip_torch 3.3, timm, torch and torchvision are installed, and never where roco is:

    python scripts/goldens/open_clip_outputs.py tests/models/open_clip/golden.json

Weights, images and texts come from seeds (``numpy.random.RandomState``, whose stream is frozen), so that the file holds
configurations, names and shapes of tensors, and embeddings alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

TEXTS = [
    "chest x-ray with a pleural effusion",
    "axial CT of the brain",
    "No finding.",
    "ultrasound of the gallbladder, stones, " * 8,  # longer than every context length here
]
WORDS = "chest x ray with a pleural effusion axial ct of the brain no find ##ing ultrasound ##s gall ##bladder stone".split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, ".", ",", "-", *"abcdefghijklmnopqrstuvwxyz"]
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
        "model_cfg": {"embed_dim": 16, "vision_cfg": vit(448, 14, mlp_ratio=2.0), "text_cfg": TEXT, "custom_text": True},
        "preprocess_cfg": {"mean": [0.3, 0.3, 0.3], "std": [0.2, 0.25, 0.3], "interpolation": "bilinear"},
    },
    "timm-pubmedbert-mlp": {
        "model_cfg": {
            "embed_dim": 32,
            "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "timm_model_pretrained": False, "timm_pool": "",
                           "timm_proj": "linear", "image_size": 224},
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
            "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "timm_model_pretrained": False, "timm_pool": "avg",
                           "timm_proj": "mlp", "image_size": 224},
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
        return drawn * np.float32(1 / max(1, np.prod(shape[1:])) ** 0.5)
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


def merges() -> list[str]:
    """Return the first merges of CLIP's byte pairs: enough for words of several pieces."""
    import gzip

    import open_clip

    path = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    return gzip.open(path, "rt", encoding="utf-8").read().split("\n")[1:301]


def main(target: Path) -> None:
    """Write the golden file."""
    import gzip

    import open_clip
    import torch
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
    from PIL import Image
    from safetensors.torch import save_file

    folder = Path(tempfile.mkdtemp())
    tower = folder / "bert"
    tower.mkdir()
    (tower / "config.json").write_text(json.dumps(BERT))
    (tower / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (tower / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    )
    pairs = merges()
    with gzip.open(folder / "bpe.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(["#version", *pairs]))
    bpe = SimpleTokenizer(bpe_path=str(folder / "bpe.txt.gz"), context_length=TEXT["context_length"])
    golden: dict[str, Any] = {"bert": BERT, "vocabulary": VOCABULARY, "merges": pairs, "cases": {}}
    for name, config in CASES.items():
        here = folder / name
        here.mkdir()
        used = json.loads(json.dumps(config).replace(TOWER, str(tower)))
        if config:
            text = used["model_cfg"]["text_cfg"]
            if "hf_model_name" in text:
                text["hf_model_pretrained"] = False
            else:
                text["vocab_size"] = config["model_cfg"]["text_cfg"]["vocab_size"] = len(bpe.encoder)
            used.setdefault("preprocess_cfg", {})
            (here / "open_clip_config.json").write_text(json.dumps(used))
            arguments = {key: value for key, value in used["model_cfg"].items() if key != "custom_text"}
            custom = "custom_text" in used["model_cfg"] or "hf_model_name" in text
            blank = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**arguments)
        else:
            blank = open_clip.CLIP(
                24, {**vit(224, 32), "width": 128, "head_width": 64}, {**TEXT, "width": 128, "vocab_size": len(bpe.encoder)},
                quick_gelu=True,
            )  # fmt: skip
        shapes = {key: list(tensor.shape) for key, tensor in blank.state_dict().items() if tensor.is_floating_point()}
        shapes.pop("attn_mask", None)
        state = {key: torch.from_numpy(values(key, tuple(shape))).clone() for key, shape in shapes.items()}
        if not config:  # OpenAI publishes half precision
            state = {key: tensor.half() for key, tensor in state.items()}
        if config:
            save_file(state, here / "open_clip_model.safetensors")
            model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{here}")
        else:
            model = open_clip.openai.build_model_from_openai_state_dict(dict(state), cast_dtype=torch.float32).float()
            preprocess = open_clip.image_transform(224, is_train=False)
        model.eval()
        of_bert = bool(config) and "hf_model_name" in config["model_cfg"]["text_cfg"]
        tokenizer = HFTokenizer(str(tower), context_length=32) if of_bert else bpe
        with torch.no_grad():
            pixels = torch.stack([preprocess(Image.fromarray(image)) for image in images()])
            out = {
                "images": model.encode_image(pixels, normalize=True).numpy().round(7).tolist(),
                "texts": model.encode_text(tokenizer(TEXTS), normalize=True).numpy().round(7).tolist(),
            }
        golden["cases"][name] = {"config": config or None, "shapes": shapes, **out}
        print(name, len(shapes), pixels.shape)
    target.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
