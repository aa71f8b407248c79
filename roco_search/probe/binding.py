"""What was taught belongs to one model: how that is checked, and the file that it is kept in.

A file is safetensors whose metadata has a card in JSON under the key ``roco``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt

from roco_search.errors import ModelMismatch

if TYPE_CHECKING:
    from roco_search.library import EmbeddingSet
    from roco_search.models.encoder import Encoder

Ids = npt.NDArray[np.int64]

FORMAT = 1
_WHOSE = ("model", "fingerprint", "made")
LARGEST = 8 * 2**20
"""Bytes of a file that can be read: fifty labels of 4,096 dimensions take 0.8 MB."""


class BoundToModel:
    """Something that reads the embeddings of one model, and no other's."""

    __slots__ = ()
    kind = "probe"
    command = "roco probe fit"
    name: str
    labels: tuple[str, ...]
    model: str
    fingerprint: str
    made: str
    learned: Ids

    def shared(self) -> Self:
        """Return it as it is passed on: without the pictures that it was taught with."""
        return replace(cast("Any", self), learned=np.empty(0, np.int64))  # type: ignore[no-any-return]

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


def pack(taught: BoundToModel, card: Mapping[str, Any], tensors: Mapping[str, Any]) -> bytes:
    """Return the content of a file: whose it is and what it was taught with, and what else a card and tensors hold."""
    from safetensors.numpy import save

    whose = {"format": FORMAT} | {name: getattr(taught, name) for name in ("name", "labels", *_WHOSE)}
    everything = dict(tensors) | ({"learned": taught.learned} if len(taught.learned) else {})
    found: bytes = save(everything, metadata={"roco": json.dumps(whose | dict(card))})
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


def read_whose(card: Mapping[str, Any], tensors: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """Return what `pack` added, as the fields of what was taught, under its own name or another.

    Of a file that came from elsewhere it is not known what it was taught with.

    Raises
    ------
    ValueError
        If the file is of another format; and nearly anything for other content.
    """
    labels = tuple(str(label) for label in card["labels"])
    learned: Ids = tensors.get("learned", np.empty(0, np.int64))
    if card["format"] != FORMAT or not labels or len(set(labels)) != len(labels):
        raise ValueError("another format")
    if learned.dtype != np.int64 or learned.ndim != 1:
        raise ValueError("other types")
    own = {key: str(card[key]) for key in ("name", *_WHOSE)}
    return own | {"name": name or own["name"], "labels": labels, "learned": learned}
