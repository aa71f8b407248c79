"""What runs in a Space: the demo over a library of examples, which is indexed anew at each start."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roco_search.library import Library
from roco_search.models import Encoder, load_encoder
from roco_search.web.app import PORT, Address, serve
from roco_search.web.backend import Desk
from roco_search.web.http.gate import MEGABYTE, Rules
from roco_search.web.http.limits import Rate
from roco_search.web.run import scratch_folder
from roco_search.web.space.export import MARK

RULES = Rules(
    longest_upload=20 * MEGABYTE,
    rates={"queue": Rate(30, 2), "upload": Rate(6, 0.1), "other": Rate(400, 50)},
)


def run_space(folder: Path) -> None:
    """Serve the Space in a folder until it is stopped.

    On Hugging Face (``SPACE_ID`` is set) it listens on every address behind their proxy, as a Space must; elsewhere
    only on this machine's own. ``PORT`` sets another port than 7860.
    """
    print("Reading the examples…", flush=True)
    with scratch_folder() as scratch, example_desk(folder, scratch / "library") as desk:
        serve(desk, scratch, space_address(), lambda url: print(f"roco is at {url}", flush=True))


@contextmanager
def example_desk(folder: Path, library: Path) -> Iterator[Desk]:
    """Index the examples of a Space into a new library, and yield a desk over it."""
    encoder = space_encoder(folder)
    with Library.create_or_open(library) as opened:
        opened.index(example_folders(folder), encoder)
    with Desk(library, encoder) as desk:
        yield desk


def example_folders(folder: Path) -> list[Path]:
    """Return the folders of the examples: the Space's own, and the test files that are part of pydicom's package."""
    import pydicom.data

    return [folder / "examples", Path(pydicom.data.__file__).parent / "test_files"]


def space_encoder(folder: Path) -> Encoder:
    """Return the model of a Space: the one in its folder, or else the one that comes with roco."""
    model = json.loads((folder / MARK).read_text("utf-8"))["model"]
    return load_encoder("roco-mini" if model is None else folder / model, "cpu")


def space_address() -> Address:
    """Return where a Space listens, and which requests it accepts."""
    port = int(os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT") or PORT)
    if not os.environ.get("SPACE_ID"):
        return Address(port=port, rules=RULES)
    hosts = frozenset(host.strip().lower() for host in os.environ.get("SPACE_HOST", "").split(",") if host.strip())
    public = Rules(
        hosts=hosts,
        public=True,
        longest_upload=RULES.longest_upload,
        framed_by=("https://huggingface.co", "https://*.huggingface.co", "https://*.hf.space"),
        rates=RULES.rates,
    )
    return Address(host="0.0.0.0", port=port, rules=public)
