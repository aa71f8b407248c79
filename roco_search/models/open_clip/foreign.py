"""The towers of other libraries that open_clip takes: timm's ViT for images, Hugging Face's BERT for texts."""

from __future__ import annotations

import re
from typing import Any

from roco_search.errors import UnsupportedModel
from roco_search.models.open_clip.plan import (
    LAYERS,
    VOCABULARY,
    Config,
    Part,
    Shapes,
    TowerPlan,
    linear,
    norm,
    number,
    only,
    shown,
    thirds,
    unknown,
    weighted,
)

_TIMM = re.compile(r"vit_(tiny|small|base|large|huge)_patch(8|14|16|32)_(\d+)(\.\w+)?")
_TIMM_HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16, "huge": 16}
# What open_clip pools where the configuration does not say (hf_configs.py).
_POOLERS = {"bert": "cls_pooler", "roberta": "mean_pooler", "xlm-roberta": "mean_pooler"}
_POOLING = {"cls_pooler": "first", "cls_last_hidden_state_pooler": "first", "mean_pooler": "mean"}
BERT_BASE = frozenset({
    "microsoft/biomednlp-biomedbert-base-uncased-abstract",
    "microsoft/biomednlp-biomedbert-base-uncased-abstract-fulltext",
    "microsoft/biomednlp-pubmedbert-base-uncased-abstract",
    "microsoft/biomednlp-pubmedbert-base-uncased-abstract-fulltext",
    "emilyalsentzer/bio_clinicalbert", "bert-base-uncased", "bert-base-cased", "google-bert/bert-base-uncased",
})  # fmt: skip
"""The text towers of medical models that are BERT-base in all but their words, in lower case."""

_BERT_BASE: Config = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}  # fmt: skip
_BERT_KEYS = frozenset({
    "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
    "layer_norm_eps", "pad_token_id", "bos_token_id", "eos_token_id", "position_embedding_type",
})  # fmt: skip


