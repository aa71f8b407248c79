"""The gradient of a batch: images and captions become inputs of the towers, and their embeddings a loss.

Both towers run on chunks of ``micro_batch``, so that memory does not grow with the batch; `gradcache` makes the result
the gradient of the whole batch, and `rowwise` gives each row its own dropout, whatever chunk or process it is in.

Where only the projection of the text tower learns, or nothing of it, the features of a caption below the projection
never change (Zhai et al. 2022, arXiv:2111.07991, section 3). They are computed before the first step and kept; a step
then costs one matrix product. The captions are always embedded in the same batches, sorted by length, so that a resumed
run gets the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from roco_search.datasets.pair import Pair
from roco_search.errors import TrainingError
from roco_search.models.families import FAMILIES
from roco_search.models.torch_encoder import TorchEncoder, autocast
from roco_search.training.batches import Batch, Pixels, positives
from roco_search.training.distributed import ProcessGroup
from roco_search.training.gradcache import Backward, Encode, cached_backward
from roco_search.training.losses import Objective
from roco_search.training.rowwise import rowwise
from roco_search.training.settings import Accumulation, Settings
from roco_search.training.towers import parse_tower, projection

AT_ONCE = 64


class CachedTexts:
    """Embeds captions from the stored features of the frozen tower.

    Parameters
    ----------
    model
        A model with a linear text projection; see `can_cache`.
    captions
        All captions of the run.
    encode
        Runs the text tower and its projection on a chunk.
    """

    def __init__(
        self, model: nn.Module, captions: Iterable[str], encode: Callable[[Sequence[str]], torch.Tensor]
    ) -> None:
        self._projection = model.get_submodule(projection(model, "text").rstrip("."))
        self._captions, self._encode = captions, encode
        self._before: torch.Tensor | None = None
        self._row: dict[str, int] = {}

    def __call__(self, captions: Sequence[str]) -> torch.Tensor:
        """Return the projected features ``(n, dim)`` of captions, with the graph of the projection."""
        if self._before is None:
            self._before = self._run()
        return self._projection(self._before[[self._row[caption] for caption in captions]])  # type: ignore[no-any-return]

    def _run(self) -> torch.Tensor:
        distinct = sorted(set(self._captions), key=lambda caption: (len(caption), caption))
        self._row = {caption: row for row, caption in enumerate(distinct)}
        taken: list[torch.Tensor] = []
        hook = self._projection.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0].detach()))
        try:
            with torch.no_grad():
                for start in range(0, len(distinct), AT_ONCE):
                    self._encode(distinct[start : start + AT_ONCE])
        finally:
            hook.remove()
        return torch.cat(taken)


def can_cache(model: nn.Module, settings: Settings) -> bool:
    """Return whether nothing of the text tower learns below a linear projection."""
    if parse_tower(settings.text_tower).kind not in ("projection", "locked"):
        return False
    return isinstance(model.get_submodule(projection(model, "text").rstrip(".")), nn.Linear)


ROWS_AT_ONCE = 4  # on a processor; see `_in_parts`

Tensors = Mapping[str, torch.Tensor]


class Inputs:
    """Prepares chunks of images and captions as inputs of an encoder's towers.

    Images that are not augmented go through the model's own preprocessing; augmented ones have the right size already
    and are only normalised. ``size`` is the side of an augmented image in pixels.
    """

    def __init__(self, encoder: TorchEncoder, image_size: int = 0) -> None:
        self._encoder = encoder
        own = encoder.image_size
        if image_size not in (0, own) and not FAMILIES[encoder.checkpoint.family].any_image_size:
            raise TrainingError(f"The image tower takes {own} pixels and no other number; leave `image_size` out.")
        if image_size % 32:
            raise TrainingError(f"`image_size` is {image_size}; a convolutional tower takes multiples of 32.")
        self.size = image_size or own

    def fit(self, image: Pixels) -> Pixels:
        """Apply the geometry of the model's preprocessing to an image that is not augmented."""
        preprocessing = self._encoder.preprocessing
        return image if preprocessing is None else preprocessing.fit(image)

    def images(self, images: Sequence[Pixels]) -> Tensors:
        """Return the arguments of the image tower for a chunk of fitted or augmented images."""
        preprocessing, device = self._encoder.preprocessing, self._encoder.device
        if preprocessing is None:  # only transformers' own processor can, such as SigLIP 2's patches
            return self._on_device(self._encoder.prepare_images(images))
        pixels = torch.from_numpy(np.stack(images)).to(device, non_blocking=True).permute(0, 3, 1, 2)
        pixels = pixels.to(self._encoder.model.dtype)
        if preprocessing.rescale is not None:
            pixels *= preprocessing.rescale
        if preprocessing.mean is not None and preprocessing.std is not None:
            mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in self._statistics)
            pixels = (pixels - mean) / std
        return {"pixel_values": pixels}

    @property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        preprocessing = self._encoder.preprocessing
        assert preprocessing is not None and preprocessing.mean is not None and preprocessing.std is not None
        return preprocessing.mean, preprocessing.std

    def texts(self, texts: Sequence[str]) -> Tensors:
        """Return the arguments of the text tower for a chunk of captions."""
        return self._on_device(self._encoder.prepare_texts(texts))

    def _on_device(self, arrays: Mapping[str, np.ndarray]) -> Tensors:
        device = self._encoder.device
        return {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in arrays.items()}


