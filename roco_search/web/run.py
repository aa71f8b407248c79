"""One run of the demo over a library, and its private folder of thumbnails and uploads."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roco_search.library import Library
from roco_search.library.faults import no_image_yet
from roco_search.models import Device, load_encoder
from roco_search.system.files import temporary_folder
from roco_search.web.app import PORT, address, check_gradio, run, warm_up
from roco_search.web.desk import Desk


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder that only its owner can look into (mode 0700), and that is gone when the block ends.

    What a killed run left behind is removed first.
    """
    with temporary_folder(Path(tempfile.gettempdir()) / "roco-demo") as folder:
        yield folder


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
