"""``roco train``: fine-tune a dual encoder on pairs of images and captions."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roco_search.cli.options import (
    DeviceOption,
    JsonOption,
    QuietOption,
    checked_device,
    in_panels,
    installed_models,
    one_of,
    with_settings,
)
from roco_search.cli.output import print_json, print_line, print_rows, say, short_path
from roco_search.cli.progress import TrainingProgress
from roco_search.cli.terminal import Waiting
from roco_search.system import process
from roco_search.system.text import duration, size
from roco_search.training.settings import Settings, with_preset

if TYPE_CHECKING:
    from roco_search.training.report import RunResult
    from roco_search.training.session import TrainingPlan


OPTIONS = {
    "batch_size": ("N", "Contrastive batch size: the number of candidates each image and each text is compared with."),
    "micro_batch": ("N", "The number of pairs in memory at once; changes memory and time only."),
    "accumulation": ("exact|naive", "naive averages over micro-batches, so that each image has fewer candidates."),
    "objective": ("LOSS", "auto, info-nce or sigmoid; auto is the loss the model was trained with."),
    "precision": ("auto|fp32|bf16|fp16", "The arithmetic; weights stay fp32."),
    "image_tower": ("PART", "What is trained in the image tower: all, last:4, last:30%, projection, locked or lora:8."),
    "text_tower": ("PART", "The same for the text tower."),
    "learning_rate": ("RATE", "Peak learning rate."),
    "image_factor": ("X", "Factor on the learning rate of the image tower."),
    "text_factor": ("X", "Factor on the learning rate of the text tower."),
    "projection_factor": ("X", "Factor on the learning rate of the projections and the temperature."),
    "layer_decay": ("X", "Factor on the learning rate for each block below the last."),
    "weight_decay": ("X", "Weight decay of matrices."),
    "warmup": ("N", "Steps to the peak learning rate; 0: a tenth of all, at most 500."),
    "clip_norm": ("X", "Maximum norm of the gradient."),
    "logit_scale": ("", "Whether the temperature learns."),
    "epochs": ("N", "Maximum number of times each pair is seen."),
    "max_steps": ("N", "End after this number of steps; 0: no limit."),
    "averaging": ("DECAY", "Save an exponential moving average of the weights, such as 0.995; 0: none."),
    "augment": ("", "Whether images are cropped, turned, windowed and masked at random."),
    "image_size": ("N", "Pixels to train at, for a convolutional tower; 0: the model's own."),
    "eval_every": ("N", "Steps between validations; 0: an epoch."),
    "checkpoint_every": ("N", "Steps between checkpoints; 0: an epoch."),
    "keep_checkpoints": ("", "Whether the checkpoints of a finished run are kept."),
    "patience": ("N", "End after this number of validations without a better one; 0: never."),
    "cases_apart": ("", "Whether training pairs of cases in the validation split are left out."),
    "seed": ("N", "Seed of everything random."),
}


PANELS = {
    "The run": (
        "base",
        "output",
        "preset",
        "resume",
        "prolong",
        "epochs",
        "max_steps",
        "patience",
        "seed",
        "device",
        "dry_run",
    ),
    "Which pairs": ("licence", "where", "caption_column", "cases_apart"),
    "Batch and memory": ("batch_size", "micro_batch", "accumulation", "precision", "image_size"),
    "What is trained": ("image_tower", "text_tower", "logit_scale", "averaging", "augment", "objective"),
    "Learning rate": (
        *("learning_rate", "image_factor", "text_factor", "projection_factor", "layer_decay"),
        *("weight_decay", "warmup", "clip_norm"),
    ),
    "Validation and checkpoints": (
        "eval_every",
        "checkpoint_every",
        "keep_checkpoints",
        "tensorboard",
        "push",
        "json",
        "quiet",
    ),
}


@in_panels(PANELS)
@with_settings(Settings, OPTIONS)
def train(
    given: dict[str, Any],
    data: Annotated[str, typer.Argument(metavar="DATA", help="Images and captions: a folder, a file, or a hub id.")],
    base: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="The model to start from.", autocompletion=installed_models)
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the model, the log and the checkpoints.")],
    licence: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help='Only images under this licence, such as "CC BY"; repeatable.'),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Only pairs with this value, in both splits; repeatable."),
    ] = None,
    caption_column: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another column of captions; repeatable.")
    ] = None,
    preset: Annotated[str | None, typer.Option(metavar="roco-v1", help="The settings of ROCO-Radiology-CLIP.")] = None,
    resume: Annotated[
        str, typer.Option(metavar="never|auto", help="auto: continue from the last checkpoint in --output.")
    ] = "never",
    prolong: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Continue the finished run in --output with N epochs more.", show_default=False
        ),
    ] = 0,
    device: DeviceOption = "auto",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the plan, memory and time of the first steps; write nothing."),
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write logs for TensorBoard too.")] = False,
    push: Annotated[
        str | None, typer.Option(metavar="ORG/NAME", help="Upload the model at the end.", show_default=False)
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fine-tune a dual encoder on images and their captions.

    `roco train` recognises the layout of DATA: the ROCO repository with its images, ROCOv2's tables, Hugging Face's
    imagefolder, a saved data set or Parquet files, a CSV or TSV of paths and captions, or the id of a data set on the
    hub, which is then downloaded. DICOM works too. The batch is exact, however little of it fits into memory. The best
    model by recall over the whole validation split is kept; Ctrl-C saves the run, and --resume auto continues it.
    Several processes: torchrun --nproc-per-node 2 -m roco_search train …

    Example: `roco train ./pairs --base roco-mini --output ./tuned`
    """
    checked = checked_device(device)
    one_of("--resume", resume, ("never", "auto"))
    settings = with_preset(preset, given)
    with Waiting("Reading the data and the model", quiet=quiet or os.environ.get("RANK", "0") != "0") as waiting:
        process.prepare()
        from roco_search.training.session import Session

        told = TrainingProgress(quiet)
        session = Session(data, base, output, settings, licence or (), where or (), caption_column or (), checked, told)
        if dry_run:
            waiting.now("Measuring the first steps")
            plan = session.plan()
            if plan is not None:
                show_plan(plan, json)
            return
        outcome = session.train(resume == "auto", tensorboard, prolong)
    if outcome is None:  # another process prints
        return
    address = session.push(push) if push else None
    if json:
        print_json({"output": output, "pushed": address, **session.facts(outcome)})
    elif not quiet:
        show_outcome(outcome, data, output, address)
    if outcome.ending == "interrupted":
        raise typer.Exit(130)
    from roco_search.models.catalogue.registry import find
    from roco_search.models.compiling.compiler import prepare

    with Waiting("Preparing the model for searching", quiet=quiet):
        prepare(find(str(output.absolute())), told.note)


