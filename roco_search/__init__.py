"""roco: find radiology images in words.

The public names are gathered here and imported at their first use, so that the command line starts at once.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own constant takes 5 ms to load, a tenth of a warm query
if TYPE_CHECKING:
    from typing import Any

    from roco_search.errors import RocoError
    from roco_search.imaging import Frame, Window, open_image
    from roco_search.library import Library
    from roco_search.models import Encoder, load_encoder
    from roco_search.search import Hit

__version__ = "0.2.0"

_ROOMS = {
    "Encoder": "models",
    "Frame": "imaging",
    "Hit": "search",
    "Library": "library",
    "RocoError": "errors",
    "Window": "imaging",
    "load_encoder": "models",
    "open_image": "imaging",
}

__all__ = [
    "Encoder",
    "Frame",
    "Hit",
    "Library",
    "RocoError",
    "Window",
    "__version__",
    "load_encoder",
    "open_image",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_ROOMS[name]}", __name__), name)
