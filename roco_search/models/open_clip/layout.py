"""``open_clip_config.json``, or a bare CLIP state dict, read as a model in transformers' layout; without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roco_search.errors import UnsupportedModel
from roco_search.models.checkpoint import Tensor
from roco_search.models.open_clip.clip import clip_image, clip_text
from roco_search.models.open_clip.foreign import BERT_BASE, bert_text, timm_image
from roco_search.models.open_clip.plan import Config, Part, TowerPlan, number, unknown

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
CLIP_TOKENIZER = "openai/clip-vit-base-patch32"
"""Where the tokenizer of CLIP's own text tower is published in transformers' files."""

_OPENAI_MEAN, _OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_RESAMPLE = {"bilinear": 2, "bicubic": 3, "random": 3}  # Pillow's numbers; open_clip takes "random" for bicubic
_TOP_LEVEL_TEXT = re.compile(r"(transformer\.|token_embedding\.|positional_embedding$|ln_final\.|text_projection)")
_NOT_NEEDED = re.compile(
    r".*\bposition_ids|.*\battn_mask|input_resolution|context_length|vocab_size|text\..*\.pooler\..*"
)
_WRAPPERS = ("module.", "model.", "clip.", "clip_model.")
_MOST = 1e6  # of a mean or a standard deviation of grey levels from 0 to 1
_FLOATS = frozenset({"F32", "F16", "BF16"})


@dataclass(frozen=True, slots=True)
class Layout:
    """A model as it is to be written.

    Attributes
    ----------
    config, preprocessor
        ``config.json`` and ``preprocessor_config.json``.
    length
        The longest text in tokens.
    weights
        What becomes of each tensor, by its name in the file.
    """

    config: dict[str, Any]
    preprocessor: dict[str, Any]
    length: int
    weights: tuple[tuple[Part, Tensor | None], ...]


def text_source(config: Config) -> tuple[str, bool]:
    """Return the repository of a model's tokenizer, and whether its ``config.json`` is needed from there too."""
    text = _part(_part(config, "model_cfg"), "text_cfg") if "model_cfg" in config else {}
    name = text.get("hf_model_name")
    tokenizer = text.get("hf_tokenizer_name") or name or CLIP_TOKENIZER
    return str(tokenizer), bool(name) and str(name).lower() not in BERT_BASE


def check_known(config: Config) -> None:
    """Refuse a configuration whose towers are unknown, before its weights come. Raises `UnsupportedModel`."""
    example = {"model_type": "bert", "vocab_size": 9, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads":
               1, "intermediate_size": 9, "max_position_embeddings": 9}  # fmt: skip
    _towers(config, {}, example)
    _preprocessor(config, 224)


def read(config: Config | None, tensors: Mapping[str, Tensor], text_tower: Config | None) -> Layout:
    """Read a model.

    Parameters
    ----------
    config
        ``open_clip_config.json``; None, or one without ``model_cfg``, for a state dict of OpenAI's own CLIP, whose
        sizes say all but how images are prepared, which it may say as ``preprocess_cfg``, and whether GELU is computed
        exactly (``quick_gelu``, true where nothing is said).
    tensors
        The position of each weight.
    text_tower
        The ``config.json`` of a Hugging Face text tower, where there is one.

    Raises
    ------
    UnsupportedModel
        If an architecture is unknown, a weight is missing, has another shape or type than the configuration says, or
        belongs to nothing.
    """
    named = _canonical(tensors)
    shapes = {name: tensor.shape for name, tensor in named.items()}
    if config is None or "model_cfg" not in config:
        config = {**_openai(shapes, quick_gelu=_switch(config or {}, True)), **(config or {})}
    image, text = _towers(config, shapes, text_tower)
    dim = number(_part(config, "model_cfg"), "embed_dim", 0)
    bias = "logit_bias" in named
    parts = [*image.parts, *text.parts, Part("logit_scale", "logit_scale", ())]
    if bias:
        parts.append(Part("logit_bias", "logit_bias", ()))
    weights = tuple((part, _checked(part, named)) for part in parts)
    used = {part.source for part in parts}
    if unused := [name for name in named if name not in used and not _NOT_NEEDED.fullmatch(name)]:
        raise unknown(f"{len(unused)} weights that belong to no tower", f"names such as {unused[0]}")
    plain = not (image.projection or text.projection or bias)
    kinds = image.config["model_type"], text.config["model_type"]
    if plain and kinds == ("clip_vision_model", "clip_text_model"):
        own: dict[str, Any] = {"model_type": "clip", "architectures": ["CLIPModel"]}
    else:
        own = {
            "model_type": "open_clip",
            "architectures": ["OpenClipModel"],
            "image_pooling": image.pooling,
            "text_pooling": text.pooling,
            "image_projection": image.projection,
            "text_projection": text.projection,
            "logit_bias": bias,
        }
    own |= {"projection_dim": dim, "vision_config": image.config, "text_config": text.config}
    length = number(_part(_part(config, "model_cfg"), "text_cfg"), "context_length", 77)
    return Layout(own, _preprocessor(config, image.config["image_size"]), length, weights)


def _towers(config: Config, shapes: Mapping[str, tuple[int, ...]], given: Config | None) -> tuple[TowerPlan, TowerPlan]:
    model = _part(config, "model_cfg")
    dim, quick = number(model, "embed_dim", 0), _switch(model, False)
    vision, text = _part(model, "vision_cfg"), _part(model, "text_cfg")
    if model.get("multimodal_cfg"):
        raise unknown("a decoder", "CoCa")
    image = timm_image(vision, dim, shapes) if vision.get("timm_model_name") else clip_image(vision, dim, quick)
    if text.get("hf_model_name"):
        return image, bert_text(text, dim, shapes, given)
    return image, clip_text(text, dim, quick)


