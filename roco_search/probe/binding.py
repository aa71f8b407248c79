"""What was taught belongs to one model: how that is checked, and the file that it is kept in.

A file is safetensors whose metadata has a card in JSON under the key ``roco``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from roco_search.errors import ModelMismatch

if TYPE_CHECKING:
    from roco_search.library import EmbeddingSet
    from roco_search.models.encoder import Encoder

LARGEST = 8 * 2**20
"""Bytes of a file that can be read: fifty labels of 4,096 dimensions take 0.8 MB."""


class BoundToModel:
    """Something that reads the embeddings of one model, and no other's."""

    __slots__ = ()
    kind = "probe"
    command = "roco probe fit"
    name: str
    model: str
    fingerprint: str

    def check_fingerprint(self, fingerprint: str, model: str) -> None:
        """Refuse embeddings of another model.

        Raises
        ------
        ModelMismatch
        """
        if fingerprint != self.fingerprint:
            raise ModelMismatch(
                f"The {self.kind} {self.name} was taught on embeddings of {self.model} ({self.fingerprint[:12]}), and "
                f"these are of {model} ({fingerprint[:12]}); teach it again with `{self.command}`."
            )

    def check_library(self, active: EmbeddingSet) -> None:
        """Refuse a library of another model; raises `ModelMismatch`."""
        self.check_fingerprint(active.fingerprint, active.model)

    def check_encoder(self, encoder: Encoder) -> None:
        """Refuse another model; raises `ModelMismatch`."""
        self.check_fingerprint(encoder.fingerprint, encoder.name)


def pack(card: Mapping[str, Any], tensors: Mapping[str, Any]) -> bytes:
    """Return the content of a file."""
    from safetensors.numpy import save

    found: bytes = save(dict(tensors), metadata={"roco": json.dumps(card)})
    return found


def unpack(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the card and the tensors of a file; every float32 in it is finite. Raises nearly anything for others."""
    from safetensors.numpy import load

    length = int.from_bytes(content[:8], "little")
    card: dict[str, Any] = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["roco"])
    tensors: dict[str, Any] = load(content)
    if not all(np.isfinite(tensor).all() for tensor in tensors.values() if tensor.dtype == np.float32):
        raise ValueError("not finite")
    return card, tensors


def read_learned(tensors: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the ids of the frames that something was taught with; none where it came from elsewhere."""
    learned: np.ndarray[Any, np.dtype[np.int64]] = tensors.get("learned", np.empty(0, np.int64))
    if learned.dtype != np.int64 or learned.ndim != 1:
        raise ValueError("other types")
    return learned
