"""The folder of a run: fresh, or one that a run was interrupted in."""

from __future__ import annotations

from pathlib import Path

from roco_search.errors import InputError

from .checkpoint import latest


def choose_start(output: Path, resume: bool) -> Path | None:
    """Return the checkpoint to go on from, or None for a new run.

    Raises
    ------
    InputError
        If the folder holds something and the run is not to be resumed, so that nothing is overwritten.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; give --output a folder.")
    if resume:
        return latest(output)
    if latest(output):
        raise InputError(f"{output} holds a run already; go on with --resume auto, or choose another --output.")
    if output.exists() and any(output.iterdir()):
        raise InputError(f"{output} is not empty, and nothing in it is overwritten; choose another --output.")
    return None
