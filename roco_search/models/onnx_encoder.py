"""A checkpoint with ONNX graphs beside its weights, run by onnxruntime: no torch, no transformers.

The graphs of roco-mini hold operations only and refer to ``model.safetensors`` for every weight
(``scripts/roco_mini/compile.py`` writes them), so they cannot belong to other weights than those that are there.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .checkpoint import Checkpoint
from .encoder import CheckpointEncoder
from .tokenization import TextTokenizer

if TYPE_CHECKING:
    from roco_search.imaging.preprocess import Preprocessing

    from . import Device
    from .torch_encoder import TorchEncoder

IMAGES_AT_ONCE = 16  # activations of more do not fit the caches of a small processor
TEXTS_AT_ONCE = 64
_SILENT = 4  # onnxruntime's level for fatal errors only; what matters is raised

logger = logging.getLogger("roco")


def compiled(checkpoint: Checkpoint) -> bool:
    """Whether both towers of a checkpoint are there as graphs."""
    return all((checkpoint.directory / f"{tower}.onnx").is_file() for tower in ("text", "image"))


class OnnxEncoder(CheckpointEncoder):
    """An `Encoder` whose towers are loaded one by one, when each is first needed.

    Results equal `TorchEncoder`'s in fp32 to rounding. Where onnxruntime cannot run a graph, or a graphics processor
    is better at images, torch takes over.
    """

    def __init__(self, checkpoint: Checkpoint, device: Device = "auto") -> None:
        super().__init__(checkpoint)
        self._device = device

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts as float32 ``(n, dim)`` of unit norm."""
        if self._text is None:
            return self._torch.encode_texts(texts)
        out = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            ids, mask = self._tokenizer(texts[start : start + TEXTS_AT_ONCE])
            out[start : start + len(ids)] = self._text.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return out

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embed uint8 ``(height, width, 3)`` images as float32 ``(n, dim)`` of unit norm."""
        if self._image is None:
            return self._torch.encode_images(images)
        out = np.empty((len(images), self.dim), np.float32)
        for start in range(0, len(images), IMAGES_AT_ONCE):
            pixels = self._preprocessing(images[start : start + IMAGES_AT_ONCE])
            out[start : start + len(pixels)] = self._image.run(None, {"pixel_values": pixels})[0]
        return out

    @cached_property
    def _text(self) -> Any | None:
        return self._session("text")

    @cached_property
    def _image(self) -> Any | None:
        if self._device == "auto" and accelerator() != "cpu":
            return None
        return self._session("image")

    def _session(self, tower: Literal["text", "image"]) -> Any | None:
        # Else it reports to its maker over the network from the moment it is imported (since its version 1.29; calling
        # disable_telemetry_events() comes too late).
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        options = onnxruntime.SessionOptions()  # type: ignore[attr-defined]
        options.log_severity_level = _SILENT
        try:
            return onnxruntime.InferenceSession(  # type: ignore[attr-defined]
                str(self.checkpoint.directory / f"{tower}.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own classes share no public base
            logger.warning(
                "onnxruntime cannot run the %s tower of %s (%s); torch is used, which starts more slowly.",
                tower,
                self.name,
                type(error).__name__,
            )
            return None

    @cached_property
    def _torch(self) -> TorchEncoder:
        from .torch_encoder import TorchEncoder

        return TorchEncoder(self.checkpoint, self._device)

    @cached_property
    def _preprocessing(self) -> Preprocessing:
        from roco_search.imaging.preprocess import Preprocessing

        return Preprocessing.from_directory(self.checkpoint.directory)

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return TextTokenizer.from_directory(self.checkpoint.directory)


def accelerator() -> str:
    """Return ``cuda``, ``mps`` or ``cpu``: what torch would take, without importing it where there is none."""
    if not (Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or sys.platform != "linux"):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
