"""The one model-loading core, shared by every command."""

from __future__ import annotations

from pathlib import Path

from roco_search.models.encoder import Device, Encoder, Precision

__all__ = ["Device", "Encoder", "Precision", "load_encoder", "register"]


def load_encoder(
    name_or_path: str | Path | None = None, device: Device = "auto", precision: Precision = "auto"
) -> Encoder:
    """Find a model on this disk and return its encoder, without reading its weights yet.

    Parameters
    ----------
    name_or_path
        ``roco-mini``, another name of the catalogue, a folder that transformers' ``save_pretrained`` wrote (CLIP,
        SigLIP, SigLIP 2, VisionTextDualEncoder), or ``org/name`` of a model in the local Hugging Face cache. Never the
        network. Without it, the model that ``roco model use`` has set.
    device
        Where it runs; ``auto`` takes CUDA, then MPS, then the processor.
    precision
        The arithmetic; ``auto`` is bf16 or fp16 on CUDA and fp32 elsewhere. ``fast`` answers and indexes soonest: on a
        processor the text tower in 8 bits (cosine to fp32 at least 0.999) and the image tower in the form measured to
        be fastest (at least 0.995). Embeddings are float32.

    Raises
    ------
    ModelNotFound, UnsupportedModel
    """
    from roco_search.models.catalogue import registry
    from roco_search.models.compiling.towers import runnable
    from roco_search.models.onnx_encoder import OnnxEncoder

    checkpoint = registry.find(name_or_path or registry.default())
    if device in ("auto", "cpu") and precision in ("auto", "fast", "fp32") and runnable(checkpoint):
        return OnnxEncoder(checkpoint, device, fast=precision == "fast")
    from roco_search.models.torch_encoder import TorchEncoder
    from roco_search.system.process import wait_passively

    wait_passively()
    return TorchEncoder(checkpoint, device, "auto" if precision == "fast" else precision)


def register() -> None:
    """Make transformers' ``AutoConfig`` and ``AutoModel`` know roco-mini."""
    from roco_search.models.roco_mini.modeling import register as register_roco_mini

    register_roco_mini()
