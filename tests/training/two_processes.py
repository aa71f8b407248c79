"""What each process of `test_distributed` does: the gradients of two batches, then a short run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from roco_search.datasets.pair import TrainingData
from roco_search.models.catalogue.registry import EMBEDDED
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.training.batches import Batches, Sampler
from roco_search.training.distributed import ProcessGroup, process_group
from roco_search.training.losses import Objective
from roco_search.training.run import Run
from roco_search.training.settings import Settings
from roco_search.training.step import Gradient, Inputs
from roco_search.training.towers import set_train_mode
from tests.meter import Meter
from tests.models.checkpoints import clip
from tests.training.data import pair_set
from tests.training.gradients import gradients


class RecordedReport(Meter):
    def __init__(self) -> None:
        super().__init__()
        self.notes = 0

    def validated(self, result: Any, best: bool) -> None:
        self.notes += 1

    def note(self, text: str) -> None:
        self.notes += 1


@dataclass(frozen=True, slots=True)
class Found:
    """The gradient of a batch, its loss, and the number of images that this process embedded."""

    gradient: dict[str, torch.Tensor]
    loss: float
    images: int


def gradient(
    encoder: TorchEncoder, data: TrainingData, group: ProcessGroup, *, micro_batch: int, unreadable: bool
) -> Found:
    """The gradient of one batch of all pairs, as every process has it; one image may be unreadable."""
    encoder.model.requires_grad_(True)
    inputs, objective = Inputs(encoder, 32), Objective(encoder.model, "auto")
    pairs = data.train.pairs
    batches = Batches(pairs, Sampler(len(pairs), len(pairs), 1), 1, group.shard, inputs.size, inputs.fit)
    (batch,) = batches.run(0, 1)
    broken = int(batch.rows[4])
    for place, row in enumerate(batch.rows[batch.shard]):
        if row == broken and unreadable:
            batch.images[place] = None
    loss = Gradient(encoder, inputs, objective, "exact", micro_batch, group)(pairs, batch)
    group.sum_gradients(encoder.model.parameters(), objective.parameters)
    return Found(gradients(encoder.model), float(loss), sum(image is not None for image in batch.images))


def work(folder: Path, name: str) -> None:
    """Write what a process finds into ``folder/name-rank.pt``; ``WORLD_SIZE`` and ``RANK`` say which it is."""
    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    own = folder / f"{name}-{rank}"
    base = clip(own / "base")  # the same seed everywhere
    data = TrainingData(pair_set(own / "train", 9), pair_set(own / "validation", 4, "validation"), False)
    with process_group("cpu") as (group, device):
        small = TorchEncoder(Checkpoint.open("clip", base), device, "fp32")  # type: ignore[arg-type]
        small.model.double()
        exact = gradient(small, data, group, micro_batch=2, unreadable=True)

        mini = TorchEncoder(Checkpoint.open("roco-mini", EMBEDDED), device, "fp32")  # type: ignore[arg-type]
        set_train_mode(mini.model, Settings())
        more = TrainingData(pair_set(own / "more", 16), data.validation, False)
        with_dropout = gradient(mini, more, group, micro_batch=4, unreadable=False)

        small = TorchEncoder(Checkpoint.open("clip", base), device, "fp32")  # type: ignore[arg-type]
        settings = Settings(batch_size=8, micro_batch=2, max_steps=3, epochs=9, learning_rate=1e-3, eval_every=2)
        report = RecordedReport()
        run = Run(small, data, settings, folder / f"run-{name}", report, group=group)
        run.train()
    found = {
        kind: {"gradient": each.gradient, "loss": each.loss, "images": each.images}
        for kind, each in (("exact", exact), ("with dropout", with_dropout))
    }
    losses = [line["loss"] for line in report.figures]
    torch.save({**found, "weights": run.model.state_dict(), "losses": losses, "notes": report.notes}, f"{own}.pt")
