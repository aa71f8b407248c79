"""Batches of a run: which pairs a step is made of, and their images, read, augmented and rendered ahead of the model.

Which pairs a step is made of is a function of the seed and the number of the step, so that a run can continue anywhere.
Every image has a random generator of its own, seeded by the run, the step and its place in the batch: neither threads
nor processes change what is drawn. Images are never flipped left to right: situs is a finding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import tee

import numpy as np
import numpy.typing as npt
from PIL import Image

from roco_search.datasets.pair import Pair
from roco_search.errors import ImageError
from roco_search.imaging import CtWindows
from roco_search.imaging.ahead import read_ahead
from roco_search.system.process import cores


def augment(image: Image.Image, size: int, random: np.random.Generator) -> Image.Image:
    """Crop, turn, window and mask an ``L`` or ``RGB`` image into ``(size, size)`` of the same mode."""
    image = _crop_and_turn(image, size, random)
    pixels = np.asarray(image).astype(np.float32) / 255
    pixels = _window(pixels, random)
    if random.random() < 0.3:
        _mask_corner(pixels, random)
    if random.random() < 0.3:
        pixels += random.normal(0, random.uniform(0.01, 0.04), pixels.shape).astype(np.float32)
    return Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8), image.mode)


def _crop_and_turn(image: Image.Image, size: int, random: np.random.Generator) -> Image.Image:
    """Cut out 55 to 100 % of the area at a changed aspect ratio, turn by up to ten degrees, resample once."""
    width, height = image.size
    area = random.uniform(0.55, 1.0)
    ratio = np.exp(random.uniform(-0.22, 0.22))
    crop_w, crop_h = min(1.0, (area * ratio) ** 0.5) * width, min(1.0, (area / ratio) ** 0.5) * height
    centre_x = random.uniform(crop_w / 2, width - crop_w / 2)
    centre_y = random.uniform(crop_h / 2, height - crop_h / 2)
    angle = np.deg2rad(random.uniform(-10, 10)) if random.random() < 0.5 else 0.0
    scale_x, scale_y, cos, sin = crop_w / size, crop_h / size, np.cos(angle), np.sin(angle)
    # Affine map from an output pixel to the input pixel it is taken from.
    a, b = cos * scale_x, -sin * scale_y
    d, e = sin * scale_x, cos * scale_y
    c = centre_x - (a + b) * size / 2
    f = centre_y - (d + e) * size / 2
    return image.transform((size, size), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC)


def _window(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Another window and gamma, as another workstation would show it; seldom, the inverted greyscale."""
    low, high = random.uniform(-0.12, 0.12), random.uniform(0.85, 1.15)
    pixels = ((pixels - low) / (high - low)).clip(0, 1) ** np.float32(np.exp(random.uniform(-0.35, 0.35)))
    return 1 - pixels if random.random() < 0.03 else pixels


def _mask_corner(pixels: np.ndarray, random: np.random.Generator) -> None:
    """Blot a corner out: logos and burnt-in text are found there, and reveal the source instead of the finding."""
    side = pixels.shape[0]
    height, width = (random.uniform(0.08, 0.25, 2) * side).astype(int)
    rows = slice(0, height) if random.random() < 0.5 else slice(side - height, side)
    columns = slice(0, width) if random.random() < 0.5 else slice(side - width, side)
    pixels[rows, columns] = random.choice((0.0, random.random()))


# Twice what is being processed: a slow image delays one batch, not every one.
BATCHES_AHEAD = 2
MAX_BYTES = 2 * 2**30  # more than two batches of 4,096 augmented images of 224 pixels

