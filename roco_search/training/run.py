"""One contrastive training run, top to bottom.

    draw a batch -> read and augment ahead on threads -> gradient of the whole batch -> AdamW -> average
    now and then: look at the validation split, keep the best, write a checkpoint

Everything random is a function of the seed and the step, or is kept in the checkpoint: on a processor, with the same
number of threads, a run that was killed and resumed ends in the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import nn

from roco_search.errors import TrainingError
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.system.process import Interrupt
from roco_search.system.progress import Progress, following
from roco_search.training import checkpoint
from roco_search.training import towers as lora
from roco_search.training import towers as parts
from roco_search.training.batches import Batches, Drawn, Sampler
from roco_search.training.cached_texts import FrozenTexts, can_freeze
from roco_search.training.checkpoint import identity, refuse_other
from roco_search.training.distributed import World
from roco_search.training.ema import Average
from roco_search.training.gradcache import refuse_batch_statistics
from roco_search.training.losses import Objective
from roco_search.training.outcome.card import Story, write_card
from roco_search.training.outcome.log import Log, draw_curves
from roco_search.training.outcome.output import save_model
from roco_search.training.settings import Settings
from roco_search.training.step import Gradient, Inputs, text_features
from roco_search.training.validation import Look, Validation

if TYPE_CHECKING:
    from roco_search.datasets.pair import TrainingData

Ending = Literal["finished", "no better for a while", "interrupted"]


class Report(Progress, Protocol):
    """Follows a run: its steps as any `Progress`, each with the figures of its line in the log, and what is between."""

    def look(self, look: Look, best: bool) -> None:
        """The validation split was evaluated."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


@dataclass(slots=True)
class RunState:
    """How far a run is: its last step, the last one that was looked at, and the best.

    ``looks`` is how many looks in a row brought nothing better.
    """

    step: int = 0
    looked: int = -1
    best: float = -1.0
    best_step: int = 0
    looks: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. ``seconds`` and ``waited`` count this process's steps only, not the looks."""

    ending: Ending
    step: int
    best_step: int
    best: float
    seconds: float
    waited: float
    pairs: int
    unreadable: Mapping[str, str]


