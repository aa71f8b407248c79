"""One contrastive training run, top to bottom.

    for step: draw pairs -> render and augment ahead on threads -> two towers -> InfoNCE -> AdamW -> average

The model is anything with CLIP's ``get_image_features``, ``get_text_features`` and ``logit_scale``.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from roco_search.imaging.preprocess import Preprocessing
from roco_search.models.tokenization import TextTokenizer

from .augment import augment
from .loss import info_nce
from .pairs import Pair

TEXTS_AT_ONCE = 24
LOGIT_SCALE_MAX = math.log(100)  # CLIP's bound: a hotter softmax makes training unstable


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run needs to know beyond its model and its data."""

    steps: int
    batch_size: int = 128
    image_size: int = 192
    image_learning_rate: float = 5e-4  # an ImageNet convnet far from radiographs: it has to move
    text_learning_rate: float = 5e-5  # a sentence encoder that already knows the words: it must not forget
    head_learning_rate: float = 1e-3  # from scratch
    weight_decay: float = 0.05
    warmup_steps: int = 60
    averaging: float = 0.995  # of the weights, over about 200 steps; what is saved is the average
    text_layers: int = 2  # the last blocks of the text tower that learn
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What one step reports: its number from 1, the loss, and the image tower's learning rate."""

    number: int
    loss: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class _Batch:
    pixels: np.ndarray  # float32 (n, 3, size, size)
    captions: list[str]
    positives: np.ndarray  # bool (n, n)


def train(
    model: Any,
    tokenizer: TextTokenizer,
    preprocessing: Preprocessing,
    pairs: Sequence[Pair],
    weights: np.ndarray,
    settings: Settings,
    on_step: Callable[[Step, nn.Module], None],
) -> nn.Module:
    """Train ``model`` in place and return the running average of its weights, as a model of its own.

    ``weights`` float ``(len(pairs),)`` are the relative frequencies with which pairs are drawn. ``on_step`` is
    called after each step with what happened and the average so far.
    """
    torch.manual_seed(settings.seed)
    freeze(model, settings.text_layers)
    optimizer = build_optimizer(model, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, settings))
    average: nn.Module = copy.deepcopy(model).eval()
    model.train()
    for number, batch in enumerate(batches(preprocessing, pairs, weights, settings), 1):
        images = model.get_image_features(pixel_values=torch.from_numpy(batch.pixels)).pooler_output
        texts = encode_captions(model, tokenizer, batch.captions)
        loss = info_nce(
            nn.functional.normalize(images, dim=-1),
            nn.functional.normalize(texts, dim=-1),
            model.logit_scale.exp(),
            torch.from_numpy(batch.positives),
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate = float(schedule.get_last_lr()[0])
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=LOGIT_SCALE_MAX)
            update_average(average, model, min(settings.averaging, number / (number + 9)))
        on_step(Step(number, loss.item(), rate), average)
    return average


def freeze(model: Any, text_layers: int) -> None:
    """Let the image tower, both projections, the logit scale and the last ``text_layers`` text blocks learn."""
    for parameter in model.text_model.parameters():
        parameter.requires_grad = False
    for block in list(model.text_model.encoder.layer)[len(model.text_model.encoder.layer) - text_layers :]:
        for parameter in block.parameters():
            parameter.requires_grad = True


def build_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """AdamW with a learning rate a tower; vectors (biases, norms, the scale) are not decayed."""
    rates = {"vision_model": settings.image_learning_rate, "text_model": settings.text_learning_rate}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = rates.get(name.split(".")[0], settings.head_learning_rate)
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()],
        betas=(0.9, 0.98),
    )


def learning_rate_factor(step: int, settings: Settings) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def encode_captions(model: Any, tokenizer: TextTokenizer, captions: Sequence[str]) -> torch.Tensor:
    """Embed captions, each distinct one once, as ``(len(captions), dim)``."""
    distinct = sorted(set(captions), key=lambda caption: (len(caption), caption))
    features = torch.cat(
        [
            # By length, so that a short caption is not padded to the longest of the batch.
            _encode(model, tokenizer, distinct[start : start + TEXTS_AT_ONCE])
            for start in range(0, len(distinct), TEXTS_AT_ONCE)
        ]
    )
    place = {caption: row for row, caption in enumerate(distinct)}
    return features[[place[caption] for caption in captions]]


def _encode(model: Any, tokenizer: TextTokenizer, captions: Sequence[str]) -> torch.Tensor:
    ids, mask = (torch.from_numpy(array) for array in tokenizer(captions))
    return model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output  # type: ignore[no-any-return]


def update_average(average: nn.Module, model: nn.Module, keep: float) -> None:
    """Exponential moving average of the parameters (Polyak averaging)."""
    for mean, parameter in zip(average.parameters(), model.parameters(), strict=True):
        if parameter.requires_grad:
            mean.lerp_(parameter, 1 - keep)


def batches(
    preprocessing: Preprocessing, pairs: Sequence[Pair], weights: np.ndarray, settings: Settings
) -> Iterator[_Batch]:
    """Yield ``settings.steps`` batches, prepared up to three ahead on threads.

    Each batch has a random generator of its own, seeded by its number, so threads do not change the run.
    """
    with ThreadPoolExecutor(2) as pool:
        pending: deque[Future[_Batch]] = deque()
        for number in range(settings.steps):
            pending.append(pool.submit(_batch, preprocessing, pairs, weights, settings, number))
            if len(pending) > 3:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _batch(
    preprocessing: Preprocessing, pairs: Sequence[Pair], weights: np.ndarray, settings: Settings, number: int
) -> _Batch:
    random = np.random.default_rng((settings.seed, number))
    count = min(settings.batch_size, int(np.count_nonzero(weights)))
    chosen = [pairs[i] for i in random.choice(len(pairs), count, replace=False, p=weights / weights.sum())]
    captions = [draw_caption(pair, random) for pair in chosen]
    images = []
    for pair in chosen:
        with Image.open(pair.image) as image:
            grey = image.mode == "L"
            augmented = augment(image.convert("L" if grey else "RGB"), settings.image_size, random)
        images.append(np.asarray(augmented.convert("RGB")))
    positives = np.array([[caption in pair.captions for caption in captions] for pair in chosen])
    return _Batch(preprocessing(images), captions, positives)


def draw_caption(pair: Pair, random: np.random.Generator) -> str:
    """One of the pair's captions, by weight."""
    captions = list(pair.captions)
    share = np.fromiter(pair.captions.values(), float)
    return captions[int(random.choice(len(captions), p=share / share.sum()))]
