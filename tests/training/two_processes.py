"""One of the processes of `test_distributed`: the gradient of a batch in float64, then a short run."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from roco_search.datasets.pair import TrainingData
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.training.batches import Batches, Sampler
from roco_search.training.distributed import ProcessGroup, process_group
from roco_search.training.losses import Objective
from roco_search.training.run import Run
from roco_search.training.settings import Settings
from roco_search.training.step import Gradient, Inputs
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


def gradient(
    encoder: TorchEncoder, data: TrainingData, group: ProcessGroup
) -> tuple[dict[str, torch.Tensor], float, int]:
    """The gradient of a batch of nine, one of them unreadable, as every process has it."""
    encoder.model.double().requires_grad_(True)
    inputs, objective = Inputs(encoder), Objective(encoder.model, "auto")
    pairs = data.train.pairs
    batches = Batches(pairs, Sampler(len(pairs), 9, 1), 1, group.shard, inputs.size, inputs.fit)
    (batch,) = batches.run(0, 1)
    broken = int(batch.rows[4])
    for place, row in enumerate(batch.rows[batch.shard]):
        if row == broken:
            batch.images[place] = None
    loss = Gradient(encoder, inputs, objective, "exact", 2, group)(pairs, batch)
    group.sum_gradients(encoder.model.parameters(), objective.parameters)
    return gradients(encoder.model), float(loss), sum(image is not None for image in batch.images)


def main(folder: Path, mine: Path) -> None:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    base = clip(folder / f"base-{size}-{rank}")  # the same seed everywhere
    data = TrainingData(
        pair_set(folder / f"t{size}{rank}", 9), pair_set(folder / f"v{size}{rank}", 4, "validation"), False
    )
    with process_group("cpu") as (group, device):
        encoder = TorchEncoder(Checkpoint.open("clip", base), device, "fp32")  # type: ignore[arg-type]
        found, loss, images = gradient(encoder, data, group)
        torch.save(found, mine.with_suffix(".pt"))
        encoder = TorchEncoder(Checkpoint.open("clip", base), device, "fp32")  # type: ignore[arg-type]
        settings = Settings(batch_size=8, micro_batch=2, max_steps=3, epochs=9, learning_rate=1e-3, eval_every=2)
        report = RecordedReport()
        run = Run(encoder, data, settings, folder / f"run-{size}", report, group=group)
        run.train()
    weights = b"".join(p.detach().numpy().tobytes() for p in run.model.parameters())
    mine.with_suffix(".json").write_text(
        json.dumps(
            {
                "loss": loss,
                "images": images,
                "weights": hashlib.sha256(weights).hexdigest(),
                "notes": report.notes if group.is_main else 0,
                "loss_first": report.figures[0]["loss"],
                "loss_last": report.figures[-1]["loss"],
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
