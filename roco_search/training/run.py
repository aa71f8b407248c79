"""One contrastive training run, top to bottom.

    draw a batch -> read and augment ahead on threads -> gradient of the whole batch -> AdamW -> moving average
    every few steps: validate, keep the best model, write a checkpoint

Everything random is a function of the seed and the step: on a processor, with the same number of threads, a run that
was killed and resumed ends in the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from roco_search.errors import TrainingError
from roco_search.models.encoder import ct_windows
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.system.process import Interrupt
from roco_search.system.progress import following
from roco_search.training import checkpoint
from roco_search.training.batches import Batch, Batches, Sampler
from roco_search.training.distributed import ProcessGroup
from roco_search.training.gradcache import refuse_batch_statistics
from roco_search.training.losses import Objective
from roco_search.training.outcome.card import RunSummary, write_card
from roco_search.training.outcome.log import Log, draw_curves
from roco_search.training.outcome.output import save_model
from roco_search.training.report import Ending, Report, RunResult, RunState
from roco_search.training.selection import MIN_POOL, ExponentialMovingAverage, Validation
from roco_search.training.settings import Settings
from roco_search.training.start import end
from roco_search.training.step import CachedTexts, Gradient, Inputs, can_cache, text_features
from roco_search.training.towers import add_adapters, merge_adapters, parameter_groups, set_train_mode, set_trainable

if TYPE_CHECKING:
    from roco_search.datasets.pair import TrainingData


class Run:
    """A training run, which can be run once.

    Parameters
    ----------
    encoder
        The model to start from; its weights are trained in place.
    data
        What to learn from, and what to validate on.
    settings, output
        How to train, and the folder for the model, the log and the checkpoints.
    report
        Receives the progress and notes of the run.
    group
        The processes that train together.
    weights
        float ``(pairs,)``: the relative frequency with which each pair is drawn; None draws each once an epoch.
    tensorboard
        Whether to write a log for TensorBoard too.
    start
        The step at which the run begins: above 0 where it prolongs a finished one.
    """

    def __init__(
        self,
        encoder: TorchEncoder,
        data: TrainingData,
        settings: Settings,
        output: Path,
        report: Report,
        *,
        group: ProcessGroup | None = None,
        weights: np.ndarray | None = None,
        tensorboard: bool = False,
        start: int = 0,
    ) -> None:
        self.encoder, self.data, self.settings, self.output = encoder, data, settings, output
        self.report, self.group, self._tensorboard = report, group or ProcessGroup(), tensorboard
        torch.manual_seed(settings.seed)  # adapters start the same in every process
        model: nn.Module = encoder.model
        self.base_fingerprint = encoder.fingerprint
        self.adapted = add_adapters(model, settings)
        set_trainable(model, settings)
        set_train_mode(model, settings)
        refuse_batch_statistics(model)
        self.model = model
        self.objective = Objective(model, settings.objective)
        self.sampler = Sampler(len(data.train), settings.batch_size, settings.seed, weights)
        steps = settings.epochs * self.sampler.steps_per_epoch
        steps = min(steps, settings.max_steps) if settings.max_steps else steps
        self.start, self.total = start, start + steps
        self.warmup = settings.warmup if 0 < settings.warmup < steps else min(500, steps // 10)
        self.chooses = len(data.validation) >= MIN_POOL
        inputs = Inputs(encoder, settings.image_size)
        shard = self.group.shard
        size = inputs.size if settings.augment else None
        self.batches = Batches(
            data.train.pairs, self.sampler, settings.seed, shard, size, inputs.fit, ct_windows=ct_windows(encoder)
        )
        cached = None
        if can_cache(model, settings):
            captions = (caption for pair in data.train.pairs for caption in pair.captions)
            cached = CachedTexts(model, captions, partial(text_features, encoder, inputs))
        self.gradient = Gradient(
            encoder,
            inputs,
            self.objective,
            settings.accumulation,
            settings.micro_batch,
            self.group,
            cached,
            settings.seed,
        )
        self.optimizer = torch.optim.AdamW(parameter_groups(model, settings), betas=(0.9, 0.98), eps=1e-6)
        # fp16 cannot represent small gradients: the loss is scaled up, and the gradients are scaled down again.
        self.scaler = torch.amp.GradScaler(encoder.device.type, enabled=encoder.precision == "fp16")
        self.average = ExponentialMovingAverage(model, settings.averaging)
        self.validation = Validation(encoder, data.validation)
        self.state = RunState(step=start)
        self.summary = RunSummary(encoder, data, settings, self.total, self.chooses)
        if self.group.is_main:
            self._explain()

    def _explain(self) -> None:
        """Say what a person would not expect of these settings and these data."""
        steps, settings = self.total - self.start, self.settings
        if settings.warmup >= steps:
            self.report.note(
                f"The warm-up of {settings.warmup:,} steps is as long as the run of {steps:,} or longer; it is "
                f"shortened to {self.warmup:,}."
            )
        if not self.chooses:
            self.report.note(
                f"The {len(self.data.validation):,} validation pairs are too few to choose a model by ({MIN_POOL} are "
                "needed): the last model is kept, and `patience` ends nothing."
            )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What distinguishes this run from others; a checkpoint records it."""
        precision, processes = self.encoder.precision, self.group.size
        return checkpoint.identity(
            self.base_fingerprint,
            self.data,
            self.settings,
            processes=processes,
            precision=precision,
            start=self.start,
        )

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Restore the state in a checkpoint. Raises `TrainingError` if it belongs to another run."""
        for note in checkpoint.refuse_other(saved["identity"], self.identity):
            self.report.note(note)
        own = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, tensor in saved["weights"].items():
                own[name].copy_(tensor)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.average.load(saved["average"])
        self.state = RunState(**saved["progress"])

    def train(self) -> RunResult:
        """Train to the end, or until the run is interrupted or no longer improves."""
        state, settings, seconds = self.state, self.settings, 0.0
        ending: Ending = "finished"
        first = state.step
        log = Log(self.output, first, self._tensorboard) if self.group.is_main else None
        with following(self.report, self.total, first), Interrupt() as interrupt:
            if state.looked != first and (first == self.start or self._validation_is_due()):
                self.validate(log)
            for batch in self.batches.run(first, self.total):
                started = time.perf_counter()
                line = self.take_step(batch)
                seconds += time.perf_counter() - started
                line["pairs_per_second"] = round(len(batch.rows) * (state.step - first) / seconds, 2)
                if log is not None:
                    log.write(line)
                self.report.advance(1, **line)
                stopped = self.group.any(interrupt.asked)
                validated = self._validation_is_due() and not stopped  # which takes long, and Ctrl-C means now
                if validated:
                    self.validate(log)
                stale = 0 < settings.patience <= state.looks
                over = stale or state.step == self.total
                due = settings.keep_checkpoints if over else validated or self._is_due(settings.checkpoint_every)
                if stopped or due:
                    self.save_checkpoint()
                if stopped or stale:
                    ending = "interrupted" if stopped else "no better for a while"
                    break
        if log is not None:
            log.close()
            draw_curves(self.output, self.summary.title)
            if ending != "interrupted":
                figures = {"ending": ending, "step": state.step, "best_step": state.best_step, "best": state.best}
                end(self.output, {**figures, "kept": self.kept}, settings.keep_checkpoints)
        return RunResult(
            ending,
            state.step,
            state.best_step,
            state.best,
            seconds,
            self.batches.waited,
            (state.step - first) * self.sampler.count,
            state.unreadable,
            self.kept,
        )

    @property
    def kept(self) -> Literal["best", "last"]:
        """Which model is kept."""
        return "best" if self.chooses else "last"

    def take_step(self, batch: Batch) -> dict[str, Any]:
        """Update the weights once; return the line of the log.

        Raises
        ------
        TrainingError
            If the loss is no longer finite, or too few images of the batch could be read.
        """
        state, settings = self.state, self.settings
        factor = learning_rate_factor(batch.step - self.start, self.total - self.start, self.warmup)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = parameters["base_lr"] * factor
        for name, reason in batch.unreadable:
            if name not in state.unreadable:
                state.unreadable[name] = reason
                self.report.note(f"Not readable: {name}: {reason}")
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.gradient(self.data.train.pairs, batch, lambda value: self.scaler.scale(value).backward()).item()
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.group.sum_gradients(learning, self.objective.parameters if settings.logit_scale else ())
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(learning, settings.clip_norm).item()
        if not math.isfinite(loss) or not (math.isfinite(norm) or self.scaler.is_enabled()):
            last = checkpoint.latest(self.output)
            kept = f"{last.name} is intact." if last else "There is no checkpoint yet."
            raise TrainingError(
                f"The loss is no longer finite at step {batch.step + 1:,}; start again with a lower `learning_rate`, "
                f'or with `precision="fp32"`. {kept}'
            )
        self.scaler.step(self.optimizer)  # omits a step whose gradient overflowed
        self.scaler.update()
        self.objective.clamp()
        state.step = batch.step + 1
        self.average.update(state.step)
        return {
            "step": state.step,
            "epoch": round(state.step / self.sampler.steps_per_epoch, 4),
            "loss": loss,
            "learning_rate": max(parameters["lr"] for parameters in self.optimizer.param_groups),
            "logit_scale": self.model.logit_scale.exp().item(),  # type: ignore[operator]
            "gradient_norm": norm,
            "waited": round(self.batches.waited, 3),
        }

    def validate(self, log: Log | None) -> None:
        """Measure global recall on the validation split, and keep the model if it is the best, or none is chosen."""
        state = self.state
        if self.group.is_main:
            with self.average.applied():
                self.model.eval()
                result = self.validation(state.step)
                best = result.mean > state.best or not self.chooses
                if best:
                    state.best, state.best_step = result.mean, state.step
                    whole = merge_adapters(self.model) if self.adapted else self.model
                    save_model(whole, self.encoder.checkpoint.directory, self.output)
                    write_card(self.output, self.summary, result)
            if log is not None:
                log.write({"step": state.step, "pool": result.pool, **result.recalls})
            self.report.validated(result, best)
            state.looks = 0 if best else state.looks + 1
        state.looked = state.step
        of_main = self.group.gather_objects((state.best, state.best_step, state.looks))[0]
        state.best, state.best_step, state.looks = of_main
        set_train_mode(self.model, self.settings)

    def save_checkpoint(self) -> None:
        """Write the state of the run, in the first process."""
        if not self.group.is_main:
            return
        weights = {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        checkpoint.save(
            self.output,
            self.state.step,
            {
                "identity": self.identity,
                "weights": weights,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "average": self.average.mean,
                "progress": {name: getattr(self.state, name) for name in RunState.__slots__},
            },
        )

    def _validation_is_due(self) -> bool:
        return self._is_due(self.settings.eval_every) or self.state.step == self.total

    def _is_due(self, every: int) -> bool:
        return self.state.step % (every or self.sampler.steps_per_epoch) == 0


def learning_rate_factor(step: int, total: int, warmup: int) -> float:
    """Return the share of the full rate at a step from 0: a linear warm-up, then a cosine down to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
