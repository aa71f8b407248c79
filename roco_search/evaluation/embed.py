"""Pairs become embeddings: each picture is read once, on threads ahead of the model, whatever the number of models.

A picture that cannot be read is left out with its caption, named and counted; it displaces no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roco_search.datasets.pair import Pair, PairSet
from roco_search.errors import ImageError, InputError
from roco_search.imaging.ahead import MAX_BYTES, in_batches, read_ahead
from roco_search.models.encoder import Encoder
from roco_search.system.progress import Pace, Progress, following

BATCH_SIZE = 64
_TEXTS_AT_ONCE = 256

Pixels = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class UnreadablePicture:
    """A pair whose picture could not be read: what it is called, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """What a model makes of pairs.

    Attributes
    ----------
    pairs
        Those whose picture could be read, in the order of the data set; row *i* below is `pairs[i]`.
    images, texts
        float32 ``(n, dim)`` of unit norm. Identical captions have the identical embedding. Without captions,
        ``texts`` is ``(0, dim)``.
    unreadable
        The others.
    """

    pairs: Sequence[Pair]
    images: Embeddings
    texts: Embeddings
    unreadable: Sequence[UnreadablePicture]

    @property
    def captions(self) -> list[str]:
        """The data set's own caption of each pair."""
        return [pair.caption for pair in self.pairs]


def embed(
    encoder: Encoder,
    pairs: PairSet | Sequence[Pair],
    *,
    captions: bool = True,
    progress: Progress | None = None,
) -> Embedded:
    """Embed the images of pairs and their captions with one model; see `embed_with_each`."""
    return embed_with_each([encoder], pairs, captions=captions, progress=progress)[0]


def embed_with_each(
    encoders: Sequence[Encoder],
    pairs: PairSet | Sequence[Pair],
    *,
    captions: bool = True,
    progress: Progress | None = None,
) -> list[Embedded]:
    """Embed the same pairs with several models.

    Parameters
    ----------
    encoders
        The models.
    pairs
        The pairs.
    captions
        Whether the captions are wanted too.
    progress
        Follows the pairs that are read and embedded.

    Returns
    -------
    list of Embedded
        One for each model, all of the same pairs.

    Raises
    ------
    InputError
        If no picture can be read, or an embedding is not finite.
    """
    wanted = list(pairs.pairs if isinstance(pairs, PairSet) else pairs)
    kept: list[Pair] = []
    unreadable: list[UnreadablePicture] = []
    images: list[list[Embeddings]] = [[] for _ in encoders]
    pace = Pace()
    with following(progress, len(wanted)) as told, closing(read_ahead(wanted, _read)) as entries:
        for batch in in_batches(entries, BATCH_SIZE, MAX_BYTES):
            pixels: list[Pixels] = []
            for pair, found in batch:
                if isinstance(found, ImageError):
                    unreadable.append(UnreadablePicture(pair.picture.name, str(found)))
                else:
                    kept.append(pair)
                    pixels.append(found)
            for encoder, parts in zip(encoders, images, strict=True):
                if pixels:
                    parts.append(encoder.encode_images(pixels))
            told.advance(len(batch), images_per_second=pace.add(len(batch)))
            batch.clear()  # These pixels would be held until the next batch is whole.
            pixels.clear()
    if not kept:
        raise InputError(_nothing_left(unreadable))
    texts = [_embed_texts(encoder, [pair.caption for pair in kept] if captions else []) for encoder in encoders]
    both = [
        Embedded(kept, np.concatenate(parts), of_captions, unreadable)
        for parts, of_captions in zip(images, texts, strict=True)
    ]
    for encoder, embedded in zip(encoders, both, strict=True):
        _check(encoder, embedded)
    return both


def _read(pair: Pair) -> Iterator[Pixels]:
    yield pair.picture.read()


def _embed_texts(encoder: Encoder, captions: Sequence[str]) -> Embeddings:
    distinct = {caption: row for row, caption in enumerate(dict.fromkeys(captions))}
    texts = list(distinct)
    parts = [encoder.encode_texts(texts[i : i + _TEXTS_AT_ONCE]) for i in range(0, len(texts), _TEXTS_AT_ONCE)]
    if not parts:
        return np.empty((0, encoder.dim), np.float32)
    return np.asarray(np.concatenate(parts)[[distinct[caption] for caption in captions]])


def _check(encoder: Encoder, embedded: Embedded) -> None:
    for kind, vectors in (("images", embedded.images), ("captions", embedded.texts)):
        bad = ~np.isfinite(vectors).all(axis=1)
        if bad.any():
            first = embedded.pairs[int(bad.argmax())].picture.name
            raise InputError(
                f"The model {encoder.name} gives no usable embedding (not finite) for {int(bad.sum())} of "
                f"{len(vectors)} {kind}, the first being of {first}, so nothing can be said of it; use "
                '`precision="fp32"`, or train it again with a lower learning rate.'
            )


def _nothing_left(unreadable: Sequence[UnreadablePicture]) -> str:
    if not unreadable:
        return "There is no pair to measure; choose another split, or fewer conditions."
    first = unreadable[0]
    return (
        f"None of the {len(unreadable)} images can be read (the first, {first.name}: {first.reason}); check where the "
        "data set's images are."
    )
