"""A space that was taught: a linear map of embeddings, in which similar means similar in what the labels say."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.library import Library
from roco_search.probe.binding import BoundToModel, pack, read_whose, unpack
from roco_search.probe.probe import Interval, interval

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

_KIND = "space"
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class SpaceClaim:
    """What a space may claim, measured among pictures of whose cases nothing had been seen.

    Attributes
    ----------
    images, cases
        How many it was measured with.
    before, after
        P@10 by label, in the model's own space and in this one: of the ten nearest labelled pictures of other cases,
        the share with the label, mean over the pictures that have it, and over labels.
    gain
        The difference, paired.
    shrinkage, boost
        Of the map that was kept; see `probe.teaching.spaces`.
    """

    images: int
    cases: int
    before: Interval
    after: Interval
    gain: Interval
    shrinkage: float
    boost: float

    @property
    def better(self) -> bool:
        """Whether the gain is more than chance: all of its interval is above 0."""
        return self.gain[1] > 0


@dataclass(frozen=True, slots=True, eq=False)
class Space(BoundToModel):
    """A linear map of the embeddings of one model.

    Attributes
    ----------
    name
        What its owner calls it.
    labels
        What it was taught to tell apart.
    axes
        float32 ``(dim, rank)``.
    offset
        float32 ``(rank,)``: a picture is at ``embedding · axes - offset``, of which only the direction counts.
    claim
        What it may claim.
    model, fingerprint
        The model whose embeddings it maps.
    made
        When, as ISO 8601.
    learned
        Ids of the frames that it was taught with, int64; not passed on with an exported space.
    """

    name: str
    labels: tuple[str, ...]
    axes: Vectors
    offset: Vectors
    claim: SpaceClaim
    model: str
    fingerprint: str
    made: str
    learned: Ids = field(default_factory=lambda: np.empty(0, np.int64))

    kind = "space"
    command = "roco probe space"

    def mapped(self, vectors: Vectors) -> Vectors:
        """Return embeddings ``(n, dim)`` in this space, float32 ``(n, rank)`` of unit norm."""
        placed = vectors @ self.axes - self.offset
        return np.asarray(placed / np.maximum(np.linalg.norm(placed, axis=1, keepdims=True), 1e-12), np.float32)

    def nearest(self, library: Library, vector: Vectors, n: int) -> list[tuple[int, float]]:
        """Return the `n` nearest pictures of a library by id, with their cosine similarity in this space, best first.

        Exact: every embedding is mapped, in one product with the matrix.

        Raises
        ------
        ModelMismatch
            If the library is of another model.
        LibraryEmpty
        """
        self.check_library(library.active())
        index = library.vectors()
        at = self.mapped(vector[None])[0]
        scores = np.concatenate(
            [
                self.mapped(index.matrix[start : start + _ROWS_AT_ONCE]) @ at
                for start in range(0, len(index.ids), _ROWS_AT_ONCE)
            ]
        )
        best = np.argsort(-scores, kind="stable")[:n]
        return [(int(index.ids[row]), float(scores[row])) for row in best]


def dump(space: Space) -> bytes:
    """Return a space as safetensors with a card."""
    card = {"kind": _KIND, "claim": asdict(space.claim)}
    return pack(space, card, {"axes": np.ascontiguousarray(space.axes), "offset": space.offset})


def is_space(content: bytes) -> bool:
    """Whether a file says that it is a space. Raises nearly anything for content that is no file of either kind."""
    length = int.from_bytes(content[:8], "little")
    card = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["roco"])
    return bool(card.get("kind") == _KIND)


def load(content: bytes, name: str | None = None) -> Space:
    """Return a space from what `dump` wrote, under its own name or another; raises nearly anything for other content.

    Nothing of it is trusted; `library.shelf` makes a sentence of what is raised.
    """
    card, tensors = unpack(content)
    whose, axes, offset = read_whose(card, tensors, name), tensors["axes"], tensors["offset"]
    if card["kind"] != _KIND:
        raise ValueError("another format")
    if axes.dtype != np.float32 or offset.dtype != np.float32 or axes.ndim != 2 or offset.shape != axes.shape[1:]:
        raise ValueError("other types or shapes")
    said = card["claim"]
    figures: dict[str, Any] = {key: interval(said[key]) for key in ("before", "after", "gain")}
    claim = SpaceClaim(
        images=int(said["images"]),
        cases=int(said["cases"]),
        shrinkage=float(said["shrinkage"]),
        boost=float(said["boost"]),
        **figures,
    )
    if None in (claim.before, claim.after, claim.gain):
        raise ValueError("no figure")
    return Space(axes=axes, offset=offset, claim=claim, **whose)