def _switch(config: Config, default: bool) -> bool:
    quick = config.get("quick_gelu", default)
    if not isinstance(quick, bool):
        raise unknown("a tower", f"quick_gelu {quick!r}")
    return quick


def _part(config: Config, key: str) -> Config:
    found = config.get(key)
    if not isinstance(found, Mapping):
        raise UnsupportedModel(f"Its {CONFIG} has no {key}; copy the folder again from where the model comes from.")
    return found


def _preprocessor(config: Config, size: int) -> dict[str, Any]:
    """Return what `roco_search.imaging.preprocess` reads: transformers' keys where it has the operation."""
    given = config.get("preprocess_cfg")
    given = given if isinstance(given, Mapping) else {}
    mode, interpolation = given.get("resize_mode") or "shortest", given.get("interpolation") or "bicubic"
    if (
        not (isinstance(mode, str) and isinstance(interpolation, str))
        or mode not in ("shortest", "longest", "squash")
        or interpolation not in _RESAMPLE
    ):
        raise unknown("images that are prepared", f"{mode!r} and {interpolation!r}")
    square = {"height": size, "width": size}
    common = {
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
        "resample": _RESAMPLE[interpolation],
        "image_mean": _statistics(given.get("mean", _OPENAI_MEAN), least=-_MOST),
        "image_std": _statistics(given.get("std", _OPENAI_STD), least=1 / _MOST),
    }
    if mode == "squash":
        return {"image_processor_type": "ViTImageProcessor", **common, "size": square}
    if mode == "longest":
        fill = given.get("fill_color", 0)
        if isinstance(fill, bool) or not isinstance(fill, int) or not 0 <= fill <= 255:
            raise unknown("images that are prepared", f"fill_color {fill!r}")
        return {"image_processor_type": "OpenClipImageProcessor", **common, "size": {"longest_edge": size},
                "do_center_crop": True, "crop_size": square, "fill": fill, "crop_rounding": "half_even"}  # fmt: skip
    return {"image_processor_type": "CLIPImageProcessor", **common, "size": {"shortest_edge": size},
            "do_center_crop": True, "crop_size": square, "crop_rounding": "half_even"}  # fmt: skip


def _statistics(values: Any, least: float) -> list[float]:
    found = list(values) if isinstance(values, list | tuple) else [values] * 3
    numbers = [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(found) != 3 or len(numbers) != 3 or not all(least <= value <= _MOST for value in numbers):
        raise unknown("images that are prepared", f"mean or std {values!r}")
    return [float(value) for value in found]


def _canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors as `CustomTextCLIP` does, without the prefixes of what a model was wrapped in for training."""
    names = {name: name for name in tensors}
    while prefix := next((p for p in _WRAPPERS if names and all(n.startswith(p) for n in names.values())), None):
        names = {key: name.removeprefix(prefix) for key, name in names.items()}
    return {(f"text.{name}" if _TOP_LEVEL_TEXT.match(name) else name): tensors[key] for key, name in names.items()}


def _checked(part: Part, named: Mapping[str, Tensor]) -> Tensor | None:
    if part.source is None:
        return None
    if (tensor := named.get(part.source)) is None:
        raise UnsupportedModel(f"It has no {part.source} among its weights, which its configuration asks for.")
    if tensor.dtype not in _FLOATS:
        raise UnsupportedModel(f"Its {part.source} is of the type {tensor.dtype}, not of a floating point type.")
    expected = part.shape[::-1] if part.transposed else part.shape
    if part.rows:
        expected = (3 * expected[0], *expected[1:])
    alike = tensor.shape == expected or (expected == () and tensor.shape == (1,))
    if not alike:
        raise UnsupportedModel(
            f"Its {part.source} is of the shape {_shape(tensor.shape)}, and its configuration says {_shape(expected)}."
        )
    return tensor


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"


def _openai(shapes: Mapping[str, tuple[int, ...]], *, quick_gelu: bool) -> Config:
    """Return the configuration of a state dict by its shapes alone, as OpenAI's own ``build_model`` reads it."""
    try:
        width, _, patch, _ = shapes["visual.conv1.weight"]
        grid = round((shapes["visual.positional_embedding"][0] - 1) ** 0.5)
        length, text_width = shapes["text.positional_embedding"]
        dim = shapes["text.text_projection"][1]
        words = shapes["text.token_embedding.weight"][0]
    except (KeyError, ValueError, IndexError):
        raise UnsupportedModel(
            f"It is neither a model with a {CONFIG} nor a state dict of OpenAI's CLIP with a ViT; put the {CONFIG} "
            "beside the weights and give that folder."
        ) from None

    def layers(prefix: str) -> int:
        return len({name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)})

    return {
        "model_cfg": {
            "embed_dim": dim,
            "quick_gelu": quick_gelu,
            "vision_cfg": {
                "image_size": grid * patch,
                "layers": layers("visual.transformer.resblocks."),
                "width": width,
                "patch_size": patch,
            },
            "text_cfg": {
                "context_length": length,
                "vocab_size": words,
                "width": text_width,
                "heads": max(1, text_width // 64),
                "layers": layers("text.transformer.resblocks."),
            },
        }
    }
