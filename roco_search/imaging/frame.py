"""Frames: what they are read from, which of them are chosen, and how they are windowed."""

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError, UnreadableImage

if TYPE_CHECKING:
    from roco_search.imaging.dicom.tags import Tags


class Source(Protocol):
    """Something that opens as a file of bytes; a `pathlib.Path` is one."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open it at its beginning."""


class InMemory:
    """The content of an image file, in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open it at its beginning."""
        return io.BytesIO(self._content)


FrameChoice = Literal["middle", "all"] | int
"""Which frames of a file with several: the middle one, all, or a number of evenly spaced ones."""

FrameNumbers = tuple[int, ...]
"""Exactly these frames, by their numbers from 0."""


@dataclass(frozen=True, slots=True)
class Slices:
    """Which slices of a volume stand for it: `count` of each plane, evenly spaced.

    Without `planes` ("AXIAL", "CORONAL", "SAGITTAL"), those of the plane with the best resolution.
    """

    count: int = 9
    planes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """A linear VOI window, in the units of the modality (HU for CT) or in the grey values of a raster file.

    Raises
    ------
    InputError
        If a value is not finite or the width is not positive.
    """

    center: float
    width: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.center) and math.isfinite(self.width) and self.width > 0):
            raise InputError("a window needs a finite centre and a width above zero, such as 40 and 400")


CtWindows = tuple[Window, Window, Window]
"""Windows in HU that some models take CT in, as the red, the green and the blue of one picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a file.

    Attributes
    ----------
    pixels
        uint8 ``(height, width, 3)``, C-contiguous RGB in 0..255, rendered for a human eye with square pixels.
    tags
        The allow-listed attributes of the file.
    index
        Number of the frame in the file, from 0.
    count
        Number of frames in the file.
    """

    pixels: npt.NDArray[np.uint8]
    tags: "Tags"
    index: int
    count: int

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        return self.pixels.nbytes


def choose_frames(count: int, choice: FrameChoice | FrameNumbers) -> list[int]:
    """Return the indices of the chosen frames, ascending and without repeats.

    N frames are the centres of N equal stretches of the file, so that 1 is the middle frame.

    Raises
    ------
    InputError
        If `choice` is neither "middle", "all", a positive int nor numbers of frames.
    UnreadableImage
        If the file has no frame of a given number: it has changed.
    """
    if isinstance(choice, tuple):
        if not all(0 <= number < count for number in choice):
            raise UnreadableImage(f"it has {count} frames by now, and another one was asked for; index it again")
        return sorted(set(choice))
    if choice == "all":
        return list(range(count))
    wanted = 1 if choice == "middle" else choice
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise InputError('frames must be "middle", "all" or a positive number')
    wanted = min(wanted, count)
    return [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]


def reduction(rows: int, columns: int, at_least: int | None) -> int:
    """Return the whole factor, 1 or more, by which a picture may be made smaller: see `open_image`."""
    return 1 if at_least is None else max(1, min(rows, columns) // max(1, at_least))


def upright(picture: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Return a picture as it is meant to be seen, by the orientation, 1 to 8, of EXIF and TIFF 6.0."""
    if 5 <= orientation <= 8:
        picture = picture.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        picture = picture[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        picture = picture[::-1]
    return picture
