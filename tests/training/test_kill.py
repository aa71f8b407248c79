"""``kill -9`` at any moment, and the same command with ``--resume auto``: the same weights, to the bit."""

from __future__ import annotations

import random
import time
from pathlib import Path

import torch

from roco_search.training.session import Session
from roco_search.training.settings import Settings
from tests.cli.commands.test_train import imagefolder
from tests.models.checkpoints import dual_encoder
from tests.training import processes
from tests.training.data import draw
from tests.training.test_run import RecordedReport

STEPS = 10


SETTINGS = Settings(
    batch_size=6,
    micro_batch=2,
    learning_rate=1e-3,
    epochs=99,
    max_steps=STEPS,
    eval_every=4,
    checkpoint_every=1,
    averaging=0.9,
    keep_checkpoints=True,
)


def train(folder: Path, output: Path) -> None:
    """Be ``roco train … --resume auto``, without compiling the model at the end; its base has dropout."""
    places = str(folder / "pairs"), str(folder / "base"), output
    Session(*places, SETTINGS, (), (), (), "cpu", RecordedReport()).train(resume=True)


def test_a_killed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    imagefolder(tmp_path / "pairs", [pair.caption for pair in draw(tmp_path / "pairs", 12)])
    dual_encoder(tmp_path / "base")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    undisturbed = processes.start(train, tmp_path, whole)
    log, kills, moment = parts / "log.jsonl", 0, random.Random(7)
    while True:
        before = log.stat().st_size if log.exists() else 0
        process = processes.start(train, tmp_path, parts)
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
