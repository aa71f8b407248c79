"""The towers of OpenAI's CLIP as open_clip builds them: a ViT for images, a causal transformer for texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from roco_search.models.open_clip.plan import (
    LAYERS,
    VOCABULARY,
    Config,
    Part,
    TowerPlan,
    linear,
    norm,
    number,
    only,
    thirds,
    unknown,
)


def clip_image(cfg: Config, dim: int, quick_gelu: bool) -> TowerPlan:
    """Read the ``vision_cfg`` of a ViT of CLIP. Raises `UnsupportedModel`."""
    if isinstance(cfg.get("layers", 12), list | tuple):
        raise unknown("an image tower", "a ResNet")
    only(
        cfg,
        "an image tower",
        known=("layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "norm_kwargs"),
        defaults={"pos_embed_type": "learnable", "pool_type": "tok", "block_type": "default"},
    )
    width, layers = number(cfg, "width", 768), number(cfg, "layers", 12, LAYERS)
    size, patch = number(cfg, "image_size", 224), number(cfg, "patch_size", 16)
    config = {
        **_transformer(cfg, width, layers, max(1, width // number(cfg, "head_width", 64)), quick_gelu),
        "model_type": "clip_vision_model",
        "image_size": size,
        "patch_size": patch,
        "projection_dim": dim,
    }
    source, target = "visual", "vision_model"
    parts = [
        Part(f"{target}.embeddings.class_embedding", f"{source}.class_embedding", (width,)),
        Part(f"{target}.embeddings.patch_embedding.weight", f"{source}.conv1.weight", (width, 3, patch, patch)),
        Part(
            f"{target}.embeddings.position_embedding.weight",
            f"{source}.positional_embedding",
            ((size // patch) ** 2 + 1, width),
        ),
        *norm(f"{target}.pre_layrnorm", f"{source}.ln_pre", width),
        *_clip_blocks(f"{target}.encoder.layers", f"{source}.transformer.resblocks", config),
        *norm(f"{target}.post_layernorm", f"{source}.ln_post", width),
        Part("visual_projection.weight", f"{source}.proj", (dim, width), transposed=True),
    ]
    return TowerPlan(config, "own", {}, tuple(parts))


def clip_text(cfg: Config, dim: int, quick_gelu: bool) -> TowerPlan:
    """Read the ``text_cfg`` of a text transformer of CLIP. Raises `UnsupportedModel`."""
    pooling = cfg.get("pool_type", "argmax")
    only(
        cfg,
        "a text tower",
        known=("context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "norm_kwargs", "proj_bias",
               "hf_tokenizer_name", "pool_type"),
        defaults={"proj_type": "linear", "proj": "linear", "block_type": "default", "tokenizer_kwargs": {}},
    )  # fmt: skip
    if pooling not in ("argmax", "eos"):
        raise unknown("a text tower", f"pool_type {pooling!r}")
    width, layers, heads = number(cfg, "width", 512), number(cfg, "layers", 12, LAYERS), number(cfg, "heads", 8)
    vocabulary, length = number(cfg, "vocab_size", 49408, VOCABULARY), number(cfg, "context_length", 77)
    config = {
        **_transformer(cfg, width, layers, heads, quick_gelu),
        "model_type": "clip_text_model",
        "vocab_size": vocabulary,
        "max_position_embeddings": length,
        "projection_dim": dim,
        # 2 makes transformers pool where the largest token is, which is open_clip's argmax.
        "eos_token_id": 2 if pooling == "argmax" else number(cfg, "eos_id", 2, VOCABULARY),
    }
    biased = bool(cfg.get("proj_bias"))
    weight, target = ("text.text_projection.weight" if biased else "text.text_projection"), "text_model"
    parts = [
        Part(f"{target}.embeddings.token_embedding.weight", "text.token_embedding.weight", (vocabulary, width)),
        Part(f"{target}.embeddings.position_embedding.weight", "text.positional_embedding", (length, width)),
        *_clip_blocks(f"{target}.encoder.layers", "text.transformer.resblocks", config),
        *norm(f"{target}.final_layer_norm", "text.ln_final", width),
        Part("text_projection.weight", weight, (dim, width), transposed=not biased),
    ]
    if biased:
        parts.append(Part("text_projection.bias", "text.text_projection.bias", (dim,)))
    return TowerPlan(config, "own", {"bias": True} if biased else {}, tuple(parts))


def _transformer(cfg: Config, width: int, layers: int, heads: int, quick_gelu: bool) -> dict[str, Any]:
    norms = dict(cfg.get("norm_kwargs") or {}) if isinstance(cfg.get("norm_kwargs") or {}, dict) else {"": 0}
    eps, ratio = norms.pop("eps", 1e-5), cfg.get("mlp_ratio", 4.0)
    possible = isinstance(eps, float) and 0 < eps < 1 and isinstance(ratio, int | float) and 0 < ratio <= 64
    if norms or not possible or width % heads:
        raise unknown("a tower", f"norm_kwargs {cfg.get('norm_kwargs')!r}, mlp_ratio {ratio!r} and {heads} heads")
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": int(width * ratio),
        "hidden_act": "quick_gelu" if quick_gelu else "gelu",
        "layer_norm_eps": eps,
    }


def _clip_blocks(target: str, source: str, config: Config) -> Iterator[Part]:
    width, inner = config["hidden_size"], config["intermediate_size"]
    for block in range(config["num_hidden_layers"]):
        to, of = f"{target}.{block}", f"{source}.{block}"
        yield from thirds(
            (f"{to}.self_attn.{name}_proj" for name in "qkv"),
            f"{of}.attn.in_proj_weight",
            f"{of}.attn.in_proj_bias",
            width,
        )
        yield from linear(f"{to}.self_attn.out_proj", f"{of}.attn.out_proj", width, width)
        yield from norm(f"{to}.layer_norm1", f"{of}.ln_1", width)
        yield from norm(f"{to}.layer_norm2", f"{of}.ln_2", width)
        yield from linear(f"{to}.mlp.fc1", f"{of}.mlp.c_fc", width, inner)
        yield from linear(f"{to}.mlp.fc2", f"{of}.mlp.c_proj", inner, width)
