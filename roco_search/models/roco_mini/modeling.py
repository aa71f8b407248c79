"""The dual encoder of roco-mini: EfficientNet-Lite for images, a mean-pooled BERT for texts.

`transformers.VisionTextDualEncoderModel` is not used because it takes BERT's first-token pooler, while the
sentence encoder we start from (all-MiniLM-L6-v2) was trained on the mean of its tokens.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, BertConfig, BertModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

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


class RocoMiniModel(PreTrainedModel):
    """Two towers with linear projections into one space, with CLIP's interface.

    `get_image_features` takes ``pixel_values`` float32 ``(n, 3, height, width)``; `get_text_features` takes
    ``input_ids`` and ``attention_mask`` int64 ``(n, tokens)``. Both return an output whose ``pooler_output`` is
    ``(n, projection_dim)``, not yet of unit norm. ``logit_scale`` is the logarithm of the inverse temperature.
    """

    config_class = RocoMiniConfig
    config: RocoMiniConfig
    main_input_name = "pixel_values"
    base_model_prefix = "roco_mini"

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

    def get_image_features(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Project images into the shared space."""
        hidden = self.vision_model(pixel_values)
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden.last_hidden_state,
            pooler_output=self.visual_projection(hidden.pooler_output),
        )

    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> BaseModelOutputWithPooling:
        """Project texts into the shared space."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=self.text_projection(mean))

    def forward(
        self, input_ids: torch.Tensor, pixel_values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``(logits_per_image, logits_per_text)``, float32 ``(images, texts)`` and its transpose."""
        images, texts = (
            nn.functional.normalize(features, dim=-1)
            for features in (
                self.get_image_features(pixel_values)[1],
                self.get_text_features(input_ids, attention_mask)[1],
            )
        )
        logits = self.logit_scale.exp() * images @ texts.T
        return logits, logits.T


def register() -> None:
    """Make ``AutoConfig`` and ``AutoModel`` know roco-mini; calling it again changes nothing."""
    for config, model in (
        (EfficientNetLiteConfig, EfficientNetLiteModel),
        (RocoMiniConfig, RocoMiniModel),
    ):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, model, exist_ok=True)
