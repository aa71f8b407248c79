"""Learn the two projections of a roco-mini anew, with towers that stay as they are and batches of 512.

    python scripts/roco_mini/projections.py DATA MODEL --output runs/projections

The features of augmented images and of captions below the projections are computed once and stored in ``OUTPUT`` (Zhai
et al. 2022, arXiv:2111.07991: what is locked need not be computed again). A step then costs two matrix products, so
that a batch four times as large and as many steps as in all stages before take half a minute.

The towers have seen these images, so what is learned here is judged on cases that the towers have not seen:
``validate.py projections``.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from draws import frequencies
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from roco_search.datasets.pair import Pair
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.training.batches import augment, draw_caption, positives
from roco_search.training.losses import LOGIT_SCALE_MAX, info_nce

ALIKE = 40  # images of one label of one source, and as many mirrored ones
VIEWS = 5  # of an image with a written caption, which is drawn most often; one of any other
SIZE = 160
SEED = 7
SETTINGS: Mapping[str, float] = {
    "steps": 400,
    "batch_size": 512,
    "image_rate": 1e-3,
    "text_rate": 3e-4,
    "scale_rate": 1e-3,
    "weight_decay": 0.3,
    "dropout": 0.5,
    "warmup": 30,
    "averaging": 0.99,
}
VISUAL, TEXTUAL, SCALE = "visual_projection.weight", "text_projection.weight", "logit_scale"


@dataclass(frozen=True)
class Features:
    """What the towers make of some pairs: of each pair's views, and of each caption that may be drawn.

    Attributes
    ----------
    images
        float16 ``(views, width)``; those of a pair follow one another.
    first, count
        The first view of each pair, and how many there are, int64 ``(pairs,)``.
    texts
        float32 ``(captions, width)``.
    rows
        The row of ``texts`` of each caption.
    """

    images: npt.NDArray[np.float16]
    first: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]
    texts: npt.NDArray[np.float32]
    rows: Mapping[str, int]


def main() -> None:
    from drawn import drawn_pairs
    from examples import without_shown
    from train import DRAWN, finish, prepared

    from roco_search.datasets import open_training
    from roco_search.system import process

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    process.prepare()
    pairs = prepared(without_shown(open_training(args.data).train.pairs), drawn_pairs(DRAWN))
    finish(relearn(args.model, pairs, args.output), args.output / "roco-mini")


def relearn(base: Path, pairs: Sequence[Pair], output: Path, **settings: float) -> Path:
    """Learn the projections of a model anew on what `train.prepared` gives; return the folder of the result."""
    output.mkdir(parents=True, exist_ok=True)
    chosen = few_alike(pairs)
    encoder = TorchEncoder(Checkpoint.open(base.name, base), "cpu", "fp32")
    learned = fit(encoder.model, chosen, stored(encoder, chosen, output / "features.npz"), {**SETTINGS, **settings})
    end = output / "end"
    shutil.copytree(base, end, dirs_exist_ok=True)
    save_file({**load_file(base / "model.safetensors"), **learned}, end / "model.safetensors", {"format": "pt"})
    return end


def few_alike(pairs: Sequence[Pair]) -> list[Pair]:
    """Leave out what looks like `ALIKE` images before it: of one label of one source there are up to a thousand."""
    met: Counter[tuple[Any, ...]] = Counter()
    chosen = []
    for pair in pairs:
        columns = pair.columns
        key = (columns["modality"], columns["body_part"], columns["source"], str(columns["labels"]), _mirrored(pair))
        met[key] += 1
        if columns["text_kind"] != "label" or met[key] <= ALIKE:
            chosen.append(pair)
    return chosen


def _mirrored(pair: Pair) -> bool:
    return pair.image.endswith(" mirrored")


def stored(encoder: TorchEncoder, pairs: Sequence[Pair], place: Path) -> Features:
    """Return the features of pairs, computed now or before."""
    captions = sorted(
        {text for pair in pairs for text, share in pair.captions.items() if share > 0},
        key=lambda text: (len(text), text),
    )
    count = np.array([VIEWS if pair.columns["text_kind"] == "written" else 1 for pair in pairs])
    if not place.exists():
        views = [(row, view) for row, times in enumerate(count) for view in range(times)]
        np.savez(place, texts=_texts(encoder, captions), images=_images(encoder, pairs, views))
    found = np.load(place)
    rows = {caption: row for row, caption in enumerate(captions)}
    return Features(found["images"], np.cumsum(count) - count, count, found["texts"], rows)


def _texts(encoder: TorchEncoder, captions: Sequence[str], at_once: int = 8) -> npt.NDArray[np.float32]:
    model, parts = encoder.model.eval(), []
    for start in range(0, len(captions), at_once):
        inputs = encoder.prepare_texts(captions[start : start + at_once])
        ids, mask = (torch.from_numpy(inputs[name]) for name in ("input_ids", "attention_mask"))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            hidden = model.text_model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        counted = mask.unsqueeze(-1).float()
        parts.append(((hidden * counted).sum(1) / counted.sum(1)).numpy())
    return np.concatenate(parts)


def _images(
    encoder: TorchEncoder, pairs: Sequence[Pair], views: Sequence[tuple[int, int]], at_once: int = 16
) -> npt.NDArray[np.float16]:
    model, parts = encoder.model.eval(), []
    for start in range(0, len(views), at_once):
        pixels = np.stack([_view(pairs[row], row, view) for row, view in views[start : start + at_once]])
        # The Lite towers were trained on (value - 127) / 128.
        inputs = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            parts.append(model.vision_model(inputs).pooler_output.float().numpy().astype(np.float16))
    return np.concatenate(parts)


def _view(pair: Pair, row: int, view: int) -> npt.NDArray[np.uint8]:
    pixels = pair.picture.read()
    grey = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if grey else pixels)
    return np.asarray(augment(image, SIZE, np.random.default_rng((SEED, row, view))).convert("RGB"))


def fit(
    model: Any, pairs: Sequence[Pair], features: Features, settings: Mapping[str, float]
) -> dict[str, torch.Tensor]:
    """Return the projections and the logit scale, averaged over the last steps, by their names in the model."""
    torch.manual_seed(0)  # of dropout
    random, weights = np.random.default_rng(0), frequencies(pairs)
    images, texts = torch.from_numpy(features.images), torch.from_numpy(features.texts)
    state = model.state_dict()
    learned = {name: nn.Parameter(state[name].float().clone()) for name in (VISUAL, TEXTUAL, SCALE)}
    rates = {VISUAL: settings["image_rate"], TEXTUAL: settings["text_rate"], SCALE: settings["scale_rate"]}
    decay = settings["weight_decay"]
    groups = [
        {"params": [one], "weight_decay": 0.0 if name == SCALE else decay, "rate": rates[name]}
        for name, one in learned.items()
    ]
    optimiser = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))
    average = {name: one.detach().clone() for name, one in learned.items()}
    steps = int(settings["steps"])
    factor = _schedule(steps, int(settings["warmup"]))
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = group["rate"] * factor(step)
        rows = random.choice(len(pairs), int(settings["batch_size"]), replace=False, p=weights)
        drawn = [pairs[row] for row in rows]
        captions = [draw_caption(pair, random) for pair in drawn]
        views = features.first[rows] + (random.random(len(rows)) * features.count[rows]).astype(int)
        seen = nn.functional.dropout(images[views].float(), settings["dropout"])
        said = texts[[features.rows[caption] for caption in captions]]
        shown = nn.functional.normalize(seen @ learned[VISUAL].T, dim=-1)
        meant = nn.functional.normalize(said @ learned[TEXTUAL].T, dim=-1)
        truth = torch.from_numpy(positives(drawn, captions))
        loss = info_nce(shown, meant, learned[SCALE].exp(), truth)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(list(learned.values()), 1.0)
        optimiser.step()
        with torch.no_grad():
            learned[SCALE].clamp_(max=LOGIT_SCALE_MAX)
            share = min(settings["averaging"], (step + 1) / (step + 10))
            for name, one in learned.items():
                average[name].lerp_(one, 1 - share)
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    return average


def _schedule(steps: int, warmup: int) -> Callable[[int], float]:
    return lambda step: min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


if __name__ == "__main__":
    main()
