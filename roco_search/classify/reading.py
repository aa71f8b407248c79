"""Files and folders become pictures; what cannot be read is named with its reason and shifts nobody."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roco_search.errors import ImageError, InputError, NotAnImage
from roco_search.imaging import FrameChoice, Tags, open_image, sniff
from roco_search.imaging.walk import Walk
from roco_search.system.process import cores

HEAT_ENDING = ".heat.png"
"""How the names of heat maps end: a folder's own heat maps are not classified with its images."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One frame of a file with so many: uint8 ``(height, width, 3)`` pixels, and what its header may say."""

    path: str
    frame: int
    frames: int
    pixels: npt.NDArray[np.uint8]
    tags: Tags


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that did not become pictures, with the reason."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read. ``named`` is whether a person named the file itself, not a folder that holds it."""

    path: str
    named: bool


def find_images(paths: Iterable[str | os.PathLike[str]]) -> list[Source]:
    """Return the files to read, by real path, each once: named files first come, folders in the order of names.

    Raises
    ------
    InputError
        If a path does not exist.
    """
    sources: dict[str, Source] = {}
    for given in paths:
        path = Path(given)
        real = os.path.realpath(path)
        if path.is_dir():
            walk = Walk()
            walk.add(real)
            for found in sorted(walk.files):
                if not found.endswith(HEAT_ENDING):
                    sources.setdefault(found, Source(found, named=False))
        elif path.exists():
            sources[real] = Source(real, named=True)
        else:
            raise InputError(f"There is no file or folder {path}; check the path.")
    return list(sources.values())


def read_pictures(sources: Sequence[Source], frames: FrameChoice = "middle") -> Iterator[Picture | Unreadable]:
    """Yield the chosen frames of each file, in order.

    What no one named and is no image is passed over without a word; a DICOM object without a picture too. With one
    frame a file, a few files are decoded ahead; with several, one frame is held at a time, as a cine loop can be
    larger than memory.
    """
    if frames != "middle":
        for source in sources:
            yield from _read(source, frames)
        return
    workers = cores()
    waiting: deque[Future[list[Picture | Unreadable]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="roco-read") as pool:
        try:
            for source in sources:
                waiting.append(pool.submit(_read_whole, source))
                # A decoded radiograph can be 50 MB: few are held at once.
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _read_whole(source: Source) -> list[Picture | Unreadable]:
    return list(_read(source, "middle"))


def _read(source: Source, frames: FrameChoice) -> Iterator[Picture | Unreadable]:
    try:
        if not source.named and sniff(source.path) is None:
            return
        for frame in open_image(source.path, frames=frames):
            yield Picture(source.path, frame.index, frame.count, frame.pixels, frame.tags)
    except NotAnImage as error:
        if source.named:
            yield Unreadable(source.path, str(error))
    except ImageError as error:
        yield Unreadable(source.path, str(error))
    except MemoryError:
        reason = "there is not enough memory to decode it; close other programs or make it smaller"
        yield Unreadable(source.path, reason)
    except InputError:
        raise
    except Exception as error:
        # The message of an unknown exception may quote the header, so only its type is told.
        reason = f"its decoder failed ({type(error).__name__}); the file is probably damaged"
        yield Unreadable(source.path, reason)
