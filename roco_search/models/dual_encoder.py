"""The dual encoders that roco defines itself: two towers, pooled and projected into one space, as CLIP's are."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling


class DualEncoder(PreTrainedModel):
    """Two towers and their projections.

    `get_image_features` takes ``pixel_values`` float32 ``(n, 3, height, width)``; `get_text_features` takes
    ``input_ids`` and ``attention_mask`` int64 ``(n, tokens)``. Both return an output whose ``pooler_output`` is
    ``(n, projection_dim)``, not yet of unit norm. ``logit_scale`` is the logarithm of the inverse temperature.

    A subclass sets the attributes: ``image_pooling`` and ``text_pooling`` are how `pool` pools each tower, and
    ``logit_bias`` is there only where the model has one.
    """

    main_input_name = "pixel_values"
    image_pooling: str
    text_pooling: str
    vision_model: nn.Module
    text_model: nn.Module
    visual_projection: nn.Module
    text_projection: nn.Module
    logit_scale: nn.Parameter
    logit_bias: nn.Parameter

    def get_image_features(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Project images into the shared space."""
        out = self.vision_model(pixel_values=pixel_values)
        projected = self.visual_projection(pool(out, self.image_pooling, None))
        return BaseModelOutputWithPooling(last_hidden_state=out.last_hidden_state, pooler_output=projected)

    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> BaseModelOutputWithPooling:
        """Project texts into the shared space."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        out = self.text_model(input_ids=input_ids, attention_mask=attention_mask)
        projected = self.text_projection(pool(out, self.text_pooling, attention_mask))
        return BaseModelOutputWithPooling(last_hidden_state=out.last_hidden_state, pooler_output=projected)

    def forward(
        self, input_ids: torch.Tensor, pixel_values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``(logits_per_image, logits_per_text)``, float32 ``(images, texts)`` and its transpose."""
        images = nn.functional.normalize(self.get_image_features(pixel_values)[1], dim=-1)
        texts = nn.functional.normalize(self.get_text_features(input_ids, attention_mask)[1], dim=-1)
        logits = self.logit_scale.exp() * images @ texts.T
        if hasattr(self, "logit_bias"):
            logits = logits + self.logit_bias
        return logits, logits.T


def pool(out: BaseModelOutputWithPooling, how: str, mask: torch.Tensor | None) -> torch.Tensor:
    """Return one vector for each item, ``(n, width)``.

    Parameters
    ----------
    out
        Of a tower.
    how
        "own" for what the tower itself pools; "first" for its first token; "mean" over the tokens of a text, or over
        the patches of an image, which are all tokens but the first.
    mask
        Of a text, 1 where a token counts, ``(n, tokens)``; None of an image.
    """
    if how == "own":
        assert out.pooler_output is not None
        return out.pooler_output
    hidden = out.last_hidden_state
    assert hidden is not None
    if how == "first":
        return hidden[:, 0]
    if mask is None:
        return hidden[:, 1:].mean(dim=1)
    counted = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
