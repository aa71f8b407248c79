"""The pictures that were dropped to search for others like them: kept in memory for an hour, and never on disk.

Each has a token that stands in the page's address, so that Back and reload find it again. A region of a picture is a
picture of its own, with its own token.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError

if TYPE_CHECKING:
    from roco_search.models import Encoder
    from roco_search.web.http.uploads import UploadedImage

Region = tuple[float, float, float, float]
"""Left, top, width and height of a region, as shares of the picture's width and height."""

MOST = 32  # pictures that are kept, of at most 3 MB each
SECONDS = 3600.0
SMALLEST = 8  # pixels of a region's shorter side


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """An uploaded image, or a region of one, to search for.

    Attributes
    ----------
    vector
        Its embedding, float32 ``(dim,)``.
    name
        Its title.
    token
        Names it in an address; nobody can guess it.
    pixels
        The whole picture, uint8 ``(height, width, 3)``.
    region
        What is searched for of it; None for the whole.
    """

    vector: npt.NDArray[np.float32]
    name: str
    token: str = ""
    pixels: npt.NDArray[np.uint8] | None = None
    region: Region | None = None


class Brought:
    """The uploads of all pages, the last `MOST` used; many threads may use it.

    Parameters
    ----------
    clock
        Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._kept: OrderedDict[str, tuple[float, Upload]] = OrderedDict()

    def keep(self, image: UploadedImage) -> Upload:
        """Keep an uploaded image."""
        return self._add(Upload(image.vector, image.title, secrets.token_urlsafe(16), image.pixels))

    def find(self, token: str) -> Upload:
        """Return the upload of a token.

        Raises
        ------
        InputError
            If it is no longer kept.
        """
        with self._lock:
            self._expire()
            if token not in self._kept:
                raise InputError("The image that was dropped is no longer kept; drop it again.")
            self._kept.move_to_end(token)
            return self._kept[token][1]

    def crop(self, upload: Upload, region: Region | None, encoder: Encoder) -> Upload:
        """Return a region of the picture of an upload as another upload; None for the whole picture.

        Raises
        ------
        InputError
            If the region is outside the picture or too small.
        """
        pixels = upload.pixels
        if pixels is None:
            raise InputError("The image that was dropped is no longer kept; drop it again.")
        part = pixels if region is None else cut(pixels, region)
        vector = np.asarray(encoder.encode_images([part]), np.float32)[0]
        return self._add(Upload(vector, upload.name, secrets.token_urlsafe(16), pixels, region))

    def _add(self, upload: Upload) -> Upload:
        with self._lock:
            self._kept[upload.token] = self._clock(), upload
            self._expire()
        return upload

    def _expire(self) -> None:
        oldest = self._clock() - SECONDS
        for token in [token for token, (since, _) in self._kept.items() if since < oldest]:
            del self._kept[token]
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)


def cut(pixels: npt.NDArray[np.uint8], region: Region) -> npt.NDArray[np.uint8]:
    """Return a region of a picture, both uint8 ``(height, width, 3)``.

    Raises
    ------
    InputError
        If it is outside the picture, or smaller than `SMALLEST` pixels.
    """
    left, top, width, height = region
    inside = all(0 <= value <= 1 for value in region) and left + width <= 1.001 and top + height <= 1.001
    rows, columns = pixels.shape[:2]
    box = (round(top * rows), round((top + height) * rows), round(left * columns), round((left + width) * columns))
    if not inside or min(box[1] - box[0], box[3] - box[2]) < SMALLEST:
        raise InputError(f"Choose a region inside the image, of at least {SMALLEST} pixels.")
    return np.ascontiguousarray(pixels[box[0] : box[1], box[2] : box[3]])
