"""The private folder of one run of the demo: thumbnails and uploads lie in it, and it is gone when the run ends."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from roco_search.library import Library
from roco_search.library.faults import no_image_yet
from roco_search.models import Device, load_encoder
from roco_search.web.app import PORT, address, check_gradio, run, warm_up
from roco_search.web.desk import Desk

PREFIX = "roco-demo-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder that only its owner can look into (mode 0700) while the block runs.

    What a run left behind that was killed is removed first.
    """
    parent = Path(tempfile.gettempdir())
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove the folders of this person's runs whose process is no more."""
    for folder in parent.glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        with suppress(OSError):
            # A link in a folder that everybody may write to could lead anywhere.
            mine = not folder.is_symlink() and folder.is_dir() and folder.stat().st_uid == os.getuid()
            if mine and owner.isdigit() and not _alive(int(owner)):
                shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def serve(
    library: Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    auth: str | None = None,
    device: Device = "auto",
    redact_paths: bool = False,
    ready: Callable[[str], None] = print,
) -> None:
    """Serve the demo over a library until it is interrupted.

    Parameters
    ----------
    library
        Where it lies.
    host, port, auth
        See `address`.
    device
        Where the model runs.
    redact_paths
        Show keyed hashes instead of file names.
    ready
        Is told the address when it can be opened.

    Raises
    ------
    InputError
        If gradio is not installed, the address is not safe or is taken.
    LibraryNotFound, LibraryEmpty, ModelNotFound, LibraryError
    """
    check_gradio()
    where = address(host, port, auth)
    with Library.open(library) as opened:
        active = opened.model
    if active is None or not active.count:
        raise no_image_yet(library)
    with (
        Desk(library, load_encoder(active.model, device), redact_paths=redact_paths) as desk,
        scratch_folder() as folder,
    ):
        threading.Thread(target=warm_up, args=(desk,), name="roco-warm-up", daemon=True).start()
        run(desk, folder, where, ready)
