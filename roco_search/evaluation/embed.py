"""Pairs become embeddings: each image is read once, on threads ahead of the model, whatever the number of models.

A picture that cannot be read is left out with its caption, named and counted; it displaces no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from roco_search.datasets.pair import Pair, PairSet, SharedCaptions
from roco_search.errors import ImageError, InputError
from roco_search.imaging import CtWindows
from roco_search.imaging.ahead import MAX_BYTES, in_batches, read_ahead
from roco_search.models.encoder import Encoder, ct_windows
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
class Pool:
    """What is ranked against each other: each image once, and each of its captions once.

    Attributes
    ----------
    images, texts
        float32 ``(images, dim)`` and ``(captions, dim)`` of unit norm.
    captions
        The captions.
    owners
        int64 ``(captions,)``: the image that each belongs to.
    pairs
        The first pair of each image.
    """

    images: Embeddings
    texts: Embeddings
    captions: Sequence[str]
    owners: npt.NDArray[np.int64]
    pairs: Sequence[Pair]


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """What a model makes of pairs.

    Attributes
    ----------
    pairs
        Those whose picture could be read, in the order of the data set; row *i* below is `pairs[i]`.
    images
        float32 ``(n, dim)`` of unit norm; pairs that show the same image have the identical embedding.
    known, vectors
        The row of each distinct caption in ``vectors``, float32 ``(captions, dim)`` of unit norm; none if captions were
        not wanted.
    unreadable
        The others, by their image.
    """

    pairs: Sequence[Pair]
    images: Embeddings
    known: Mapping[str, int]
    vectors: Embeddings
    unreadable: Sequence[UnreadablePicture]

    @property
    def captions(self) -> list[str]:
        """The data set's own caption of each pair."""
        return [pair.caption for pair in self.pairs]

    @property
    def texts(self) -> Embeddings:
        """The embedding of the own caption of each pair, float32 ``(n, dim)``; ``(0, dim)`` without captions."""
        return self.vectors[[self.known[caption] for caption in self.captions]] if self.known else self.vectors

    @property
    def image_numbers(self) -> npt.NDArray[np.int64]:
        """The number of the image of each pair, int64 ``(n,)``, from 0 in their order."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(pair.image, len(numbers)) for pair in self.pairs], np.int64)

    def pool(self, rows: npt.NDArray[np.int64] | None = None) -> Pool:
        """Return the images and captions of all pairs, or of some rows of them."""
        first: dict[str, int] = {}
        said: dict[tuple[str, str], None] = {}
        for row in range(len(self.pairs)) if rows is None else rows.tolist():
            pair = self.pairs[row]
            first.setdefault(pair.image, row)
            said.update(((pair.image, caption), None) for caption in own_captions(pair))
        places = {image: place for place, image in enumerate(first)}
        captions = [caption for _, caption in said]
        return Pool(
            self.images[list(first.values())],
            self.vectors[[self.known[caption] for caption in captions]],
            captions,
            np.array([places[image] for image, _ in said], np.int64),
            [self.pairs[row] for row in first.values()],
        )


def own_captions(pair: Pair) -> list[str]:
    """Return the captions that a pair's own row of the data set has."""
    captions = pair.captions.own if isinstance(pair.captions, SharedCaptions) else pair.captions
    return [caption for caption, weight in captions.items() if weight > 0]


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
    given = list(pairs.pairs if isinstance(pairs, PairSet) else pairs)
    first: dict[str, Pair] = {}
    for pair in given:
        first.setdefault(pair.image, pair)
    wanted = list(first.values())
    place: dict[str, int] = {}  # of an image among the embeddings
    unreadable: list[UnreadablePicture] = []
    images: list[list[Embeddings]] = [[] for _ in encoders]
    pace = Pace()
    windows = [ct_windows(encoder) for encoder in encoders]
    read = partial(_read, windows=list(dict.fromkeys(windows)))
    with following(progress, len(wanted)) as told, closing(read_ahead(wanted, read)) as entries:
        for batch in in_batches(entries, BATCH_SIZE, MAX_BYTES):
            pictures: list[_Renderings] = []
            for pair, found in batch:
                if isinstance(found, ImageError):
                    unreadable.append(UnreadablePicture(pair.picture.name, str(found)))
                else:
                    place[pair.image] = len(place)
                    pictures.append(found)
            for encoder, wish, parts in zip(encoders, windows, images, strict=True):
                if pictures:
                    parts.append(encoder.encode_images([picture.by_windows[wish] for picture in pictures]))
            told.advance(len(batch), images_per_second=pace.add(len(batch)))
            batch.clear()  # These pixels would be held until the next batch is whole.
            pictures.clear()
    kept = [pair for pair in given if pair.image in place]
    if not kept:
        raise InputError(_nothing_left(unreadable))
    rows = [place[pair.image] for pair in kept]
    said = list(dict.fromkeys(caption for pair in kept for caption in own_captions(pair))) if captions else []
    known = {caption: row for row, caption in enumerate(said)}
    both = [
        Embedded(kept, np.concatenate(parts)[rows], known, _embed_texts(encoder, said), unreadable)
        for encoder, parts in zip(encoders, images, strict=True)
    ]
    for encoder, embedded in zip(encoders, both, strict=True):
        _check(encoder, embedded)
    return both


@dataclass(frozen=True, slots=True, eq=False)
class _Renderings:
    """A picture as each of the models takes it: one array for all that take CT alike."""

    by_windows: Mapping[CtWindows | None, Pixels]

    @property
    def nbytes(self) -> int:
        return sum(pixels.nbytes for pixels in self.by_windows.values())


def _read(pair: Pair, windows: Sequence[CtWindows | None]) -> Iterator[_Renderings]:
    yield _Renderings({wish: pair.picture.read(wish) for wish in windows})


def _embed_texts(encoder: Encoder, texts: Sequence[str]) -> Embeddings:
    parts = [encoder.encode_texts(texts[i : i + _TEXTS_AT_ONCE]) for i in range(0, len(texts), _TEXTS_AT_ONCE)]
    return np.concatenate(parts) if parts else np.empty((0, encoder.dim), np.float32)


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
