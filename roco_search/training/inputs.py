"""From drawn images and captions to what the towers take, on the device, chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from roco_search.errors import TrainingError
from roco_search.models.torch_encoder import TorchEncoder

from .batches import Pixels

Tensors = Mapping[str, torch.Tensor]


class Inputs:
    """Prepares chunks for an encoder's towers.

    Images that are not augmented are prepared by the model's own preprocessing; augmented ones are of the right size
    already and are only normalised. ``size`` is the side in pixels of an augmented image.
    """

    def __init__(self, encoder: TorchEncoder, image_size: int = 0) -> None:
        self._encoder = encoder
        family, own = encoder.checkpoint.family, encoder.image_size
        if image_size not in (0, own) and family != "roco_mini":
            raise TrainingError(f"The image tower takes {own} pixels and no other number; leave --image-size out.")
        if image_size % 32:
            raise TrainingError(f"--image-size is {image_size}; a convolutional tower takes multiples of 32.")
        self.size = image_size or own

    def fit(self, image: Pixels) -> Pixels:
        """Apply the geometry of the model's preprocessing to an image that is not augmented."""
        preprocessing = self._encoder.preprocessing
        return image if preprocessing is None else preprocessing.fit(image)

    def images(self, images: Sequence[Pixels]) -> Tensors:
        """Return the arguments of the image tower for a chunk of fitted or augmented images."""
        preprocessing, device = self._encoder.preprocessing, self._encoder.device
        if preprocessing is None:  # only transformers' own processor knows how, such as SigLIP 2's patches
            return self._on_device(self._encoder.prepare_images(images))
        pixels = torch.from_numpy(np.stack(images)).to(device, non_blocking=True).permute(0, 3, 1, 2)
        pixels = pixels.to(self._encoder.model.dtype)
        if preprocessing.rescale is not None:
            pixels *= preprocessing.rescale
        if preprocessing.mean is not None and preprocessing.std is not None:
            mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in self._statistics)
            pixels = (pixels - mean) / std
        return {"pixel_values": pixels}

    @property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        preprocessing = self._encoder.preprocessing
        assert preprocessing is not None and preprocessing.mean is not None and preprocessing.std is not None
        return preprocessing.mean, preprocessing.std

    def texts(self, texts: Sequence[str]) -> Tensors:
        """Return the arguments of the text tower for a chunk of captions."""
        return self._on_device(self._encoder.prepare_texts(texts))

    def _on_device(self, arrays: Mapping[str, np.ndarray]) -> Tensors:
        device = self._encoder.device
        return {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in arrays.items()}
