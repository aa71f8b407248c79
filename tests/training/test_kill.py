"""``kill -9`` at any moment, and the same command with ``--resume auto``: the same weights, to the bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.cli.commands.test_train import imagefolder
from tests.models.checkpoints import dual_encoder
from tests.training.data import draw

STEPS = 12


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A run whose base has dropout, so that the random state counts."""
    data = imagefolder(tmp_path / "pairs", [pair.caption for pair in draw(tmp_path / "pairs", 12)])
    base = dual_encoder(tmp_path / "base")
    options = {"base": base, "batch-size": 6, "micro-batch": 2, "learning-rate": 1e-3, "epochs": 99, "patience": 0}
    options |= {"max-steps": STEPS, "eval-every": 5, "checkpoint-every": 1, "averaging": 0.9}
    return [
        *(sys.executable, "-m", "roco_search", "train", str(data), "--quiet"),
        *(text for name, value in options.items() for text in (f"--{name}", str(value))),
    ]


def start(command: list[str], output: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*command, "--output", str(output), "--resume", "auto"], env=os.environ)


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(command: list[str], tmp_path: Path) -> None:
    assert start(command, tmp_path / "whole").wait(timeout=120) == 0
    parts, kills = tmp_path / "parts", 0
    moment = random.Random(7)
    while True:
        process = start(command, parts)
        log = parts / "log.jsonl"
        before = log.stat().st_size if log.exists() else 0
        # Once it has begun to work again, it is killed in the middle of whatever it does.
        while process.poll() is None and (not log.exists() or log.stat().st_size <= before):
            time.sleep(0.005)
        if kills < 3:
            time.sleep(moment.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        if process.wait(timeout=120) == 0:
            break
        kills += 1
    assert kills >= 2
    whole, again = (
        torch.load(tmp_path / name / "checkpoints" / f"step-{STEPS:08d}.pt", weights_only=True)
        for name in ("whole", "parts")
    )
    for part in ("weights", "average"):
        assert whole[part].keys() == again[part].keys()
        assert all(torch.equal(tensor, again[part][name]) for name, tensor in whole[part].items())
    for file in ("model.safetensors", "training.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (parts / file).read_bytes()
