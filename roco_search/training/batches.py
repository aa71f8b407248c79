"""Which pairs a step is made of: a function of the seed and the step's number, so that a run can resume anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import tee

import numpy as np
import numpy.typing as npt
from PIL import Image

from roco_search.datasets.pair import Pair
from roco_search.errors import ImageError
from roco_search.imaging.ahead import read_ahead
from roco_search.system.process import cores
from roco_search.training.augment import augment

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws batches of ``batch_size`` out of ``pairs`` pairs, never one pair twice in a batch.

    Without weights each epoch is a permutation of all pairs; what does not fill a batch at its end is left out of that
    epoch. With weights float ``(pairs,)``, relative frequencies, each batch is drawn anew, and an epoch is as many
    batches. A data set smaller than the batch is one batch.
    """

    pairs: int
    batch_size: int
    seed: int
    weights: npt.NDArray[np.float64] | None = None

    @property
    def count(self) -> int:
        """Pairs in a batch."""
        drawable = self.pairs if self.weights is None else int(np.count_nonzero(self.weights))
        return min(self.batch_size, drawable)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return max(1, self.pairs // self.count)

    def batch(self, step: int) -> Indices:
        """Return the pairs of a step, counted from 0."""
        if self.weights is not None:
            random = np.random.default_rng((self.seed, 1, step))
            share = self.weights / self.weights.sum()
            return random.choice(self.pairs, self.count, replace=False, p=share)
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(self.pairs)
        return order[place * self.count : (place + 1) * self.count]


Pixels = npt.NDArray[np.uint8]
# Twice what is being worked on: a slow image is waited for by one batch, not by every one.
BATCHES_AHEAD = 2
MAX_BYTES = 2 * 2**30  # two batches of 4,096 augmented images of 224 pixels, and some


@dataclass(slots=True)
class Drawn:
    """A batch as it was drawn: ``rows`` of the data set with a caption each; the images of ``part`` are this process's.

    An image that could not be read is None, and named in ``unreadable`` with the reason.
    """

    step: int
    rows: Indices
    captions: list[str]
    part: slice
    images: list[Pixels | None]
    unreadable: list[tuple[str, str]] = field(default_factory=list)


class Batches:
    """Prepares the batches of a run, a few ahead.

    Parameters
    ----------
    pairs, sampler, seed
        The data, the order in which it is drawn, and the seed of augmentations and captions.
    part
        From the size of a batch, which of its rows are this process's.
    size
        Side in pixels of an augmented image; None leaves images as they are.
    fit
        Applied to an image that is not augmented: the geometry of the model's own preprocessing.
    workers
        Threads.

    ``waited`` is how many seconds the steps have waited for data so far.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        sampler: Sampler,
        seed: int,
        part: Callable[[int], slice],
        size: int | None,
        fit: Callable[[Pixels], Pixels],
        workers: int | None = None,
    ) -> None:
        self._pairs, self._sampler, self._seed = pairs, sampler, seed
        self._part, self._size, self._fit = part, size, fit
        self._workers = workers or min(16, cores())
        self.waited = 0.0

    def run(self, first: int, end: int) -> Generator[Drawn, None, None]:
        """Yield the batches of the steps from ``first`` to before ``end``."""
        batches, coming = tee(self._draw(step) for step in range(first, end))
        places = ((drawn, place) for drawn in coming for place in _places(drawn))
        largest = range(self._sampler.count)[self._part(self._sampler.count)]
        reader = read_ahead(
            places, self._read, ahead=BATCHES_AHEAD * len(largest), max_bytes=MAX_BYTES, threads=self._workers
        )
        with closing(reader) as images:
            for drawn in batches:
                self._fill(drawn, images)
                yield drawn

    def _draw(self, step: int) -> Drawn:
        rows = self._sampler.batch(step)
        random = np.random.default_rng((self._seed, 2, step))
        captions = [draw_caption(self._pairs[row], random) for row in rows]
        return Drawn(step, rows, captions, self._part(len(rows)), [])

    def _fill(self, drawn: Drawn, images: Iterator[tuple[tuple[Drawn, int], Pixels | ImageError]]) -> None:
        started = time.perf_counter()
        for place in _places(drawn):
            _, found = next(images)
            if isinstance(found, ImageError):
                drawn.images.append(None)
                drawn.unreadable.append((self._pairs[drawn.rows[place]].picture.name, str(found)))
            else:
                drawn.images.append(found)
        self.waited += time.perf_counter() - started

    def _read(self, wanted: tuple[Drawn, int]) -> Iterator[Pixels]:
        drawn, place = wanted
        yield self._image(drawn.step, place, int(drawn.rows[place]))

    def _image(self, step: int, place: int, row: int) -> Pixels:
        pixels = self._pairs[row].picture.read()
        if self._size is None:
            return self._fit(pixels)
        random = np.random.default_rng((self._seed, 3, step, place))
        grey = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
        image = Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if grey else pixels)  # a third of the work
        return np.asarray(augment(image, self._size, random).convert("RGB"))


def _places(drawn: Drawn) -> range:
    """Return the places in a batch whose images are this process's."""
    return range(len(drawn.rows))[drawn.part]


def draw_caption(pair: Pair, random: np.random.Generator) -> str:
    """One of the pair's captions, by weight."""
    captions = list(pair.captions)
    if len(captions) == 1:
        return captions[0]
    share = np.fromiter(pair.captions.values(), float)
    return captions[int(random.choice(len(captions), p=share / share.sum()))]


def positives(pairs: Sequence[Pair], captions: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return bool ``(n, n)``: whether caption *j* is true of image *i*.

    It is where the image lists it. The caption that was drawn for it is among those.
    """
    return np.array([[caption in pair.captions for caption in captions] for pair in pairs], bool).reshape(
        len(pairs), len(captions)
    )
