"""What is laid over a frame: the display shutter (PS3.3 C.7.6.11) and overlay planes (C.9.2)."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from roco_search.imaging.dicom.display import functional_group
from roco_search.imaging.dicom.samples import unpack
from roco_search.imaging.dicom.values import integer, numbers, raw_values, texts
from roco_search.imaging.dicom.values import words as words_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Mask = npt.NDArray[np.bool_]
_WHITE = 255


def shutter(dataset: "Dataset", index: int, shape: tuple[int, int], aspect: float | None) -> Mask | None:
    """Return where the shutter of frame `index` is closed; None if there is none, or not a usable one.

    Parameters
    ----------
    dataset, index
        The header and the number of the frame.
    shape
        Rows and columns of the picture, which may be smaller than those of the file.
    aspect
        Height of a stored pixel over its width; None if unknown.

    Returns
    -------
    numpy.ndarray
        bool of `shape`, True outside of any of its shapes.
    """
    group = functional_group(dataset, index, "FrameDisplayShutterSequence")
    rows, columns = integer(dataset, "Rows") or shape[0], integer(dataset, "Columns") or shape[1]
    # Rows and columns are counted from 1; each coordinate of the picture is the middle of a pixel.
    down = (np.arange(shape[0]) + 0.5) * rows / shape[0] + 0.5
    across = (np.arange(shape[1]) + 0.5) * columns / shape[1] + 0.5
    closed: Mask | None = None
    for name in texts(group, "ShutterShape"):
        opened = _opening(group, name.strip().upper(), down, across, aspect or 1.0)
        if opened is not None:
            closed = ~opened if closed is None else closed | ~opened
    return closed


def _opening(
    group: "Dataset", name: str, down: npt.NDArray[Any], across: npt.NDArray[Any], aspect: float
) -> Mask | None:
    if name == "RECTANGULAR":
        sides = [
            integer(group, f"Shutter{side}")
            for side in ("UpperHorizontalEdge", "LowerHorizontalEdge", "LeftVerticalEdge", "RightVerticalEdge")
        ]
        if any(side is None for side in sides):
            return None
        top, bottom, left, right = sides
        return np.outer((down >= top) & (down <= bottom), (across >= left) & (across <= right))
    if name == "CIRCULAR":
        center, radius = numbers(group, "CenterOfCircularShutter"), integer(group, "RadiusOfCircularShutter")
        if len(center) != 2 or radius is None:
            return None
        # The radius counts pixels along a row.
        squares = (((down - center[0]) * aspect) ** 2)[:, np.newaxis] + ((across - center[1]) ** 2)[np.newaxis]
        return np.asarray(squares <= radius**2)
    if name == "POLYGONAL":
        vertices = numbers(group, "VerticesOfThePolygonalShutter")
        if len(vertices) < 6 or len(vertices) % 2:
            return None
        return _polygon(vertices, down, across)
    return None


def _polygon(vertices: list[float], down: npt.NDArray[Any], across: npt.NDArray[Any]) -> Mask:
    from PIL import Image, ImageDraw

    def place(value: float, middles: npt.NDArray[Any]) -> float:
        step = float(middles[1] - middles[0]) if len(middles) > 1 else 1.0
        return min(max((value - float(middles[0])) / step, -1e6), 1e6)

    corners = [
        (place(column, across), place(row, down)) for row, column in zip(vertices[::2], vertices[1::2], strict=True)
    ]
    drawn = Image.new("1", (len(across), len(down)))
    ImageDraw.Draw(drawn).polygon(corners, fill=1, outline=1)
    return np.asarray(drawn, dtype=bool)


def has_overlays(dataset: "Dataset") -> bool:
    """Whether a header, read with its overlays, describes an overlay plane, drawn or not."""
    return any(
        integer(dataset, group << 16 | 0x0010) and integer(dataset, group << 16 | 0x0011)
        for group in range(0x6000, 0x6020, 2)
    )


def draw_overlays(
    picture: npt.NDArray[np.uint8], dataset: "Dataset", index: int, words: npt.NDArray[Any], unused: set[int]
) -> None:
    """Draw the overlay planes of frame `index` into its picture, in white.

    Parameters
    ----------
    picture
        uint8 ``(rows, columns, 3)``, of the stored size.
    dataset
        The header, read with its overlays.
    index
        Number of the frame.
    words
        Pixel words ``(rows, columns)`` as they are stored: planes of the retired kind are in their unused bits.
    unused
        The places of the unused bits.
    """
    for group in range(0x6000, 0x6020, 2):
        plane = _plane(dataset, group << 16, index, words, unused)
        if plane is None:
            continue
        origin = numbers(dataset, group << 16 | 0x0050) or [1.0, 1.0]
        top, left = ((int(value) + 0x8000 & 0xFFFF) - 0x8000 - 1 for value in (*origin, 1.0)[:2])
        target = picture[max(0, top) :, max(0, left) :]
        source = plane[max(0, -top) :, max(0, -left) :][: target.shape[0], : target.shape[1]]
        target[: source.shape[0], : source.shape[1]][source] = _WHITE


def _plane(dataset: "Dataset", group: int, index: int, words: npt.NDArray[Any], unused: set[int]) -> Mask | None:
    rows, columns = integer(dataset, group | 0x0010), integer(dataset, group | 0x0011)
    if not rows or not columns:
        return None
    data = raw_values(dataset, group | 0x3000)
    if not data:
        place = integer(dataset, group | 0x0102)
        return (words >> place & 1).astype(bool) if place in unused and words.ndim == 2 else None
    first = (integer(dataset, group | 0x0051) or 1) - 1
    frames = integer(dataset, group | 0x0015) or 1
    number = index - first if frames > 1 else 0
    found = words_of(dataset, group | 0x3000)
    packed = np.empty(0, np.uint8) if found is None else found.astype("<u2").view(np.uint8)
    if not 0 <= number < frames or packed.size * 8 < (number + 1) * rows * columns:
        return None
    return unpack(packed, number * rows * columns, rows * columns, 1).astype(bool).reshape(rows, columns)
