"""Checkpoints: the state of a run on disk, from which it resumes as if it had never stopped.

A checkpoint is one file, written whole or not at all. The one before it is kept until the new one is complete. It
records the identity of its run (the model, the data, the settings), so that it is never resumed as another training.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from roco_search.datasets.pair import PairSet, TrainingData
from roco_search.errors import StorageFull, TrainingError
from roco_search.system.files import storage_full, write_errors, write_file
from roco_search.training.settings import Settings

FORMAT = 1
KEPT = 2
_NAME = re.compile(r"step-(\d{8})\.pt")
# What may differ when a run is resumed: it is then the same training, but no longer bit for bit.
_INCIDENTAL = {
    "threads": "the number of threads",
    "torch": "the version of torch",
    "precision": "the arithmetic",
    "drawing": "how batches and dropout are drawn",
}
_FREE = frozenset({"checkpoint_every", "keep_checkpoints"})  # settings without an effect on what is learned
_DRAWING = 2  # counted up when the same seed draws other batches, captions or dropout


def checkpoint_folder(output: Path) -> Path:
    """Return the folder of the checkpoints of a run."""
    return output / "checkpoints"


def latest(output: Path) -> Path | None:
    """Return the newest checkpoint of a run, or None."""
    found = sorted(path for path in checkpoint_folder(output).glob("step-*.pt") if _NAME.fullmatch(path.name))
    return found[-1] if found else None


def save(output: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write a checkpoint, whole or not at all, and remove all but the newest two.

    Raises
    ------
    StorageFull, InputError
        If it cannot be written; the last good one is still there.
    """
    folder = checkpoint_folder(output)
    path = folder / f"step-{step:08d}.pt"
    buffer = io.BytesIO()  # torch's own writer turns a full disk into an error without a reason
    torch.save({"format": FORMAT, "step": step, **state}, buffer)
    try:
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_file(path, buffer.getbuffer())
    except StorageFull as error:
        last = latest(output)
        then = (
            f"continue from {last.name} with `resume=True`" if last else "start again: there is no earlier checkpoint"
        )
        raise storage_full(output, f"Step {step:,} was not saved.", f"Free some space and {then}.") from error
    for old in sorted(folder.glob("step-*.pt"))[:-KEPT]:
        with suppress(OSError):  # The run has what it needs; the next checkpoint tries again.
            old.unlink()
    return path


def remove(output: Path) -> None:
    """Delete the checkpoints of a run that needs them no more."""
    with write_errors(output):
        shutil.rmtree(checkpoint_folder(output), ignore_errors=not checkpoint_folder(output).exists())


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint. Tensors, numbers and texts only: no code in it is ever run.

    Raises
    ------
    TrainingError
        If it is damaged, or of another version of roco.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not look at the check sums
            damaged = archive.testzip()
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # zipfile, pickle and torch each have their own
        damaged, state = str(path), {}
    if damaged is not None:
        raise TrainingError(
            f"The checkpoint {path} is damaged; delete it, and `resume=True` takes the one before it."
        ) from None
    if state.get("format") != FORMAT:
        raise TrainingError(f"The checkpoint {path} was written by another version of roco; start a new run.")
    return state


def identity(
    base: str, data: TrainingData, settings: Settings, *, processes: int, precision: str, start: int = 0
) -> dict[str, Any]:
    """Return what distinguishes a run from others, as numbers and texts.

    Parameters
    ----------
    base
        The fingerprint of the model that it started from.
    data, settings
        What it learns from, and how.
    processes, precision
        The number of processes, and the arithmetic that ``auto`` was resolved to.
    start
        The step at which its schedule began: above 0 where it prolongs another run.
    """
    return {
        "base": base,
        "train": digest(data.train),
        "validation": digest(data.validation),
        "settings": settings.to_dict(),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__.partition("+")[0],
        "precision": precision,
        "drawing": _DRAWING,
        "start": start,
    }


def digest(pairs: PairSet) -> str:
    """Return a hash of the order, the captions and the file names of a split, as 16 hexadecimal digits."""
    found = hashlib.sha256()
    for pair in pairs.pairs:
        name = pair.picture.name.replace("\\", "/").rpartition("/")[2]  # a data set may be moved between two runs
        found.update(f"{name}\0{pair.caption}\0{sorted(pair.captions)}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()[:16]


def refuse_other(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Compare the identity in a checkpoint with that of a run; return notes for a person.

    Raises
    ------
    TrainingError
        If resuming it would be another training.
    """
    for key, name in (
        ("base", "another model"),
        ("train", "other training pairs"),
        ("validation", "another validation split"),
    ):
        if there.get(key) != here[key]:
            raise TrainingError(
                f"The checkpoint belongs to a run with {name}; use what that run had, or choose another `output`."
            )
    refuse_other_settings(
        {**there.get("settings", {}), "processes": there.get("processes")},
        {**here["settings"], "processes": here["processes"]},
    )
    other = [name for key, name in _INCIDENTAL.items() if there.get(key) != here[key]]
    return [f"Note: {', '.join(other)} changed, so the result will not be bit-identical."] if other else []


def refuse_other_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `TrainingError` where a setting that has an effect on what is learned is not what it was."""
    changed = [name for name, value in now.items() if name not in _FREE and before.get(name, value) != value]
    if changed:
        names = ", ".join(f"{_named(name)} was {before[name]}" for name in changed)
        raise TrainingError(f"`output` belongs to a run in which {names}; set that, or choose another `output`.")


def _named(name: str) -> str:
    return "the number of processes" if name == "processes" else f"`{name}`"