def timm_image(cfg: Config, dim: int, shapes: Shapes) -> TowerPlan:
    """Read the ``vision_cfg`` of a ViT of timm. Raises `UnsupportedModel`."""
    name = str(cfg["timm_model_name"])
    if (match := _TIMM.fullmatch(name)) is None:
        raise unknown("timm's image tower", name)
    only(
        cfg,
        f"timm's image tower {name}",
        known=("timm_model_name", "timm_pool", "timm_proj", "timm_proj_bias", "image_size"),
        # What has no meaning beside a timm model may say anything.
        ignored=("layers", "width", "head_width", "mlp_ratio", "patch_size"),
    )
    pooling = {"": "first", "token": "first", "avg": "mean"}.get(cfg.get("timm_pool", "avg"))
    if pooling is None:
        raise unknown("timm's image tower", f"timm_pool {cfg['timm_pool']!r}")
    source, target = "visual.trunk", "vision_model"
    width = shapes.get(f"{source}.cls_token", (0,))[-1]
    layers = len({key.split(".")[3] for key in shapes if key.startswith(f"{source}.blocks.")})
    size, patch = number(cfg, "image_size", 224), int(match[2])
    config = {
        "model_type": "vit",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": _TIMM_HEADS[match[1]],
        "intermediate_size": 4 * width,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "image_size": size,
        "patch_size": patch,
        "qkv_bias": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    parts = [
        Part(f"{target}.embeddings.cls_token", f"{source}.cls_token", (1, 1, width)),
        Part(
            f"{target}.embeddings.position_embeddings", f"{source}.pos_embed", (1, (size // patch) ** 2 + 1, width)
        ),
        *weighted(f"{target}.embeddings.patch_embeddings.projection", f"{source}.patch_embed.proj",
                   (width, 3, patch, patch)),
        *norm(f"{target}.layernorm", f"{source}.norm", width),
    ]  # fmt: skip
    for block in range(layers):
        # transformers stores a ViT by these names, and reads them under whatever it calls them now.
        to, of = f"{target}.encoder.layer.{block}", f"{source}.blocks.{block}"
        parts += [
            *thirds(
                (f"{to}.attention.attention.{name}" for name in ("query", "key", "value")),
                f"{of}.attn.qkv.weight",
                f"{of}.attn.qkv.bias",
                width,
            ),
            *linear(f"{to}.attention.output.dense", f"{of}.attn.proj", width, width),
            *norm(f"{to}.layernorm_before", f"{of}.norm1", width),
            *norm(f"{to}.layernorm_after", f"{of}.norm2", width),
            *linear(f"{to}.intermediate.dense", f"{of}.mlp.fc1", width, 4 * width),
            *linear(f"{to}.output.dense", f"{of}.mlp.fc2", 4 * width, width),
        ]
    projection, last = _timm_projection(cfg, dim, width)
    return TowerPlan(config, pooling, projection, (*parts, *last))


def _timm_projection(cfg: Config, dim: int, width: int) -> tuple[dict[str, Any], list[Part]]:
    kind, bias = cfg.get("timm_proj", "linear"), bool(cfg.get("timm_proj_bias"))
    if kind == "linear":
        return {"bias": bias}, [*weighted("visual_projection", "visual.head.proj", (dim, width), bias)]
    if kind == "mlp":
        return {"bias": bias, "hidden": 2 * dim, "hidden_bias": True}, [
            *linear("visual_projection.hidden", "visual.head.mlp.fc1", width, 2 * dim),
            *weighted("visual_projection", "visual.head.mlp.fc2", (dim, 2 * dim), bias),
        ]
    if not kind:  # the trunk's own classifier
        return {"bias": True}, [*linear("visual_projection", "visual.trunk.head", width, dim)]
    if kind == "none" and width == dim:
        return {}, [Part("visual_projection.weight", None, (dim, dim))]
    raise unknown("timm's image tower", f"timm_proj {kind!r}")


def bert_text(cfg: Config, dim: int, shapes: Shapes, given: Config | None) -> TowerPlan:
    """Read the ``text_cfg`` of a Hugging Face encoder; `given` is its ``config.json``.

    Without it, the towers of `BERT_BASE` are known by their names.

    Raises
    ------
    UnsupportedModel
    """
    name = str(cfg["hf_model_name"])
    if given is None and name.lower() in BERT_BASE:
        words = shapes.get("text.transformer.embeddings.word_embeddings.weight", (30522,))[0]
        given = {"model_type": "bert", "vocab_size": words, **_BERT_BASE}
    if given is None:
        raise UnsupportedModel(
            f"Its text tower is {shown(name)}, whose config.json is not there; give a folder that holds it and the "
            "tokenizer as `tokenizer`."
        )
    kind = str(given.get("model_type"))
    if kind not in _POOLERS:
        raise unknown("a text tower", f"{name}, a {kind!r} model")
    only(
        cfg,
        f"a text tower {name}",
        known=("context_length", "hf_model_name", "hf_tokenizer_name", "hf_proj_type", "hf_pooler_type", "proj",
               "pooler_type"),
        defaults={"tokenizer_kwargs": {}},
        ignored=("width", "heads", "layers", "vocab_size"),
    )  # fmt: skip
    config = {key: given[key] for key in sorted(_BERT_KEYS & set(given))}
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise unknown("a text tower", f"{name} with {config['position_embedding_type']!r} positions")
    source, target = "text.transformer", "text_model"
    pooler = cfg.get("hf_pooler_type", cfg.get("pooler_type")) or _POOLERS[kind]
    if pooler not in _POOLING:
        raise unknown("a text tower", f"hf_pooler_type {pooler!r}")
    # open_clip builds BERT's own pooling layer only where the configuration asks for it by name.
    own = cfg.get("hf_pooler_type", cfg.get("pooler_type")) == "cls_pooler"
    width, inner = number(config, "hidden_size", 0), number(config, "intermediate_size", 0)
    layers = number(config, "num_hidden_layers", 0, LAYERS)
    rows = {
        "word": number(config, "vocab_size", 0, VOCABULARY),
        "position": number(config, "max_position_embeddings", 0),
        "token_type": number(config, "type_vocab_size", 2),
    }
    if width % number(config, "num_attention_heads", 0):
        raise unknown("a text tower", f"{name} of {width} dimensions and {config['num_attention_heads']} heads")
    to, of = f"{target}.embeddings", f"{source}.embeddings"
    parts = [
        *(Part(f"{to}.{k}_embeddings.weight", f"{of}.{k}_embeddings.weight", (n, width)) for k, n in rows.items()),
        *norm(f"{to}.LayerNorm", f"{of}.LayerNorm", width),
    ]
    for block in range(layers):
        stem = f"encoder.layer.{block}"
        to, of = f"{target}.{stem}", f"{source}.{stem}"
        for layer in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            parts += linear(f"{to}.{layer}", f"{of}.{layer}", width, width)
        parts += norm(f"{to}.attention.output.LayerNorm", f"{of}.attention.output.LayerNorm", width)
        parts += linear(f"{to}.intermediate.dense", f"{of}.intermediate.dense", width, inner)
        parts += linear(f"{to}.output.dense", f"{of}.output.dense", inner, width)
        parts += norm(f"{to}.output.LayerNorm", f"{of}.output.LayerNorm", width)
    if own:
        parts += linear(f"{target}.pooler.dense", f"{source}.pooler.dense", width, width)
    projection, last = _bert_projection(cfg, dim, width)
    return TowerPlan(config, "own" if own else _POOLING[pooler], projection, (*parts, *last))


def _bert_projection(cfg: Config, dim: int, width: int) -> tuple[dict[str, Any], list[Part]]:
    kind = cfg.get("hf_proj_type", cfg.get("proj", "mlp"))
    if kind == "linear":
        return {}, [Part("text_projection.weight", "text.proj.weight", (dim, width))]
    if kind == "mlp":
        hidden = (width + dim) // 2
        return {"hidden": hidden}, [
            Part("text_projection.hidden.weight", "text.proj.0.weight", (hidden, width)),
            Part("text_projection.weight", "text.proj.2.weight", (dim, hidden)),
        ]
    if kind is None and width == dim:
        return {}, [Part("text_projection.weight", None, (dim, dim))]
    raise unknown("a text tower", f"hf_proj_type {kind!r}")
