"""Files of the library leave it as they are: copied to a folder, or opened in the system's viewer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.errors import ImageError, InputError
from roco_search.imaging.archives import Member, locate
from roco_search.system.files import FULL, replacing, storage_full, sweep, write_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 3.0  # Seconds after which an opener that is still running is taken to be the viewer itself.


def copy_files(files: Sequence[tuple[int, str]], folder: Path) -> int:
    """Copy files to a folder, which is created, each once and as ``RANK_NAME``; nothing is ever overwritten.

    Parameters
    ----------
    files
        The rank and the path of each, as the library has stored it.
    folder
        Where the copies go.

    Returns
    -------
    int
        How many were copied.

    Raises
    ------
    InputError
        If the folder already contains a file of that name, or a file cannot be copied.
    StorageFull
        If the disk of the folder is full. A file that could not be copied completely is removed.
    """
    digits = max((len(str(rank)) for rank, _ in files), default=1)
    targets: dict[str, Path] = {}
    for rank, path in files:
        targets.setdefault(path, folder / f"{rank:0{max(digits, 2)}}_{Path(path).name}")
    sweep(folder)
    for target in targets.values():
        if target.exists() or target.is_symlink():
            raise InputError(f"{target} exists, and nothing is overwritten; choose another folder.")
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for source, target in targets.items():
        _copy(locate(source), target)
    return len(targets)


def _copy(source: Path | Member, target: Path) -> None:
    try:
        with replacing(target, mode=None, overwrite=False) as made:
            with source.open("rb") as file, made.open("wb") as copy:
                shutil.copyfileobj(file, copy)
            if isinstance(source, Path):
                shutil.copystat(source, made)
    except ImageError as error:
        raise InputError(f"{source} cannot be copied: {error}.") from None
    except OSError as error:
        if error.errno in FULL:
            raise storage_full(target.parent, f"{source} was not copied; those before it were.") from None
        raise InputError(
            f"{source} cannot be copied to {target} ({error.strerror}); the files before it were copied."
        ) from None


def open_file(path: str) -> None:
    """Open a file in the viewer that the system has for it.

    Raises
    ------
    InputError
        If there is no program that opens files, or it reports that it could not.
    """
    if isinstance(locate(path), Member):
        raise InputError(f"{path} is in an archive, which no viewer looks into; copy it out with `copy_to`.")
    if sys.platform == "win32":
        os.startfile(path)
        return
    opener = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if opener is None:
        raise InputError(f"This machine has no program that opens files (xdg-open); open {path} yourself.")
    quiet = subprocess.DEVNULL
    started = subprocess.Popen([opener, path], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        code = started.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        return
    if code:
        raise InputError(f"{Path(opener).name} found no program to open {path} with; open it yourself.")
