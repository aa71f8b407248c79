"""What a model costs on this machine: the images that it embeds in a second, and the memory that it takes.

A speed that this machine has measured is taken as it is. Any other is estimated from the multiplications of the image
tower, beside those of roco-mini, whose speed is measured.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from roco_search.errors import ModelError, RocoError
from roco_search.models.catalogue import registry
from roco_search.models.catalogue.overview import Listed
from roco_search.models.checkpoint import Checkpoint

_TOWERS: Mapping[str, tuple[int, int, float]] = {
    # Width, blocks, and the ratio of the hidden layer to the width.
    "ViT-B": (768, 12, 4.0),
    "ViT-L": (1024, 24, 4.0),
    "So400m": (1152, 27, 4304 / 1152),
}
_MINI_OPERATIONS = 0.407e9 * (192 / 224) ** 2
"""Multiplications of EfficientNet-Lite0 (0.407 billion at 224 pixels, by its publisher) at roco-mini's 192 pixels."""
_DENSE = 3.0
"""How many times as many multiplications a second a transformer makes as EfficientNet on a processor.

Measured in onnxruntime in fp32 with one thread: 2.8 to 3.3 for blocks of ViT-B/32,
ViT-B/16 and ViT-L/14 at 224 and 448 pixels.
"""
_BASE, _PREPARING, _RUNNING = 0.4e9, 4.8, 3.5
"""Memory: that of a process, and what a model adds in its size while it is pulled and compiled, and while it embeds.

Of biomedclip, 784 MB, a pull took 4.2 GB at most, and an index 3.1 GB.
"""


def operations(tower: str, image_size: int) -> float | None:
    """Return the multiplications that an image tower such as "ViT-B/16" needs for an image; None for an unknown one."""
    kind, _, patch = tower.partition("/")
    if kind not in _TOWERS or not patch.isdecimal():
        return None
    return _vit(*_TOWERS[kind], int(patch), image_size)


def _vit(width: int, blocks: int, ratio: float, patch: int, image_size: int) -> float:
    """Count those of a ViT: projections and hidden layers, attention, and patches."""
    tokens = (image_size // patch) ** 2 + 1
    block = (4 + 2 * ratio) * tokens * width**2 + 2 * tokens**2 * width
    return blocks * block + tokens * 3 * patch**2 * width


def machine_memory() -> int | None:
    """Return the bytes of memory of this machine, or of the group of processes that this one is confined to."""
    known = []
    with suppress(ValueError, OSError, AttributeError):
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            known.append(int(Path(file).read_text("ascii")))
    return min(known, default=None)


def memory_needed(weights: int, *, here: bool) -> int:
    """Return an estimate of the bytes that a model takes, by the size of its weights: more while it is pulled."""
    return int(_BASE + weights * (_RUNNING if here else _PREPARING))


def rate(listed: Listed, speed: float | None) -> tuple[float | None, bool]:
    """Return the images that a model embeds in a second here, and whether that was measured.

    Parameters
    ----------
    listed
        The model.
    speed
        That of roco-mini: see `speed_of_mini`.
    """
    checkpoint, entry = _checkpoint(listed), registry.entries().get(listed.name)
    if listed.name == registry.DEFAULT:
        return speed, True
    if checkpoint and (recorded := recorded_rate(checkpoint)):
        return recorded, True
    counted = _operations_of(checkpoint) if checkpoint else None
    if counted is None and entry and entry.image_tower and entry.image_size:
        counted = operations(entry.image_tower, entry.image_size)
    if counted is None or speed is None:
        return None, False
    return speed * _MINI_OPERATIONS * _DENSE / counted, False


def _operations_of(checkpoint: Checkpoint) -> float | None:
    vision = checkpoint.section("vision_config")
    keys = ("hidden_size", "num_hidden_layers", "patch_size", "intermediate_size")
    sizes = [size for key in keys if isinstance(size := vision.get(key), int) and size > 0]
    if len(sizes) != len(keys):
        return None
    width, blocks, patch, inner = sizes
    return _vit(width, blocks, inner / width, patch, checkpoint.image_size)


def recorded_rate(checkpoint: Checkpoint) -> float | None:
    """Return the images a second of the engine that embeds them in fp32, where this machine has measured it."""
    from roco_search.models.compiling.autotune import choose_exact, recorded

    known = recorded(checkpoint)
    return known[choose_exact(known)].rate if choose_exact(known) in known else None


def speed_of_mini() -> float | None:
    """Return what this machine embeds with the model that comes with roco; measured now, if it never was: 2 seconds."""
    from roco_search.models import load_encoder
    from roco_search.models.compiling.autotune import choose_exact
    from roco_search.models.onnx_encoder import OnnxEncoder

    checkpoint = registry.find(registry.DEFAULT)
    if known := recorded_rate(checkpoint):
        return known
    encoder = load_encoder(registry.DEFAULT, "cpu")
    if not isinstance(encoder, OnnxEncoder):
        return None
    with suppress(RocoError):
        measured = encoder.autotune.measured(fast=False, every=False)
        return measured[choose_exact(measured)].rate
    return None


def _checkpoint(listed: Listed) -> Checkpoint | None:
    if listed.on_disk is None:
        return None
    try:
        return registry.find(listed.name)
    except ModelError:
        return None
