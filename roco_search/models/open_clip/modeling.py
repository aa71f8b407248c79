"""The dual encoder of open_clip's combinations that no class of transformers has: its towers, pooled and projected.

A timm ViT gives its class token without a pooling layer, and a BERT its first token or the mean of all, projected by
two layers: `VisionTextDualEncoderModel` does neither. The towers are transformers' own (ViT, CLIP, BERT, RoBERTa). What
is CLIP in both towers becomes transformers' `CLIPModel` instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig

from roco_search.models.dual_encoder import DualEncoder


class OpenClipConfig(PretrainedConfig):
    """Configuration of `OpenClipModel`.

    Attributes
    ----------
    vision_config, text_config
        Of transformers' ``vit`` or ``clip_vision_model``, and ``bert``, ``roberta``, ``xlm-roberta`` or
        ``clip_text_model``.
    projection_dim
        The width of the shared space.
    image_pooling, text_pooling
        What becomes of the tokens of a tower: see `pool`.
    image_projection, text_projection
        ``bias``, and for an MLP the width ``hidden`` of its first layer, and whether that has a bias
        (``hidden_bias``).
    logit_bias
        Whether the model has a bias beside its temperature, as with SigLIP's loss.
    """

    model_type = "open_clip"
    sub_configs: ClassVar = {"vision_config": AutoConfig, "text_config": AutoConfig}

    def __init__(
        self,
        vision_config: Mapping[str, Any] | PretrainedConfig | None = None,
        text_config: Mapping[str, Any] | PretrainedConfig | None = None,
        projection_dim: int = 512,
        image_pooling: str = "first",
        text_pooling: str = "first",
        image_projection: Mapping[str, Any] | None = None,
        text_projection: Mapping[str, Any] | None = None,
        logit_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        self.vision_config = _config(vision_config, "vit")
        self.text_config = _config(text_config, "bert")
        self.projection_dim = projection_dim
        self.image_pooling, self.text_pooling = image_pooling, text_pooling
        self.image_projection, self.text_projection = dict(image_projection or {}), dict(text_projection or {})
        self.logit_bias = logit_bias
        super().__init__(**kwargs)


def _config(given: Mapping[str, Any] | PretrainedConfig | None, kind: str) -> PretrainedConfig:
    if isinstance(given, PretrainedConfig):
        return given
    fields = dict(given or {})
    return AutoConfig.for_model(fields.pop("model_type", kind), **fields)


class Projection(nn.Linear):
    """A linear projection ``(n, width) -> (n, dim)``, or an MLP whose last layer it is; GELU is between its layers."""

    def __init__(
        self, width: int, dim: int, *, bias: bool = False, hidden: int | None = None, hidden_bias: bool = False
    ) -> None:
        super().__init__(hidden or width, dim, bias=bias)
        self.hidden = nn.Linear(width, hidden, bias=hidden_bias) if hidden else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project features."""
        return super().forward(features if self.hidden is None else nn.functional.gelu(self.hidden(features)))


class OpenClipModel(DualEncoder):
    """A model of open_clip: see `DualEncoder`."""

    config_class = OpenClipConfig
    config: OpenClipConfig
    base_model_prefix = "open_clip"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: OpenClipConfig) -> None:
        super().__init__(config)
        self.image_pooling, self.text_pooling = config.image_pooling, config.text_pooling
        self.vision_model = _tower(config.vision_config, config.image_pooling)
        self.text_model = _tower(config.text_config, config.text_pooling)
        dim = config.projection_dim
        self.visual_projection = Projection(config.vision_config.hidden_size, dim, **config.image_projection)
        self.text_projection = Projection(config.text_config.hidden_size, dim, **config.text_projection)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        if config.logit_bias:
            self.logit_bias = nn.Parameter(torch.zeros(()))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave it to torch: a converted model has all of its weights."""


def _tower(config: PretrainedConfig, pooling: str) -> nn.Module:
    """Return a tower; the pooling layer of a ViT or BERT only where it is used."""
    options = {} if config.model_type.startswith("clip_") else {"add_pooling_layer": pooling == "own"}
    return AutoModel.from_config(config, **options)  # type: ignore[no-any-return]


def register() -> None:
    """Make ``AutoConfig`` and ``AutoModel`` know these models; calling it again changes nothing."""
    AutoConfig.register(OpenClipConfig.model_type, OpenClipConfig, exist_ok=True)
    AutoModel.register(OpenClipConfig, OpenClipModel, exist_ok=True)