Indices = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws batches of ``batch_size`` out of ``pairs`` pairs, never one pair twice in a batch.

    Without weights each epoch is a permutation of all pairs. Those that do not fill its last batch are the first of the
    next epoch, so that no pair is left out twice in a row. With weights, float ``(pairs,)``, the relative frequencies,
    each batch is drawn independently, and an epoch has the same number of batches. A data set smaller than the batch is
    one batch.
    """

    pairs: int
    batch_size: int
    seed: int
    weights: npt.NDArray[np.float64] | None = None

    @property
    def count(self) -> int:
        """The number of pairs in a batch."""
        drawable = self.pairs if self.weights is None else int(np.count_nonzero(self.weights))
        return min(self.batch_size, drawable)

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return max(1, self.pairs // self.count)

    def batch(self, step: int) -> Indices:
        """Return the indices of the pairs of a step, which is counted from 0."""
        if self.weights is not None:
            random = np.random.default_rng((self.seed, 1, step))
            share = self.weights / self.weights.sum()
            return random.choice(self.pairs, self.count, replace=False, p=share)
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _order(self.pairs, self.pairs - self.steps_per_epoch * self.count, self.seed, epoch)
        return order[place * self.count : (place + 1) * self.count]


@lru_cache(maxsize=2)
def _order(pairs: int, rest: int, seed: int, epoch: int) -> Indices:
    """Return the order of an epoch, of which the last ``rest`` pairs are not drawn.

    A resumed run computes those before, for each begins with the rest of the last: a millisecond an epoch for 65,000.
    """
    left = np.empty(0, np.int64)
    order = left
    for number in range(epoch + 1):
        order = np.random.default_rng((seed, 0, number)).permutation(pairs)
        was_left = np.isin(order, left)
        order = np.concatenate([order[was_left], order[~was_left]])
        left = order[pairs - rest :]
    return order


@dataclass(slots=True)
class Batch:
    """A batch: ``rows`` of the data set with a caption each, and the images of this process's ``shard`` of them.

    An image that could not be read is None, and ``unreadable`` has its name with the reason.
    """

    step: int
    rows: Indices
    captions: list[str]
    shard: slice
    images: list[Pixels | None]
    unreadable: list[tuple[str, str]] = field(default_factory=list)


class Batches:
    """Prepares the batches of a run, a few ahead.

    Parameters
    ----------
    pairs, sampler, seed
        The pairs, what draws them, and the seed of augmentations and captions.
    shard
        Returns which rows of a batch of a given size belong to this process.
    size
        The side of an augmented image in pixels; None does not augment.
    fit
        The geometry of the model's own preprocessing, for images that are not augmented.
    workers
        The number of threads.
    ct_windows
        What the model wants to see of CT: see `open_image`.

    Attributes
    ----------
    waited
        The seconds that the steps have waited for data so far.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        sampler: Sampler,
        seed: int,
        shard: Callable[[int], slice],
        size: int | None,
        fit: Callable[[Pixels], Pixels],
        workers: int | None = None,
        ct_windows: CtWindows | None = None,
    ) -> None:
        self._pairs, self._sampler, self._seed = pairs, sampler, seed
        self._shard, self._size, self._fit = shard, size, fit
        self._workers, self._ct_windows = workers or min(16, cores()), ct_windows
        self.waited = 0.0

    def run(self, first: int, end: int) -> Generator[Batch, None, None]:
        """Yield the batches of the steps from ``first`` to before ``end``."""
        batches, coming = tee(self._draw(step) for step in range(first, end))
        places = ((batch, place) for batch in coming for place in _places(batch))
        largest = range(self._sampler.count)[self._shard(self._sampler.count)]
        reader = read_ahead(
            places, self._read, ahead=BATCHES_AHEAD * len(largest), max_bytes=MAX_BYTES, threads=self._workers
        )
        with closing(reader) as images:
            for batch in batches:
                self._fill(batch, images)
                yield batch

    def _draw(self, step: int) -> Batch:
        rows = self._sampler.batch(step)
        random = np.random.default_rng((self._seed, 2, step))
        captions = [draw_caption(self._pairs[row], random) for row in rows]
        return Batch(step, rows, captions, self._shard(len(rows)), [])

    def _fill(self, batch: Batch, images: Iterator[tuple[tuple[Batch, int], Pixels | ImageError]]) -> None:
        started = time.perf_counter()
        for place in _places(batch):
            _, found = next(images)
            if isinstance(found, ImageError):
                batch.images.append(None)
                batch.unreadable.append((self._pairs[batch.rows[place]].picture.name, str(found)))
            else:
                batch.images.append(found)
        self.waited += time.perf_counter() - started

    def _read(self, wanted: tuple[Batch, int]) -> Iterator[Pixels]:
        batch, place = wanted
        yield self._image(batch.step, place, int(batch.rows[place]))

    def _image(self, step: int, place: int, row: int) -> Pixels:
        pixels = self._pairs[row].picture.read(self._ct_windows)
        if self._size is None:
            return self._fit(pixels)
        random = np.random.default_rng((self._seed, 3, step, place))
        grey = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
        image = Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if grey else pixels)  # a third of the work
        return np.asarray(augment(image, self._size, random).convert("RGB"))


def _places(batch: Batch) -> range:
    """Return the places in a batch whose images are this process's."""
    return range(len(batch.rows))[batch.shard]


def draw_caption(pair: Pair, random: np.random.Generator) -> str:
    """One of the pair's captions, by weight."""
    captions = list(pair.captions)
    if len(captions) == 1:
        return captions[0]
    share = np.fromiter(pair.captions.values(), float)
    return captions[int(random.choice(len(captions), p=share / share.sum()))]


def positives(pairs: Sequence[Pair], captions: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return bool ``(n, n)``: whether caption *j*, drawn for pair *j*, is true of the image of pair *i*.

    It is where the pairs show the same image, and where the image lists that caption.
    """
    images = np.unique([pair.image for pair in pairs], return_inverse=True)[1]
    found: npt.NDArray[np.bool_] = images[:, None] == images[None, :]
    places: dict[str, list[int]] = {}
    for place, caption in enumerate(captions):
        places.setdefault(caption, []).append(place)
    for row, pair in enumerate(pairs):
        for caption in pair.captions:
            found[row, places.get(caption, [])] = True
    return found
