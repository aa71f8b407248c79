"""Uploaded files: which files a message may name, and how an image is read, reduced to what is needed, and deleted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from roco_search.errors import ImageError, InputError
from roco_search.imaging import Tags, open_image
from roco_search.models import Encoder
from roco_search.models.encoder import ct_windows
from roco_search.system.text import printable

OLDEST = 600.0  # seconds that an upload may wait for being used
LARGEST = 1024  # pixels of the longer side that are kept, to draw the image and its heat maps


@dataclass(frozen=True, slots=True, eq=False)
class UploadedImage:
    """What is kept of an uploaded image while its tab is open.

    Attributes
    ----------
    vector
        Its embedding, float32 ``(dim,)``.
    name
        The name of its file.
    pixels
        uint8 ``(height, width, 3)``, reduced to `LARGEST`.
    tags
        The allow-listed attributes of its header.
    frame, frames
        The frame that was read, counted from 0, and the number of frames.
    """

    vector: npt.NDArray[np.float32]
    name: str
    pixels: npt.NDArray[np.uint8]
    tags: Tags
    frame: int
    frames: int

    @property
    def title(self) -> str:
        """The name and, if there are several frames, which one was read."""
        return self.name if self.frames == 1 else f"{self.name}, frame {self.frame + 1} of {self.frames}"


def read_upload(path: str | Path, folder: Path, encoder: Encoder, largest: int = LARGEST) -> UploadedImage:
    """Read an uploaded image, and delete its file in every case.

    Parameters
    ----------
    path
        The file; a file outside `folder` was never uploaded, and is left alone.
    folder
        The folder of uploads.
    encoder
        The model.
    largest
        Pixels of the longer side that are kept.

    Raises
    ------
    InputError
        If it is not an image that can be read.
    """
    file = Path(path)
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InputError("That file was not uploaded; upload it again.")
    try:
        frame = next(open_image(file, ct_windows=ct_windows(encoder)))
    except ImageError as error:
        raise InputError(f"{printable(file.name)} cannot be used as an image: {error}.") from None
    except OSError:
        raise InputError(f"{printable(file.name)} did not arrive complete; upload it again.") from None
    finally:
        file.unlink(missing_ok=True)
    vector = np.asarray(encoder.encode_images([frame.pixels]), np.float32)[0]
    if not np.isfinite(vector).all():
        raise InputError(f"The model could not embed {printable(file.name)}; try another image.")
    small = Image.fromarray(frame.pixels)
    small.thumbnail((largest, largest))
    return UploadedImage(vector, printable(file.name), np.asarray(small), frame.tags, frame.index, frame.count)


def delete_old_uploads(folder: str, seconds: float = OLDEST) -> None:
    """Delete the files that were uploaded longer ago than that and never used, such as an abandoned page's."""
    limit = time.time() - seconds
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)  # noqa: PTH118
            with suppress(OSError):  # used, and so deleted, meanwhile
                if os.stat(path).st_mtime < limit:  # noqa: PTH116
                    os.unlink(path)  # noqa: PTH108


@contextmanager
def nothing_left(folder: str) -> Iterator[None]:
    """Delete what the reading of one upload leaves in `folder` itself.

    Gradio writes there while it reads, and moves what is complete into a folder of its own; what is not stays.
    """
    before = {entry.name for entry in os.scandir(folder)}
    try:
        yield
    finally:
        for entry in os.scandir(folder):
            if entry.name not in before and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    os.unlink(entry.path)  # noqa: PTH108


def names_uploads_only(body: bytes, uploads: str) -> bool:
    """Whether every file that a message of Gradio's names is an uploaded one: in `uploads`, a path without links.

    Gradio checks this only for apps that its own ``launch`` has started (6.31, ``processing_utils._check_allowed``);
    mounted as here, it would read any file that a message names, and fetch any address.
    """
    try:
        waiting: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
        return False
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            if "path" in value and not _is_upload(value["path"], uploads):
                return False
    return True


def _is_upload(path: object, uploads: str) -> bool:
    if not isinstance(path, str) or "\0" in path:
        return False
    real = os.path.realpath(path)
    return real.startswith(uploads + os.sep) and os.path.isfile(real)  # noqa: PTH113 - what a stranger wrote
