"""One run of ``roco demo``: its private folder, the library's model, and the server until it is interrupted.

Thumbnails and uploads are kept in the private folder, which is removed when the run ends.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roco_search.library import Library
from roco_search.library.faults import no_image_yet
from roco_search.models import Device, load_encoder
from roco_search.models.catalogue import registry
from roco_search.system.files import temporary_folder
from roco_search.web.app import PORT, check_gradio, safe_address, serve, warm_up
from roco_search.web.backend import Desk
from roco_search.web.http.handover import check_pattern

EXAMPLES = Path(__file__).parents[1] / "examples"
"""Images that may be shown, with ``captions.csv``; ``ATTRIBUTION.md`` says where they come from."""


def run_demo(
    library: Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    auth: str | None = None,
    root_path: str | None = None,
    device: Device = "auto",
    redact_paths: bool = False,
    viewer: str | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Serve the demo over a library until it is interrupted.

    Parameters
    ----------
    library
        The library's folder.
    host, port, auth, root_path
        See `safe_address`.
    device
        The device that the model runs on.
    redact_paths
        Show keyed hashes instead of file names.
    viewer
        The pattern of a link to another viewer; see `roco_search.web.http.handover.check_pattern`.
    ready
        Called with the address as soon as it can be opened.

    Raises
    ------
    InputError
        If gradio is not installed, the address is not safe or already in use, or `viewer` is no pattern.
    LibraryNotFound, LibraryEmpty, ModelNotFound, LibraryError
    """
    check_gradio()
    address = safe_address(host, port, auth, root_path)
    pattern = check_pattern(viewer, redact_paths=redact_paths) if viewer else ""
    with Library.open(library) as opened:
        active = opened.model
    if active is None or not active.count:
        raise no_image_yet(library)
    with (
        Desk(library, load_encoder(active.model, device), redact_paths=redact_paths) as desk,
        scratch_folder() as folder,
    ):
        threading.Thread(target=warm_up, args=(desk,), name="roco-warm-up", daemon=True).start()
        serve(desk, folder, address, ready, root_path, pattern)


@contextmanager
def example_library() -> Iterator[Path]:
    """Yield a library of the example images that come with roco; it is removed at the end of the block."""
    check_gradio()
    with temporary_folder(Path(tempfile.gettempdir()) / "roco-examples") as folder:
        path = folder / "library"
        with Library.create_or_open(path) as library:
            library.index([EXAMPLES], load_encoder(registry.default()))
        yield path


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder that only its owner can read (mode 0700); it is removed at the end of the block.

    Folders that killed runs left behind are removed first.
    """
    with temporary_folder(Path(tempfile.gettempdir()) / "roco-demo") as folder:
        yield folder
