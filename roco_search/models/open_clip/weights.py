"""Safetensors files, written tensor by tensor: never more than one of them is in memory.

Format: 8 bytes little-endian length, a JSON header with offsets, the data (safetensors' own description).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from roco_search.models.checkpoint import ELEMENT_BYTES, Tensor
from roco_search.models.open_clip.plan import Part

_ALIGNED = 8


def write(
    target: Path, entries: Sequence[tuple[str, str, tuple[int, ...]]], data: Iterable[bytes | memoryview]
) -> None:
    """Write a file.

    Parameters
    ----------
    target
        The file.
    entries
        The name, the type (safetensors') and the shape of each tensor.
    data
        The bytes of each, in the same order; taken one by one.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, kind, shape in entries:
        start, end = end, end + ELEMENT_BYTES[kind] * math.prod(shape)
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNED)
    with target.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for content in data:
            file.write(content)
        if file.tell() != 8 + len(text) + end:
            raise ValueError("the data are not what was announced")


def rewrite(weights: Sequence[tuple[Part, Tensor | None]], target: Path) -> None:
    """Write the tensors of a model under their new names, cut and transposed."""
    # What is made up, for a projection that is the identity, has the type of the rest.
    kind = next(tensor.dtype for _, tensor in weights if tensor)
    # Large types first, so that each tensor begins at a multiple of the size of its elements.
    ordered = sorted(weights, key=lambda entry: -ELEMENT_BYTES[entry[1].dtype if entry[1] else kind])
    entries = [(part.target, tensor.dtype if tensor else kind, part.shape) for part, tensor in ordered]
    write(target, entries, (_content(part, tensor, kind) for part, tensor in ordered))


def _content(part: Part, tensor: Tensor | None, kind: str) -> bytes | memoryview:
    if tensor is None:
        identity = np.eye(part.shape[0], dtype=np.float32)
        if kind == "BF16":  # the upper half of a float32
            return (identity.view("<u4") >> 16).astype("<u2").tobytes()
        return identity.astype("<f2" if kind == "F16" else "<f4").tobytes()
    shape = tensor.shape or (1,)
    stored: np.ndarray = np.memmap(
        tensor.file, f"<u{ELEMENT_BYTES[tensor.dtype]}", "r", offset=tensor.start, shape=shape
    )
    if part.rows:
        stored = stored[part.rows[0] : part.rows[1]]
    if part.transposed:
        stored = stored.T
    return np.ascontiguousarray(stored).data.cast("B")