class Run:
    """A run that can be gone through once.

    Parameters
    ----------
    encoder
        The model to start from; its weights are trained in place.
    data
        What to learn from, and what to judge by.
    settings, output
        How, and the folder that takes the model, the log and the checkpoints.
    report
        Receives the progress and notes of the run.
    world
        The processes that train together.
    weights
        float ``(pairs,)``: how often each pair is drawn, relatively; None for each once an epoch.
    tensorboard
        Whether to write for it too.
    """

    def __init__(
        self,
        encoder: TorchEncoder,
        data: TrainingData,
        settings: Settings,
        output: Path,
        report: Report,
        *,
        world: World | None = None,
        weights: np.ndarray | None = None,
        tensorboard: bool = False,
    ) -> None:
        self.encoder, self.data, self.settings, self.output = encoder, data, settings, output
        self.report, self.world, self._tensorboard = report, world or World(), tensorboard
        torch.manual_seed(settings.seed)  # of adapters, which are the same everywhere
        model: nn.Module = encoder.model
        self.base_fingerprint = encoder.fingerprint
        self.adapted = lora.adapt(model, settings)
        parts.choose(model, settings)
        parts.train_mode(model, settings)
        refuse_batch_statistics(model)
        self.model = model
        self.objective = Objective(model, settings.objective)
        self.sampler = Sampler(len(data.train), settings.batch_size, settings.seed, weights)
        self.total = settings.epochs * self.sampler.steps_per_epoch
        self.total = min(self.total, settings.max_steps) if settings.max_steps else self.total
        inputs = Inputs(encoder, settings.image_size)
        part = self.world.part
        size = inputs.size if settings.augment else None
        self.batches = Batches(data.train.pairs, self.sampler, settings.seed, part, size, inputs.fit)
        frozen = None
        if can_freeze(model, settings):
            captions = (caption for pair in data.train.pairs for caption in pair.captions)
            frozen = FrozenTexts(model, captions, partial(text_features, encoder, inputs))
        self.gradient = Gradient(
            encoder, inputs, self.objective, settings.accumulation, settings.micro_batch, self.world, frozen
        )
        self.optimizer = torch.optim.AdamW(parts.parameter_groups(model, settings), betas=(0.9, 0.98), eps=1e-6)
        # fp16 has no room for small gradients: the loss is scaled up before, and they are scaled down after.
        self.scaler = torch.amp.GradScaler(encoder.device.type, enabled=encoder.precision == "fp16")
        self.average = Average(model, settings.averaging)
        self.validation = Validation(encoder, data.validation)
        self.progress = RunState()
        self.story = Story(encoder, data, settings, self.total)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint. Raises `TrainingError` where it belongs to another run."""
        for note in refuse_other(state["identity"], identity(self)):
            self.report.note(note)
        own = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, tensor in state["weights"].items():
                own[name].copy_(tensor)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.average.load(state["average"])
        self.progress = RunState(**state["progress"])
        checkpoint.restore_random_state(state["random"][self.world.rank])

    def go(self) -> Outcome:
        """Train to the end, or until it is interrupted or no longer gets better."""
        progress, seconds, ending = self.progress, 0.0, "finished"
        first = progress.step
        log = Log(self.output, first, self._tensorboard) if self.world.is_main else None
        if not first:
            self._seed()
        with following(self.report, self.total, first), Interrupt() as interrupt:
            if not first or (self._look_is_due() and progress.looked != first):
                self._look(log)
            for batch in self.batches.run(first, self.total):
                started = time.perf_counter()
                line = self._step(batch)
                seconds += time.perf_counter() - started
                line["pairs_per_second"] = round(len(batch.rows) * (progress.step - first) / seconds, 2)
                if log is not None:
                    log.write(line)
                self.report.advance(1, **line)
                stopped = self.world.agree(interrupt.asked)
                # an evaluation takes long; a request to stop takes effect before it
                looked = self._look_is_due() and not stopped
                if looked:
                    self._look(log)
                tired = 0 < self.settings.patience <= progress.looks
                if stopped or looked or tired or self._due(self.settings.checkpoint_every):
                    self.save_checkpoint()
                if stopped or tired:
                    ending = "interrupted" if stopped else "no better for a while"
                    break
        if log is not None:
            log.close()
            draw_curves(self.output, self.story.title)
        return Outcome(
            ending,  # type: ignore[arg-type]
            progress.step,
            progress.best_step,
            progress.best,
            seconds,
            self.batches.waited,
            (progress.step - first) * self.sampler.count,
            progress.unreadable,
        )

    def _seed(self) -> None:
        torch.manual_seed(self.settings.seed + self.world.rank)  # each process drops out what it likes

    def _look_is_due(self) -> bool:
        return self._due(self.settings.eval_every) or self.progress.step == self.total

    def _due(self, every: int) -> bool:
        return self.progress.step % (every or self.sampler.steps_per_epoch) == 0

    def _step(self, batch: Drawn) -> dict[str, Any]:
        """One update of the weights; returns its line of the log."""
        progress, settings = self.progress, self.settings
        factor = learning_rate_factor(batch.step, self.total, settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        for name, reason in batch.unreadable:
            if name not in progress.unreadable:
                progress.unreadable[name] = reason
                self.report.note(f"Not readable: {name}: {reason}")
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.gradient(self.data.train.pairs, batch, lambda value: self.scaler.scale(value).backward()).item()
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.world.sum_gradients(learning, self.objective.parameters if settings.logit_scale else ())
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(learning, settings.clip_norm).item()
        if not math.isfinite(loss) or not (math.isfinite(norm) or self.scaler.is_enabled()):
            last = checkpoint.latest(self.output)
            kept = f"{last.name} is intact." if last else "There is no checkpoint yet."
            raise TrainingError(
                f"The loss is no longer finite at step {batch.step + 1:,}; start again with a lower `learning_rate`, "
                f'or with `precision="fp32"`. {kept}'
            )
        self.scaler.step(self.optimizer)  # leaves a step out whose gradient overflowed
        self.scaler.update()
        self.objective.clamp()
        progress.step = batch.step + 1
        self.average.update(progress.step)
        return {
            "step": progress.step,
            "epoch": round(progress.step / self.sampler.steps_per_epoch, 4),
            "loss": loss,
            "learning_rate": max(group["lr"] for group in self.optimizer.param_groups),
            "logit_scale": self.model.logit_scale.exp().item(),  # type: ignore[operator]
            "gradient_norm": norm,
            "waited": round(self.batches.waited, 3),
        }

    def _look(self, log: Log | None) -> None:
        """Judge the model by global recall on the validation split; keep it where it is the best so far."""
        progress = self.progress
        if self.world.is_main:
            with self.average.applied():
                self.model.eval()
                look = self.validation(progress.step)
                best = look.mean > progress.best
                if best:
                    progress.best, progress.best_step = look.mean, progress.step
                    whole = lora.merged(self.model) if self.adapted else self.model
                    save_model(whole, self.encoder.checkpoint.directory, self.output)
                    write_card(self.output, self.story, look)
            if log is not None:
                log.write({"step": progress.step, "pool": look.pool, **look.recalls})
            self.report.look(look, best)
            progress.looks = 0 if best else progress.looks + 1
        progress.looked = progress.step
        told = self.world.gather_objects((progress.best, progress.best_step, progress.looks))[0]
        progress.best, progress.best_step, progress.looks = told
        parts.train_mode(self.model, self.settings)

    def save_checkpoint(self) -> None:
        """Write the state of the run. Every process keeps its random state; the first one writes."""
        random = self.world.gather_objects(checkpoint.random_state())
        if not self.world.is_main:
            return
        weights = {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        checkpoint.save(
            self.output,
            self.progress.step,
            {
                "identity": identity(self),
                "weights": weights,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "average": self.average.mean,
                "random": random,
                "progress": {name: getattr(self.progress, name) for name in RunState.__slots__},
            },
        )


def learning_rate_factor(step: int, total: int, warmup: int) -> float:
    """Linear warm-up, then a cosine down to zero; of a step from 0. ``warmup`` 0 is a tenth of all, at most 500."""
    warmup = warmup or min(500, total // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
