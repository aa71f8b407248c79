"""The one model-loading core, shared by every command."""

from __future__ import annotations

from pathlib import Path

from roco_search.models.encoder import Device, Encoder, Engine, Precision

__all__ = ["Device", "Encoder", "Precision", "load_encoder", "register"]


def load_encoder(
    name_or_path: str | Path | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    *,
    images: str = "fp32",
    engine: Engine = "auto",
    once: bool = False,
) -> Encoder:
    """Find a model on this disk and return its encoder, without reading its weights yet.

    Parameters
    ----------
    name_or_path
        ``roco-mini``, another name of the catalogue, a folder that transformers' ``save_pretrained`` wrote (CLIP,
        SigLIP, SigLIP 2, VisionTextDualEncoder), or ``org/name`` of a model in the local Hugging Face cache. A
        checkpoint of open_clip has a name once it was pulled or imported. Never the network. Without it, the model
        that ``roco model use`` has set.
    device
        Where it runs; ``auto`` takes CUDA, then MPS, then the processor.
    precision
        The arithmetic; ``auto`` is bf16 or fp16 on CUDA and fp32 elsewhere. ``fast`` answers soonest: on a processor
        texts are embedded in 8 bits (cosine to fp32 at least 0.999), images as `images` says. Embeddings are float32.
    images
        With the precision ``fast``, the arithmetic of the image tower: ``fp32``; ``fast`` for the fastest form of lower
        precision on this machine (cosine to fp32 at least 0.995); or such a form by its name, which is the encoder's
        ``image_arithmetic``.
    engine
        What computes the image tower on a processor: ``onnxruntime``, ``openvino``, ``torch``, or ``auto`` for the
        fastest of those that are installed. In fp32 their embeddings are equal within 1e-5.
    once
        Whether it serves a single query, and may free the text tower as soon as the texts of that are embedded.

    Raises
    ------
    ModelNotFound, UnsupportedModel
    """
    from roco_search.models.catalogue import registry
    from roco_search.models.compiling.towers import runnable
    from roco_search.models.onnx_encoder import OnnxEncoder

    checkpoint = registry.find(name_or_path or registry.default())
    if device in ("auto", "cpu") and precision in ("auto", "fast", "fp32") and runnable(checkpoint):
        return OnnxEncoder(checkpoint, device, fast=precision == "fast", images=images, engine=engine, once=once)
    from roco_search.models.torch_encoder import TorchEncoder
    from roco_search.system.process import wait_passively

    wait_passively()
    if precision == "fast":
        return TorchEncoder(checkpoint, device, "auto", images="fp32" if images == "fp32" else "auto")
    return TorchEncoder(checkpoint, device, precision)


def register() -> None:
    """Make transformers' ``AutoConfig`` and ``AutoModel`` know roco-mini and the converted open_clip models."""
    from roco_search.models.families import FAMILIES
    from roco_search.models.families import register as register_family

    for model_type in FAMILIES:
        register_family(model_type)
