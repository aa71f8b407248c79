"""Where a run begins: anew, at the last checkpoint, or where a finished run ended, which it then prolongs.

Nothing that a run has achieved is ever overwritten. A finished run has a model and the line ``ended`` in its facts, and
no checkpoints. To prolong it, its model is copied beside the checkpoints to come, so that a killed run begins there
again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roco_search.errors import InputError
from roco_search.models.catalogue.installed import belongs_to_a_model
from roco_search.system.files import is_temporary, replace_folder, temporary_folder, write_errors
from roco_search.training import checkpoint
from roco_search.training.outcome.card import FACTS, add_facts, read_facts
from roco_search.training.outcome.log import CURVES, LOG

_BASE = re.compile(r"start-(\d{8})")
_OWN = frozenset({FACTS, LOG, CURVES, "tensorboard", "checkpoints"})


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run begins.

    Attributes
    ----------
    checkpoint
        The checkpoint to continue from.
    step, base
        The step at which its schedule begins and the folder of its model, where it prolongs a finished run.
    ended
        The facts of the run where it has ended and has nothing left to do.
    """

    checkpoint: Path | None = None
    step: int = 0
    base: Path | None = None
    ended: Mapping[str, Any] | None = None


def choose_start(output: Path, resume: bool, prolong: int = 0) -> Start:
    """Return where a run begins.

    Parameters
    ----------
    output
        The folder of the run.
    resume
        Whether to continue a run that has not ended.
    prolong
        The number of epochs by which to continue a run that has ended; 0 is not to.

    Raises
    ------
    InputError
        If the folder has something in it and the run is not to be continued.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; choose a folder for `output`.")
    last, facts, base = checkpoint.latest(output), read_facts(output) or {}, _base(output)
    if base or (last and "ended" not in facts):
        if not resume:
            raise InputError(
                f"{output} already contains a run; continue it with `resume=True`, or choose another `output`."
            )
        if prolong and not base:
            raise InputError(f"The run in {output} has not ended; continue it without `prolong` first.")
        return Start(last, *(base or (0, None)))
    if "ended" in facts:
        step = facts["ended"]["step"]
        if prolong:
            return Start(None, step, checkpoint.checkpoint_folder(output) / f"start-{step:08d}")
        if resume:
            return Start(ended=facts)
        raise InputError(
            f"{output} already contains a finished run; train it for more epochs with `prolong`, or choose another "
            "`output`."
        )
    if prolong:
        raise InputError(f"{output} has no finished run; leave `prolong` out.")
    if output.exists() and not _has_achieved_nothing(output, facts):
        raise InputError(f"{output} is not empty, and nothing in it is overwritten; choose another `output`.")
    return Start()


def begin_to_prolong(output: Path, base: Path) -> None:
    """Copy the model of a finished run to ``base``, unless that was done before. Raises `StorageFull`, `InputError`."""
    if base.exists():
        return
    checkpoint.remove(output)
    with write_errors(output):
        base.parent.mkdir()
        with temporary_folder(base) as fresh:
            for file in output.iterdir():
                if belongs_to_a_model(file.name):
                    shutil.copyfile(file, fresh / file.name)
            replace_folder(fresh, base)


def end(output: Path, ending: Mapping[str, Any], keep_checkpoints: bool) -> None:
    """Record that a run has ended, and remove what it needs no more. Raises `StorageFull` and `InputError`."""
    add_facts(output, {"ended": ending})
    if not keep_checkpoints:
        checkpoint.remove(output)
    elif base := _base(output):
        shutil.rmtree(base[1])


def _base(output: Path) -> tuple[int, Path] | None:
    """Return the step and the copy of the model from which a finished run is being prolonged."""
    for folder in checkpoint.checkpoint_folder(output).glob("start-*"):
        if match := _BASE.fullmatch(folder.name):
            return int(match[1]), folder
    return None


def _has_achieved_nothing(output: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a folder is empty, or has only what a run leaves that was broken off before its first checkpoint."""
    names = [entry.name for entry in output.iterdir()]
    # A kill while the log is made, the first file of all, leaves what was to become it.
    return all(map(is_temporary, names)) or (
        LOG in names
        and facts.get("step", 0) == 0
        and all(name in _OWN or belongs_to_a_model(name) or is_temporary(name) for name in names)
    )
