"""Files and folders become pictures; a file that cannot be read is reported with its reason and displaces no other."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roco_search.errors import ImageError, InputError, NotAnImage
from roco_search.imaging import CtWindows, FrameChoice, Tags, open_image, sniff
from roco_search.imaging.ahead import read_ahead
from roco_search.imaging.walk import Walk

HEAT_ENDING = ".heat.png"
"""How the names of heat maps end: a folder's own heat maps are not classified with its images."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file to read. ``named`` is whether a person named the file itself, not a folder that holds it."""

    path: str
    named: bool


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One frame of a file that has ``frames``: uint8 ``(height, width, 3)`` pixels, and what its header may say."""

    path: str
    frame: int
    frames: int
    pixels: npt.NDArray[np.uint8]
    tags: Tags

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        return self.pixels.nbytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that did not become pictures, with the reason."""

    path: str
    reason: str


def find_images(paths: Iterable[str | os.PathLike[str]]) -> list[ImageFile]:
    """Return the files to read, by real path, each once: in the order of `paths`, those of a folder by name.

    Raises
    ------
    InputError
        If a path does not exist.
    """
    files: dict[str, ImageFile] = {}
    for given in paths:
        path = Path(given)
        real = os.path.realpath(path)
        if path.is_dir():
            walk = Walk()
            walk.add(real)
            for found in sorted(walk.files):
                if not found.endswith(HEAT_ENDING):
                    files.setdefault(found, ImageFile(found, named=False))
        elif path.exists():
            files[real] = ImageFile(real, named=True)
        else:
            raise InputError(f"There is no file or folder {path}; check the path.")
    return list(files.values())


def read_pictures(
    files: Sequence[ImageFile], frames: FrameChoice = "middle", ct_windows: CtWindows | None = None
) -> Generator[tuple[ImageFile, Picture | ImageError], None, None]:
    """Yield the chosen frames of each file, in order, read ahead; for a file that cannot be read, the reason.

    Of the files in a folder, those that are no images, and DICOM objects without a picture, are skipped in silence.
    """
    return read_ahead(files, partial(_read, frames=frames, ct_windows=ct_windows))


def _read(file: ImageFile, frames: FrameChoice, ct_windows: CtWindows | None) -> Iterator[Picture]:
    try:
        if file.named or sniff(file.path) is not None:
            for frame in open_image(file.path, frames=frames, ct_windows=ct_windows):
                yield Picture(file.path, frame.index, frame.count, frame.pixels, frame.tags)
    except NotAnImage:
        if file.named:
            raise
