"""Frames of the library as JPEGs: rendered on request, and kept in the private folder of the run."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from roco_search.errors import ImageError, UnreadableImage
from roco_search.imaging import Window, open_image
from roco_search.imaging.archives import locate
from roco_search.library.ingest.reading import rendering
from roco_search.models.encoder import ct_windows, fit_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

    from roco_search.library import StoredFrame
    from roco_search.models import Encoder

SIZES = (160, 320, 1280, 4096)
"""Sizes that can be requested, in pixels of the longer side: in a strip, on a card, large, and zoomed."""
QUALITY = 85
_HEATING = Lock()  # a heat map is 144 embeddings: one at a time, so that pictures and searches are served beside it
MOST_BYTES = 256 * 2**20  # of JPEGs on disk; the least recently used is deleted first


class PictureCache:
    """Rendered frames, kept in a private folder.

    Parameters
    ----------
    folder
        Where they are kept; it is created.
    most
        The limit of their total size in bytes.
    give_way
        Called before a picture is drawn that is not kept: lets what is more urgent go first.
    """

    def __init__(self, folder: Path, most: int = MOST_BYTES, give_way: Callable[[], None] | None = None) -> None:
        folder.mkdir(mode=0o700)
        self._give_way = give_way or (lambda: None)
        self._folder, self._most = folder, most
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def picture(self, frame: StoredFrame, size: int, window: Window | None = None, *, overlays: bool = False) -> bytes:
        """Return a frame as a JPEG of at most `size` pixels on its longer side; see `open_image` for the rest.

        Raises
        ------
        UnreadableImage, NotAnImage
            If the file no longer exists, or can no longer be read.
        """
        if window is not None or overlays:  # a slider is being moved: the same picture is hardly requested again
            return to_jpeg(rendered(frame.path, frame.frame, size, window, overlays=overlays))
        with suppress(OSError):
            state = locate(frame.path).stat()
            # A changed file is another picture: its size and time are part of the name.
            name = f"{frame.id}-{size}-{state.st_size}-{state.st_mtime_ns}.jpg"
            if (kept := self._read(name)) is not None:
                return kept
            self._give_way()
            data = to_jpeg(rendered(frame.path, frame.frame, size))
            self._keep(name, data)
            return data
        return to_jpeg(rendered(frame.path, frame.frame, size))

    def _read(self, name: str) -> bytes | None:
        with self._lock:
            if name not in self._sizes:
                return None
            self._sizes.move_to_end(name)
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            return None

    def _keep(self, name: str, data: bytes) -> None:
        try:
            descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
        except OSError:  # On a full disk the demo is slower, and still works.
            return
        with self._lock:
            self._bytes += len(data) - self._sizes.pop(name, 0)
            self._sizes[name] = len(data)
            while self._bytes > self._most:
                oldest, length = self._sizes.popitem(last=False)
                self._bytes -= length
                (self._folder / oldest).unlink(missing_ok=True)


def sight(encoder: Encoder) -> str | None:
    """Return in words what a model is given of an image; None where only transformers knows how it is prepared."""
    fitted = fit_image(encoder, np.zeros((2, 2, 3), np.uint8))
    if fitted is None:
        return None
    size = f"{fitted.shape[1]} × {fitted.shape[0]} pixels"
    if (windows := ct_windows(encoder)) is None:
        return size
    shown = (f"{color} {w.width:g}/{w.center:g}" for color, w in zip(("red", "green", "blue"), windows, strict=True))
    return f"{size}. CT in windows of width/centre in HU: {', '.join(shown)}"


def as_seen(frame: StoredFrame, encoder: Encoder) -> bytes:
    """Return a frame as its model was given it, as a PNG: rendered, resized and cropped, every pixel as it was.

    Raises
    ------
    UnreadableImage, NotAnImage
        If the file no longer exists, or can no longer be read, or only transformers knows how it is prepared.
    """
    from PIL import Image

    pixels = fit_image(encoder, next(open_image(frame.path, frames=(frame.frame,), **rendering(encoder))).pixels)
    if pixels is None:
        raise UnreadableImage("how its model prepares an image cannot be shown")
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def with_heat(frame: StoredFrame, encoder: Encoder, text: str) -> bytes:
    """Return a frame as a PNG with the heat map of a text over it: red where covering it makes it fit the text less.

    Raises
    ------
    UnreadableImage, NotAnImage
        If the file no longer exists, or can no longer be read.
    """
    from roco_search.classify.heat import draw, heat_maps

    pixels = next(open_image(frame.path, frames=(frame.frame,), **rendering(encoder))).pixels
    directions = np.asarray(encoder.encode_texts([text.strip()]), np.float64)
    with _HEATING:
        (heat,) = heat_maps(encoder, pixels, directions)
    data = io.BytesIO()
    draw(pixels, heat).save(data, "PNG")
    return data.getvalue()


def rendered(path: str, frame: int, size: int, window: Window | None = None, *, overlays: bool = False) -> Image:
    """Render a frame, counted from 0, with at most `size` pixels on its longer side."""
    from PIL import Image

    image = Image.fromarray(next(open_image(path, window=window, frames=(frame,), overlays=overlays)).pixels)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return image


def to_jpeg(image: Image) -> bytes:
    """Return an image as a JPEG without metadata; one without colour has a single channel."""
    data = io.BytesIO()
    red, green, blue = image.split()
    grey = red.tobytes() == green.tobytes() == blue.tobytes()
    (red if grey else image).save(data, "JPEG", quality=QUALITY)
    return data.getvalue()


def placeholder(error: ImageError | None) -> bytes:
    """Return an SVG that shows, in place of a picture, why there is none."""
    from textwrap import wrap

    from roco_search.figures import render

    reason = "this image is no longer in the library" if error is None else str(error)
    lines = wrap(reason, 30, break_long_words=False, break_on_hyphens=False)[:8]
    return render("web/templates/placeholder.svg", lines=lines).encode("ascii", "xmlcharrefreplace")
