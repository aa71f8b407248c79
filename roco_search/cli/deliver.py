"""What can be done with hits besides printing them: copy their files, open one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.cli.output import say
from roco_search.errors import ImageError, InputError
from roco_search.imaging.archives import Member, locate
from roco_search.system.files import FULL, replacing, storage_full, write_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roco_search.search import Hit, Term

PATIENCE = 3.0  # Seconds after which an opener that is still running is taken to be the viewer itself.


def deliver(hits: list[Hit], terms: list[Term], html: Path | None, copy_to: Path | None, open_first: bool) -> None:
    """Do with hits what was asked for."""
    if html is not None:
        from roco_search.cli.render.contact_sheet import write_contact_sheet

        write_contact_sheet(html, hits, terms)
        say(f"{html} contains {len(hits)} images; protect it as you protect the originals.")
    if copy_to is not None:
        say(f"{copy_files(hits, copy_to)} files copied to {copy_to}.")
    if open_first and hits:
        open_file(hits[0].path)


def copy_files(hits: Sequence[Hit], folder: Path) -> int:
    """Copy the file of each hit, once, as ``RANK_NAME``; return how many were copied. Nothing is ever overwritten.

    Raises
    ------
    InputError
        If the folder already contains a file of that name, or a file cannot be copied.
    StorageFull
        If the disk of the folder is full. A file that could not be copied completely is removed.
    """
    digits = max((len(str(hit.rank)) for hit in hits), default=1)
    targets: dict[str, Path] = {}
    for hit in hits:
        targets.setdefault(hit.path, folder / f"{hit.rank:0{max(digits, 2)}}_{Path(hit.path).name}")
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
        raise InputError(f"{path} is in an archive, which no viewer looks into; copy it out with --copy-to FOLDER.")
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
