"""``kill -9`` at any moment, and the same command with ``--resume auto``: the same weights, to the bit."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import torch

from tests.cli.commands.test_train import imagefolder
from tests.models.checkpoints import dual_encoder
from tests.training import processes
from tests.training.data import draw

STEPS = 10


@pytest.fixture
def command(tmp_path: Path) -> list[object]:
    """A run whose base has dropout."""
    data = imagefolder(tmp_path / "pairs", [pair.caption for pair in draw(tmp_path / "pairs", 12)])
    options = {"base": dual_encoder(tmp_path / "base"), "batch-size": 6, "micro-batch": 2, "learning-rate": 1e-3}
    options |= {"epochs": 99, "patience": 0, "max-steps": STEPS, "eval-every": 4, "checkpoint-every": 1}
    options |= {"averaging": 0.9, "resume": "auto"}
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return ["train", data, "--quiet", "--keep-checkpoints", *given]


def test_a_killed_run_ends_in_the_same_bits(command: list[object], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    undisturbed = processes.start(processes.roco, *command, "--output", whole)
    log, kills, moment = parts / "log.jsonl", 0, random.Random(7)
    while True:
        before = log.stat().st_size if log.exists() else 0
        process = processes.start(processes.roco, *command, "--output", parts)
        # Once it has begun to work again, it is killed in the middle of whatever it does.
        while process.exitcode is None and (not log.exists() or log.stat().st_size <= before):
            time.sleep(0.005)
        if kills < 3:
            time.sleep(moment.uniform(0, 0.2))
            process.kill()
        process.join(timeout=240)
        if process.exitcode == 0:
            break
        kills += 1
    assert kills >= 2
    undisturbed.join(timeout=240)
    assert undisturbed.exitcode == 0
    one, two = (torch.load(name / "checkpoints" / f"step-{STEPS:08d}.pt", weights_only=True) for name in (whole, parts))
    for part in ("weights", "average"):
        assert one[part].keys() == two[part].keys()
        assert all(torch.equal(tensor, two[part][name]) for name, tensor in one[part].items())
    for file in ("model.safetensors", "training.json"):
        assert (whole / file).read_bytes() == (parts / file).read_bytes()
