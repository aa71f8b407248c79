"""What two pictures have in common, looked at as pictures: no embedding tells a copy from a look-alike.

Nothing of a picture outlives the run.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roco_search.errors import ImageError
from roco_search.imaging import open_image
from roco_search.library import Progress, Skipped
from roco_search.library.truth.frames import Columns, ListedFile
from roco_search.system.process import cores

SIDE = 32  # Fine enough to tell slices of one organ apart, coarse enough to forgive a JPEG, a resize, a window.
FILES_AT_ONCE = 64  # Files handed to the readers together, so that few results wait in memory.
_CHANGED = "it is not there any more, or has changed since it was indexed; run `roco index`"

Grey = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Rendered pictures, made small.

    Attributes
    ----------
    grey
        uint8 ``(n, SIDE * SIDE)``: each picture, whatever its shape, averaged down to a square.
    digest
        Of the rendered pixels and their shape; None where the picture could not be read.
    unreadable
        Files that could not be compared, and why.
    """

    grey: Grey
    digest: list[bytes | None]
    unreadable: list[Skipped]

    def agreement(self, one: int, others: Numbers) -> npt.NDArray[np.float32]:
        """Return Pearson's correlation of one picture's grey values with others', float32, -1 to 1.

        It does not see brightness and contrast. A picture of one grey agrees wholly with another such, else not at all.
        """
        rows = self.grey[np.append(others, one)].astype(np.float32)
        rows -= rows.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(rows, axis=1)
        flat = norms < 1e-3
        rows /= np.where(flat, 1, norms)[:, None]
        found: npt.NDArray[np.float32] = np.where(flat[:-1] & flat[-1], 1, rows[:-1] @ rows[-1]).astype(np.float32)
        return found


def read_pictures(columns: Columns, rows: Numbers, progress: Progress | None = None) -> Pictures:
    """Render the pictures of some rows of `columns` anew, each file once, and make them small.

    A file that is not as it was when it was indexed is not compared: its embedding is of another picture.
    """
    wanted: dict[int, list[int]] = {}
    for place, row in enumerate(rows.tolist()):
        wanted.setdefault(int(columns.file[row]), []).append(place)
    grey = np.zeros((len(rows), SIDE * SIDE), np.uint8)
    digest: list[bytes | None] = [None] * len(rows)
    unreadable = []
    jobs = [(columns.files[file], places, columns.number[rows[places]].tolist()) for file, places in wanted.items()]
    if progress is not None:
        progress.start(len(jobs))
    try:
        for places, small, reason, path in _read_all(jobs):
            for place, (shrunk, hashed) in zip(places, small, strict=False):
                grey[place], digest[place] = shrunk, hashed
            if reason is not None:
                unreadable.append(Skipped(path, reason))
            if progress is not None:
                progress.advance(1, len(small))
    finally:
        if progress is not None:
            progress.stop()
    return Pictures(grey, digest, sorted(unreadable))


Job = tuple[ListedFile, list[int], list[int]]
Small = list[tuple[Grey, bytes]]


def _read_all(jobs: Sequence[Job]) -> Iterator[tuple[list[int], Small, str | None, str]]:
    with ThreadPoolExecutor(min(8, cores())) as readers:
        for start in range(0, len(jobs), FILES_AT_ONCE):
            part = jobs[start : start + FILES_AT_ONCE]
            for (file, places, _), (small, reason) in zip(part, readers.map(_read, part), strict=True):
                yield places, small, reason, file.path


def _read(job: Job) -> tuple[Small, str | None]:
    """Return the wanted frames, ascending as they are asked for, and why some are missing."""
    file, _, numbers = job
    small: Small = []
    try:
        found = Path(file.path).stat()
        if (found.st_size, found.st_mtime_ns) != (file.size, file.mtime_ns):
            return [], _CHANGED
        for frame in open_image(file.path, frames=tuple(numbers)):
            hashed = hashlib.blake2b(repr(frame.pixels.shape).encode() + frame.pixels.tobytes(), digest_size=16)
            small.append((_shrunk(frame.pixels), hashed.digest()))
    except OSError:
        return [], _CHANGED
    except ImageError as error:
        return small, str(error)
    except Exception as error:
        # As in `library.reading`: decoders meet files that nobody thought of, and a message may quote the header.
        return small, f"its decoder failed ({type(error).__name__}); the file is probably damaged"
    return small, None


def _shrunk(pixels: Grey) -> Grey:
    from PIL import Image

    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(grey, np.uint8).reshape(-1)
