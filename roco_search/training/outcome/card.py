"""The model card of a run, in the hub's form: what it learned from, how, and what it reached."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import roco_search
from roco_search.datasets.licences import count_licences
from roco_search.datasets.report import licence_of
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.system.files import write_errors, write_file
from roco_search.training.selection import ValidationResult
from roco_search.training.settings import Settings

if TYPE_CHECKING:
    from roco_search.datasets.pair import TrainingData

FACTS = "training.json"
KS = (1, 5, 10)
DIRECTIONS = ("image-to-text", "text-to-image")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The facts of a run for its card and its plot; none of them names a folder of this machine.

    ``chooses`` is whether the model is the best by the validation split, and not the last.
    """

    encoder: TorchEncoder
    data: TrainingData
    settings: Settings
    steps: int
    chooses: bool = True

    @property
    def base(self) -> str:
        """The name of the model that the run started from; of a folder, its last part."""
        name = self.encoder.name
        return Path(name).name if Path(name).is_absolute() else name

    @property
    def title(self) -> str:
        """One line for a plot."""
        settings = self.settings
        batch = f"batch {settings.batch_size}"
        if settings.accumulation == "naive":
            batch = f"naive batches of {settings.micro_batch} x {settings.batch_size // settings.micro_batch}"
        return f"{self.base} on {self.data.train.name}, {len(self.data.train):,} pairs, {batch}"


def write_card(output: Path, summary: RunSummary, result: ValidationResult) -> None:
    """Write ``README.md`` and ``training.json`` beside the model. Raises `StorageFull` and `InputError`."""
    facts = {
        "roco": roco_search.__version__,
        "revision": revision(),
        "base": summary.base,
        "base_fingerprint": summary.encoder.fingerprint,
        "data": {"name": summary.data.train.name, "layout": summary.data.train.layout, "cut": summary.data.cut},
        "pairs": {"train": len(summary.data.train), "validation": len(summary.data.validation)},
        "settings": summary.settings.to_dict(),
        "precision": summary.encoder.precision,
        "step": result.step,
        "steps": summary.steps,
        "validation": {"pool": result.pool, **result.recalls},
    }
    with write_errors(output):
        write_file(output / FACTS, json.dumps(facts, indent=2) + "\n")
        write_file(output / "README.md", card(summary, result))


def card(summary: RunSummary, result: ValidationResult) -> str:
    """Return the card in Markdown."""
    settings, train = summary.settings, summary.data.train
    rows = "\n".join(
        f"| {direction.replace('-', ' ')} | "
        + " | ".join(f"{100 * result.recalls[f'{direction} recall@{k}']:.1f} %" for k in KS)
        + " |"
        for direction in DIRECTIONS
    )
    batch = (
        f"{settings.batch_size}, exact (gradient caching, {settings.micro_batch} in memory at once)"
        if settings.accumulation == "exact"
        else f"{settings.micro_batch}, gradients of {settings.batch_size // settings.micro_batch} of them averaged"
    )
    cut = " (cut from the training pairs by case)" if summary.data.cut else ""
    return f"""---
{yaml.safe_dump(metadata(summary, result), sort_keys=False)}---

# {summary.base}, fine-tuned on {train.name}

A dual encoder for radiology images and English texts, trained with `roco train`
(roco-search {roco_search.__version__}{f", revision {found}" if (found := revision()) else ""}).

**For research, not for clinical use.** A score is a similarity; it does not diagnose.

## Numbers

Recall over the whole pool of {result.pool:,} validation pairs{cut}, after step {result.step:,} of {summary.steps:,},
{"which was the best by the mean of all six" if summary.chooses else "the last; the pool is too small to choose by"}.
Identical captions count as found.

| pool of {result.pool:,} | recall@1 | recall@5 | recall@10 |
|---|---|---|---|
{rows}

## Data

{train.name}: {len(train):,} training pairs, {len(summary.data.validation):,} for validation.
Licences as the data set states them: {count_licences(map(licence_of, train.pairs))}.

## Settings

| | |
|---|---|
| base | {summary.base} |
| contrastive batch | {batch} |
| image tower / text tower | {settings.image_tower} / {settings.text_tower} |
| learning rate, weight decay | {settings.learning_rate:g}, {settings.weight_decay:g} |
| arithmetic | {summary.encoder.precision}, weights in float32 |
| augmentation | {"crop, turn, window, masked corners; never flipped" if settings.augment else "none"} |
| seed | {settings.seed} |

Everything else is in `{FACTS}`; every step is in `log.jsonl`.

## Use

```sh
roco index ./scans --model THIS_FOLDER
roco query "pleural effusion"
```
"""


def metadata(summary: RunSummary, result: ValidationResult) -> dict[str, Any]:
    """Return the card's header, as the hub reads it, ``model-index`` included."""
    train = summary.data.train
    metrics = [
        {
            "type": f"recall_at_{k}",
            "name": f"{direction} recall@{k}",
            "value": result.recalls[f"{direction} recall@{k}"],
        }
        for direction in DIRECTIONS
        for k in KS
    ]
    entry = {
        "task": {"type": "image-text-retrieval", "name": f"retrieval in a pool of {result.pool}"},
        "dataset": {"type": train.name, "name": train.name, "split": summary.data.validation.split},
        "metrics": metrics,
    }
    header: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "zero-shot-image-classification",
        "license": "other",  # licences differ from image to image; they are listed below
        "license_name": "as-the-data",
        "language": "en",
        "tags": ["radiology", "medical-imaging", "clip", "roco-search"],
        "metrics": ["recall"],
        "model-index": [{"name": f"{summary.base} on {train.name}", "results": [entry]}],
    }
    if "/" in summary.base:  # the hub takes repositories only
        header["base_model"] = summary.base
    if "/" in train.name:
        header["datasets"] = [train.name]
    return header


def revision() -> str | None:
    """Return the git revision of roco itself where it runs from a checkout; ``-dirty`` with changes."""
    folder = Path(roco_search.__file__).parent
    if not (folder.parent / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def add_facts(directory: Path, facts: Mapping[str, Any]) -> None:
    """Add to what `write_card` wrote. Raises `StorageFull` and `InputError`."""
    with write_errors(directory):
        write_file(directory / FACTS, json.dumps({**(read_facts(directory) or {}), **facts}, indent=2) + "\n")


def read_facts(directory: Path) -> Mapping[str, Any] | None:
    """Return what `write_card` wrote of a model's training, or None."""
    try:
        facts = json.loads((directory / FACTS).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None
