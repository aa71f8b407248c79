"""What an exact large batch costs: time and peak memory beside plain training on a small one, and waiting for data.

    scripts/bench training

The large batch (256, of which 32 are in memory at once) and plain training on batches of 32 take turns, each in a
process of its own, over the same generated JPEGs of 224 pixels. Speed does not depend on what weights and images hold,
so ``vit-b-32`` has random weights in the shape of CLIP's ViT-B/32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from roco_search.training.settings import Settings

KINDS = {"plain, batch 32": 32, "exact, batch 256": 256}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=("roco-mini", "vit-b-32"), default="roco-mini")
    parser.add_argument("--pairs", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure_one(args.folder, args.model, args.one)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_pairs(folder / "pairs", args.pairs)
        if args.model == "vit-b-32":
            write_clip(folder / "vit-b-32")
        rounds = [{kind: run(folder, args.model, size) for kind, size in KINDS.items()} for _ in range(args.rounds)]
    report(args.model, rounds)


def write_pairs(folder: Path, count: int) -> None:
    """Write JPEGs that compress as radiographs do, and a caption for each."""
    folder.mkdir()
    random = np.random.default_rng(0)
    with (folder / "metadata.jsonl").open("w") as metadata:
        for i in range(count):
            coarse = Image.fromarray(random.integers(0, 255, (28, 28), np.uint8))
            coarse.resize((224, 224), Image.Resampling.BICUBIC).save(folder / f"{i:05d}.jpg", quality=82)
            text = f"axial CT of the chest, finding {i}, with a small effusion on the left"
            metadata.write(json.dumps({"file_name": f"{i:05d}.jpg", "text": text}) + "\n")


def write_clip(folder: Path) -> None:
    """Write CLIP's ViT-B/32 with random weights and a byte-level tokenizer."""
    import transformers as tf
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    text = {"vocab_size": 49408, "bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1}
    tf.CLIPModel(tf.CLIPConfig(text_config=text, projection_dim=512)).save_pretrained(folder)
    tf.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)


def run(folder: Path, model: str, batch_size: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", str(batch_size), "--model", model, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure_one(folder: Path, model: str, batch_size: int) -> dict[str, Any]:
    """Take a few steps; return seconds a pair, peak bytes and the share of time that waited for data."""
    from roco_search.training.session import Session

    settings = Settings(batch_size=batch_size, micro_batch=32, max_steps=4 if batch_size > 32 else 16)
    base = model if model == "roco-mini" else str(folder / model)
    plan = Session(str(folder / "pairs"), base, folder / "none", settings, (), (), (), "auto", Nobody()).plan()
    assert plan is not None
    return {
        "seconds_per_pair": plan.step_seconds / plan.batch_size,
        "peak_bytes": plan.memory_bytes,
        "waited": plan.waited,
        "device": f"{plan.device}, {plan.precision}",
    }


class Nobody:
    """Reports nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def report(model: str, rounds: list[dict[str, dict[str, Any]]]) -> None:
    plain, exact = KINDS
    print(f"{model}, {rounds[0][plain]['device']}, median of {len(rounds)}")
    for kind in KINDS:
        seconds = np.median([found[kind]["seconds_per_pair"] for found in rounds])
        peak = np.median([found[kind]["peak_bytes"] for found in rounds])
        waited = np.median([found[kind]["waited"] for found in rounds])
        print(f"{kind:18} {1 / seconds:7.1f} pairs/s  {peak / 1e6:8.0f} MB  {100 * waited:4.1f} % waiting for data")
    for name, key in (("time a pair", "seconds_per_pair"), ("peak memory", "peak_bytes")):
        ratios = [found[exact][key] / found[plain][key] for found in rounds]
        print(f"{name}, exact over plain: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