@dataclass(frozen=True, slots=True)
class Gradient:
    """Accumulates the gradient of a batch in the parameters of an encoder's model.

    Each distinct caption is embedded once, in order of length, so that few are padded to the longest of the batch.
    ``seed`` is that of dropout.
    """

    encoder: TorchEncoder
    inputs: Inputs
    objective: Objective
    accumulation: Accumulation
    micro_batch: int
    group: ProcessGroup
    cached_texts: CachedTexts | None = None
    seed: int = 0

    def __call__(self, pairs: Sequence[Pair], batch: Batch, backward: Backward = torch.Tensor.backward) -> torch.Tensor:
        """Accumulate the gradient; return the loss, detached. Rows whose image could not be read are omitted.

        Raises
        ------
        TrainingError
            If fewer than two rows are left.
        """
        own = [image is not None for image in batch.images]
        of_all = self.group.gather_objects(own)
        known, counts = np.concatenate([np.asarray(part, bool) for part in of_all]), [sum(part) for part in of_all]
        if known.sum() < 2 or min(counts) == 0:
            raise TrainingError(
                f"Too few of the {len(known)} images of step {batch.step + 1} could be read; replace or remove the "
                "files that were reported as not readable."
            )
        rows = [pairs[row] for row, usable in zip(batch.rows, known, strict=True) if usable]
        captions = [caption for caption, usable in zip(batch.captions, known, strict=True) if usable]
        images = [image for image in batch.images if image is not None]
        if self.accumulation == "naive":
            return self._naive(batch.step, rows, captions, images, backward)
        return self._exact(batch.step, rows, captions, images, counts, backward)

    def _exact(
        self,
        step: int,
        rows: Sequence[Pair],
        captions: Sequence[str],
        images: Sequence[np.ndarray],
        counts: Sequence[int],
        backward: Backward,
    ) -> torch.Tensor:
        distinct = by_length(captions)
        while len(distinct) < self.group.size:
            distinct.append(distinct[0])  # every process must embed something
        place = {caption: i for i, caption in reversed(list(enumerate(distinct)))}
        order = torch.tensor([place[caption] for caption in captions], device=self.encoder.device)
        truth = torch.from_numpy(positives(rows, captions)).to(self.encoder.device)
        shard = self.group.shard(len(distinct))
        image_chunks = self._chunks(images, self.encode_images, step, sum(counts[: self.group.rank]))
        text_chunks = self._chunks(distinct[shard], self.encode_texts, step, shard.start)

        def loss(image_features: torch.Tensor, text_features: torch.Tensor) -> torch.Tensor:
            return self.objective(image_features, text_features[order], truth)

        if self.group.size == 1 and len(image_chunks) == len(text_chunks) == 1:  # one graph: no second pass
            value = loss(image_chunks[0](), text_chunks[0]())
            backward(value)
            return value.detach()
        split = None if self.group.size == 1 else (counts, self._shard_sizes(len(distinct)))
        gather = None if split is None else lambda own, tower: self.group.gather_rows(own, split[tower])
        return cached_backward(image_chunks, text_chunks, loss, backward=backward, gather=gather)

    def _shard_sizes(self, count: int) -> list[int]:
        shards = [ProcessGroup(rank, self.group.size).shard(count) for rank in range(self.group.size)]
        return [shard.stop - shard.start for shard in shards]

    def _naive(
        self,
        step: int,
        rows: Sequence[Pair],
        captions: Sequence[str],
        images: Sequence[np.ndarray],
        backward: Backward,
    ) -> torch.Tensor:
        if self.group.size > 1:
            raise TrainingError('Naive accumulation is for one process; use `accumulation="exact"`.')
        starts = range(0, len(rows), self.micro_batch)
        total = torch.zeros(())
        for start in starts:
            part = slice(start, start + self.micro_batch)
            distinct = by_length(captions[part])
            place = {caption: i for i, caption in enumerate(distinct)}
            truth = torch.from_numpy(positives(rows[part], captions[part])).to(self.encoder.device)
            texts = self.encode_texts(distinct, step, start)[[place[caption] for caption in captions[part]]]
            value = self.objective(self.encode_images(images[part], step, start), texts, truth) / len(starts)
            backward(value)
            total += value.detach().cpu()
        return total

    def _chunks(
        self, items: Sequence[Any], encode: Callable[[Sequence[Any], int, int], torch.Tensor], step: int, first: int
    ) -> list[Encode]:
        starts = range(0, len(items), self.micro_batch)
        return [partial(encode, items[start : start + self.micro_batch], step, first + start) for start in starts]

    def encode_images(self, images: Sequence[np.ndarray], step: int, first: int) -> torch.Tensor:
        """Embed a chunk of images, with the graph where gradients are on; ``(n, dim)``, not of unit norm.

        ``first`` is the place of the first of them in the batch of the step.
        """
        encoder = self.encoder
        features = _in_parts(
            encoder,
            images,
            lambda part: encoder.model.get_image_features(**self.inputs.images(part)),
            (self.seed, step, 0),
            first,
        )
        return features.float() if features.dtype != torch.float64 else features

    def encode_texts(self, texts: Sequence[str], step: int, first: int) -> torch.Tensor:
        """Embed a chunk of captions; as `encode_images`."""
        if self.cached_texts:
            with autocast(self.encoder.device, self.encoder.precision):
                features = self.cached_texts(texts)
        else:
            features = text_features(self.encoder, self.inputs, texts, (self.seed, step, 1), first)
        return features.float() if features.dtype != torch.float64 else features


