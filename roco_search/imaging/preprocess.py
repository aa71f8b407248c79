"""Resize, crop and normalise, exactly as a checkpoint's own image processor does, without torch or transformers.

A checkpoint in transformers' layout says in ``preprocessor_config.json`` how its images must be prepared. The
reference for the arithmetic is transformers' PIL backend (``image_processing_backends.PilBackend``): resize on
uint8 with Pillow, centre crop, rescale, normalise.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from roco_search.errors import UnsupportedModel

# What a processor means when its file leaves a key out: the class defaults of transformers, by family.
_CLIP_DEFAULTS: Mapping[str, Any] = {
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "resample": Image.Resampling.BICUBIC,
    "do_center_crop": True,
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
_HALF_MEAN: Mapping[str, Any] = {
    "size": {"height": 224, "width": 224},
    "do_center_crop": False,
    "image_mean": (0.5, 0.5, 0.5),
    "image_std": (0.5, 0.5, 0.5),
}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "CLIPImageProcessor": _CLIP_DEFAULTS,
    "CLIPFeatureExtractor": _CLIP_DEFAULTS,
    # What roco writes for a checkpoint of open_clip whose longer side fits, and which transformers has no class for.
    "OpenClipImageProcessor": {**_CLIP_DEFAULTS, "fits_longest": True},
    "SiglipImageProcessor": {**_HALF_MEAN, "resample": Image.Resampling.BICUBIC},
    "ViTImageProcessor": {**_HALF_MEAN, "resample": Image.Resampling.BILINEAR},
    "ViTFeatureExtractor": {**_HALF_MEAN, "resample": Image.Resampling.BILINEAR},
}


_LARGEST = 2**14
_REMEDY = "copy that file again from where the model comes from."


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """One checkpoint's way from pixels to the input of its image tower.

    One of ``shortest_edge`` and ``longest_edge`` (keep the aspect ratio) and ``resize_to`` (height, width; stretches)
    is set, or none, when the checkpoint does not resize. ``crop_to`` is the centre crop (height, width); what is
    smaller is set into ``fill``. ``half_even`` places an odd crop as torchvision does, for checkpoints that were
    trained with it: half a pixel is rounded to the even number, and down otherwise, as in transformers.
    """

    shortest_edge: int | None
    resize_to: tuple[int, int] | None
    crop_to: tuple[int, int] | None
    resample: int
    rescale: float | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    longest_edge: int | None = None
    fill: int = 0
    half_even: bool = False

    @classmethod
    def from_directory(cls, directory: Path) -> Preprocessing:
        """Read ``preprocessor_config.json`` (or the image part of ``processor_config.json``).

        Raises `UnsupportedModel` where it is missing or names steps that are not reproduced here.
        """
        file = directory / "preprocessor_config.json"
        nested = directory / "processor_config.json"
        if file.is_file():
            config = _read(file)
        elif nested.is_file():
            file, config = nested, _read(nested).get("image_processor") or {}
        else:
            raise UnsupportedModel(
                "the model's folder has no preprocessor_config.json, so it is unknown how its images are "
                "prepared; copy that file from where the model comes from."
            )
        try:
            return cls.from_config(config)
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError):
            raise UnsupportedModel(f"{file} is damaged; {_REMEDY}") from None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preprocessing:
        """Read a processor's configuration; keys that it leaves out take transformers' class defaults."""
        kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
        family = kind.removesuffix("Fast").removesuffix("Pil")
        if family not in _DEFAULTS:
            raise UnsupportedModel(
                f"images for this model are prepared by {kind or 'an unnamed processor'}, which is not "
                f"reproduced here; the ones that are: {', '.join(sorted(_DEFAULTS))}."
            )
        merged: dict[str, Any] = {**_DEFAULTS[family], **config}

        def wanted(step: str) -> bool:
            return bool(merged.get(step, True))

        longest = merged["size"].get("longest_edge") if merged.get("fits_longest") else None
        # A bare number is a square, except for CLIP, which keeps the aspect ratio (`get_size_dict` in transformers).
        keeps_ratio = "shortest_edge" in _DEFAULTS[family]["size"]
        if not all(_channels(merged["image_std"])) or not math.isfinite(merged.get("rescale_factor", 1)):
            raise ValueError("no arithmetic of a picture")
        resizes = wanted("do_resize") and not longest
        shortest, resize_to = _size(merged["size"], square=not keeps_ratio) if resizes else (None, None)
        crop = _size(merged["crop_size"], square=True)[1] if wanted("do_center_crop") else None
        if not all(
            0 < side <= _LARGEST
            for side in (1 if shortest is None else shortest, longest or 1, *(resize_to or ()), *(crop or ()))
        ):
            raise ValueError("no size of a picture")
        return cls(
            shortest_edge=shortest,
            resize_to=resize_to,
            crop_to=crop,
            resample=int(Image.Resampling(merged["resample"])),
            rescale=float(merged.get("rescale_factor", 1 / 255)) if wanted("do_rescale") else None,
            mean=_channels(merged["image_mean"]) if wanted("do_normalize") else None,
            std=_channels(merged["image_std"]) if wanted("do_normalize") else None,
            longest_edge=longest,
            fill=int(merged.get("fill", 0)),
            half_even=merged.get("crop_rounding") == "half_even",
        )

    @property
    def image_size(self) -> int | None:
        """The side of the square that comes out, in pixels; None where it depends on the image."""
        out = self.crop_to or self.resize_to
        return max(out) if out else None

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Prepare uint8 ``(height, width, 3)`` images as one float32 ``(n, 3, height, width)`` array."""
        return np.stack([self.prepare(image) for image in images])

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Prepare one uint8 ``(height, width, 3)`` image as float32 ``(3, height, width)``."""
        fitted = self.fit(image)
        out = np.empty((3, *fitted.shape[:2]), np.float32)
        for channel, values in enumerate(self.levels()):
            np.take(values, fitted[:, :, channel], out=out[channel])
        return out

    def levels(self) -> np.ndarray:
        """Return what each of the 256 grey levels becomes, float32 ``(3, 256)``: the arithmetic done once for all."""
        levels: np.ndarray = np.repeat(np.arange(256, dtype=np.float32)[:, None], 3, axis=1)
        if self.rescale is not None:
            levels *= np.float32(self.rescale)
        if self.mean is not None and self.std is not None:
            levels = (levels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(levels.T)

    def fit(self, image: np.ndarray) -> np.ndarray:
        """Resize and crop one uint8 ``(height, width, 3)`` image; the values are still uint8."""
        size = self._target(image.shape[0], image.shape[1])
        if size != image.shape[:2]:
            # Pillow's resampling on uint8, as in the reference: the values are rounded here, not later. It treats each
            # channel alone, so of a grey picture, which most are, one is enough.
            grey = _is_grey(image)
            source = Image.fromarray(np.ascontiguousarray(image[:, :, 0]) if grey else image)
            resized = np.asarray(source.resize((size[1], size[0]), Image.Resampling(self.resample)))
            image = np.repeat(resized[:, :, None], 3, axis=2) if grey else resized
        return self._center_crop(image, *self.crop_to) if self.crop_to else image

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if self.resize_to:
            return self.resize_to
        if self.longest_edge is not None:
            ratio = max(height, width) / self.longest_edge
            return max(1, round(height / ratio)), max(1, round(width / ratio))
        if self.shortest_edge is None:
            return height, width
        short, long = sorted((height, width))
        scaled = max(1, int(self.shortest_edge * long / short))
        return (scaled, self.shortest_edge) if height > width else (self.shortest_edge, scaled)

    def _center_crop(self, image: np.ndarray, height: int, width: int) -> np.ndarray:
        """Cut the middle out; where the image is smaller it is set into `fill`, as transformers and open_clip do."""
        top, left = (self._middle(image.shape[0] - height), self._middle(image.shape[1] - width))
        if image.shape[0] >= height and image.shape[1] >= width:
            return image[top : top + height, left : left + width]
        shape = (max(height, image.shape[0]), max(width, image.shape[1]), image.shape[2])
        out = np.full(shape, self.fill, image.dtype)
        y, x = (self._before(out.shape[axis] - image.shape[axis]) for axis in (0, 1))
        out[y : y + image.shape[0], x : x + image.shape[1]] = image
        return self._center_crop(out, height, width)

    def _middle(self, spare: int) -> int:
        return round(spare / 2) if self.half_even else spare // 2

    def _before(self, missing: int) -> int:
        """Return how many of the missing pixels go before the image: the smaller half in torchvision."""
        return missing // 2 if self.half_even else -(-missing // 2)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise UnsupportedModel(f"{file} is damaged; {_REMEDY}")
    return config


def _size(size: Any, square: bool = False) -> tuple[int | None, tuple[int, int] | None]:
    """Read every spelling of a size: a number, height and width in a list, or a dictionary."""
    if isinstance(size, int):
        return (None, (size, size)) if square else (size, None)
    if isinstance(size, list):
        height, width = (operator.index(side) for side in size)
        return None, (height, width)
    if size.get("shortest_edge") is not None and size.get("longest_edge") is None:
        return operator.index(size["shortest_edge"]), None
    if size.get("height") is not None and size.get("width") is not None:
        return None, (operator.index(size["height"]), operator.index(size["width"]))
    raise UnsupportedModel(f"images for this model are resized by {sorted(size)}, which is not reproduced here.")


def _channels(values: float | Sequence[float]) -> tuple[float, ...]:
    found = (float(values),) * 3 if isinstance(values, int | float) else tuple(float(v) for v in values)
    if len(found) != 3 or not all(map(math.isfinite, found)):
        raise ValueError("no value for each channel")
    return found


def _is_grey(image: np.ndarray) -> bool:
    """Whether all channels are equal; of a colour picture that shows in its first rows that have any colour."""
    rows = max(1, 2**16 // max(1, image.shape[1]))
    blocks = (image[start : start + rows] for start in range(0, len(image), rows))
    return all(
        np.array_equal(block[:, :, 0], block[:, :, 1]) and np.array_equal(block[:, :, 0], block[:, :, 2])
        for block in blocks
    )