def show_plan(plan: TrainingPlan, json: bool) -> None:
    """Print how much memory and time a run would take."""
    if json:
        print_json(plan)
        return
    rows = [
        ("steps", f"{plan.steps:,} ({plan.steps_per_epoch:,} an epoch)"),
        ("batch", f"{plan.batch_size:,}, {plan.micro_batch:,} in memory at once"),
        ("learns", f"{plan.learning:,} of {plan.parameters:,} parameters"),
        ("objective", plan.objective),
        ("arithmetic", f"{plan.precision} on {plan.device}"),
        ("memory", f"{size(plan.memory_bytes)} in the first steps"),
        ("checkpoints", f"two of {size(plan.checkpoint_bytes)} while it runs"),
        ("a step", f"{plan.step_seconds:.2f} s, of which {100 * plan.waited:.0f} % waits for data"),
        ("all steps", f"{duration(plan.total_seconds)}, plus the evaluations on the validation split"),
    ]
    print_rows(("plan", ""), rows)


def show_outcome(outcome: RunResult, data: str, output: Path, address: str | None) -> None:
    """Print the outcome and the next commands."""
    if outcome.ending == "interrupted":
        say(f"Stopped after step {outcome.step:,}; the same command with --resume auto continues.")
        return
    if outcome.seconds:
        ended = " (no better for a while)" if outcome.ending != "finished" else ""
        say(
            f"Ended after step {outcome.step:,}{ended}: {outcome.pairs / outcome.seconds:.1f} pairs/s, "
            f"{duration(outcome.seconds)} of steps; {duration(outcome.waited)} more waited for data."
        )
    if address:
        say(f"Pushed to {address}.")
    model = short_path(output)
    if outcome.kept == "best" and outcome.best_step == 0:
        print_line(
            f"No step was better on the validation split than the model it began with, whose mean recall is "
            f"{outcome.best:.3f}; that model is in {model}. Next: a lower --learning-rate, or more pairs, and another "
            "--output"
        )
        return
    which = "best" if outcome.kept == "best" else "last"
    print_line(
        f"The {which} model, of step {outcome.best_step:,} with a mean recall of {outcome.best:.3f}, is in {model}. "
        f"Next: roco eval {shlex.quote(data)} --model {model}; roco index FOLDER --model {model}"
    )
