"""What two pictures have in common as pictures: no embedding distinguishes a copy from a look-alike.

Nothing of a picture outlives the run.
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roco_search.errors import ImageError
from roco_search.imaging import open_image
from roco_search.imaging.ahead import read_ahead
from roco_search.imaging.archives import locate
from roco_search.library import Skipped
from roco_search.library.truth.frames import Columns, ListedFile
from roco_search.system.files import changed_ns
from roco_search.system.process import cores
from roco_search.system.progress import Pace, Progress, following

SIDE = 32  # Fine enough to distinguish slices of one organ, coarse enough to tolerate a JPEG, a resize, a window.
FILES_AHEAD = 64  # Files read before their turn: what waits in memory are small copies of their pictures.
_CHANGED = "it no longer exists, or has changed since it was indexed; run `roco index`"

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
    pace = Pace()
    with (
        following(progress, len(jobs)) as told,
        closing(read_ahead(jobs, _read, ahead=FILES_AHEAD, threads=min(8, cores()))) as entries,
    ):
        for (file, places, _), found in entries:
            small, reason = ([], str(found)) if isinstance(found, ImageError) else found
            for place, (shrunk, hashed) in zip(places, small, strict=False):
                grey[place], digest[place] = shrunk, hashed
            if reason is not None:
                unreadable.append(Skipped(file.path, reason))
            told.advance(1, images_per_second=pace.add(len(small)))
    return Pictures(grey, digest, sorted(unreadable))


Job = tuple[ListedFile, list[int], list[int]]
Small = list[tuple[Grey, bytes]]


def _read(job: Job) -> Iterator[tuple[Small, str | None]]:
    """Yield the wanted frames, ascending as they are asked for, and why some are missing."""
    file, _, numbers = job
    small: Small = []
    reason = None
    try:
        found = locate(file.path).stat()
        if (found.st_size, changed_ns(found)) == (file.size, file.mtime_ns):
            for frame in open_image(file.path, frames=tuple(numbers)):
                hashed = hashlib.blake2b(repr(frame.pixels.shape).encode() + frame.pixels.tobytes(), digest_size=16)
                small.append((_shrunk(frame.pixels), hashed.digest()))
        else:
            reason = _CHANGED
    except OSError:
        reason = _CHANGED
    except ImageError as error:
        reason = str(error)
    yield small, reason


def _shrunk(pixels: Grey) -> Grey:
    from PIL import Image

    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(grey, np.uint8).reshape(-1)
