"""The dual encoder of roco-mini: EfficientNet-Lite for images, a mean-pooled BERT for texts.

`transformers.VisionTextDualEncoderModel` is not used because it takes BERT's first-token pooler, while the
sentence encoder we start from (all-MiniLM-L6-v2) was trained on the mean of its tokens.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, BertConfig, BertModel, PretrainedConfig

from roco_search.models.dual_encoder import DualEncoder
from roco_search.models.roco_mini.efficientnet import EfficientNetLiteConfig, EfficientNetLiteModel


class RocoMiniConfig(PretrainedConfig):
    """Configuration of `RocoMiniModel`: the two towers and the width of the space they share."""

    model_type = "roco_mini"
    sub_configs: ClassVar = {"vision_config": EfficientNetLiteConfig, "text_config": BertConfig}

    def __init__(
        self,
        vision_config: dict[str, Any] | EfficientNetLiteConfig | None = None,
        text_config: dict[str, Any] | BertConfig | None = None,
        projection_dim: int = 384,
        logit_scale_init_value: float = math.log(1 / 0.07),
        **kwargs: Any,
    ) -> None:
        if not isinstance(vision_config, EfficientNetLiteConfig):
            vision_config = EfficientNetLiteConfig(**(vision_config or {}))
        if not isinstance(text_config, BertConfig):
            text_config = BertConfig(**(text_config or {}))
        self.vision_config = vision_config
        self.text_config = text_config
        self.projection_dim = projection_dim
        self.logit_scale_init_value = logit_scale_init_value
        super().__init__(**kwargs)


class RocoMiniModel(DualEncoder):
    """Two towers with linear projections: see `DualEncoder`."""

    config_class = RocoMiniConfig
    config: RocoMiniConfig
    base_model_prefix = "roco_mini"
    image_pooling = "own"
    text_pooling = "mean"

    def __init__(self, config: RocoMiniConfig) -> None:
        super().__init__(config)
        self.vision_model = EfficientNetLiteModel(config.vision_config)
        self.text_model = BertModel(config.text_config, add_pooling_layer=False)
        self.visual_projection = nn.Linear(config.vision_config.hidden_size, config.projection_dim, bias=False)
        self.text_projection = nn.Linear(config.text_config.hidden_size, config.projection_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale_init_value))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear) and module is self.visual_projection:
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, nn.Linear) and module is self.text_projection:
            # The identity, as far as it goes: the space starts as the sentence encoder's own, so that words
            # that no training caption uses keep their neighbours.
            nn.init.eye_(module.weight)


def register() -> None:
    """Make ``AutoConfig`` and ``AutoModel`` know roco-mini; calling it again changes nothing."""
    for config, model in (
        (EfficientNetLiteConfig, EfficientNetLiteModel),
        (RocoMiniConfig, RocoMiniModel),
    ):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, model, exist_ok=True)