def text_features(
    encoder: TorchEncoder, inputs: Inputs, texts: Sequence[str], key: Sequence[int] = (), first: int = 0
) -> torch.Tensor:
    """Run the text tower and its projection on a chunk of captions, best sorted by length.

    ``key`` and ``first`` are those of `rowwise`.
    """
    return _in_parts(encoder, texts, lambda part: encoder.model.get_text_features(**inputs.texts(part)), key, first)


def _in_parts(
    encoder: TorchEncoder, items: Sequence[Any], embed: Callable[[Sequence[Any]], Any], key: Sequence[int], first: int
) -> torch.Tensor:
    """Run a tower and its projection on a chunk; on a processor on a few rows at once.

    That costs nothing there (4 images of 160 pixels at once took 0.8 of the time of 32, 4 captions 0.75), and captions
    of similar length need little padding. Above all it is always the same parts whose gradients are summed: in
    float32 the gradient of roco-mini differed by 1.3e-6 between micro-batches of 16 and 4 without. On a GPU the number
    of calls counts.
    """
    at_once = ROWS_AT_ONCE if encoder.device.type == "cpu" else max(1, len(items))
    found = []
    with autocast(encoder.device, encoder.precision):
        for start in range(0, len(items), at_once):
            part = items[start : start + at_once]
            with rowwise(encoder.model, key, first + start, len(part)):
                found.append(embed(part).pooler_output)
    return torch.cat(found)


def by_length(captions: Sequence[str]) -> list[str]:
    """Return each caption once, shorter ones first."""
    return sorted(set(captions), key=lambda caption: (len(caption), caption))
