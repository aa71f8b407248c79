"""PNG, JPEG, TIFF, WebP and BMP become frames. None of their metadata is kept: EXIF can name a patient."""

import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from roco_search.errors import UnreadableImage
from roco_search.imaging.dicom.codecs import silence
from roco_search.imaging.dicom.tags import Tags
from roco_search.imaging.frame import (
    Frame,
    FrameChoice,
    FrameNumbers,
    Source,
    Window,
    check_size,
    choose_frames,
    reduction,
)
from roco_search.imaging.render import apply_window, average, robust_range, stretch, to_picture

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
MULTI_FRAME = frozenset({"PNG", "TIFF", "WEBP"})
_ORIENTATION = 0x0112  # EXIF and TIFF 6.0
_PHOTOMETRIC_INTERPRETATION = 262  # TIFF 6.0; 0 is WhiteIsZero
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


def open_raster(
    source: Source, window: Window | None, frames: FrameChoice | FrameNumbers, at_least: int | None = None
) -> Iterator[Frame]:
    """Yield the chosen frames of a picture file, each decoded when it is asked for.

    Parameters
    ----------
    source
        The file.
    window
        Window for grey images of more than 8 bits, in grey values; None for a range taken from the data.
    frames
        Which frames of a multi-page TIFF or an animated PNG or WebP.
    at_least
        See `open_image`. A JPEG is decoded in a lower resolution (its DCT blocks as 4, 2 or 1 pixels).

    Raises
    ------
    UnreadableImage
        If the file is not such a picture, or is too large. On a damaged file Pillow raises SyntaxError, struct.error,
        ValueError and more: `open_image` turns them into a reason.
    """
    silence()
    # Another library in the process may have turned it on; half a radiograph in grey is worse than none.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with source.open("rb") as file:
            _refuse_empty(file)
            with Image.open(file, formats=FORMATS) as image:
                check_size(*image.size)
                count = getattr(image, "n_frames", 1) if image.format in MULTI_FRAME else 1
                for index in choose_frames(count, frames):
                    if count > 1:
                        image.seek(index)
                        check_size(*image.size)
                    tags = _tags(image)
                    if at_least is not None and image.format == "JPEG":
                        image.draft(None, (at_least, at_least))
                    yield Frame(_render(image, window, at_least), tags, index, count)
    except Image.DecompressionBombError:
        raise UnreadableImage("too large: its header declares a picture that would not fit; make it smaller") from None
    except UnidentifiedImageError:
        raise UnreadableImage("not a picture, though its name or its first bytes say so; export it again") from None


def _refuse_empty(file: BinaryIO) -> None:
    if file.seek(0, os.SEEK_END) == 0:
        raise UnreadableImage("the file is empty; copy or export it again")
    file.seek(0)


def _tags(image: Image.Image) -> Tags:
    columns, rows = image.size
    return Tags(rows=rows, columns=columns)


def _render(image: Image.Image, window: Window | None, at_least: int | None) -> npt.NDArray[np.uint8]:
    """Return the current frame as uint8 RGB ``(height, width, 3)``, upright."""
    image.load()
    factor = reduction(image.height, image.width, at_least)
    if image.mode in _DEEP_MODES:
        picture = _render_deep(image, window, factor)
    elif factor > 1 and image.mode in {"L", "RGB"} and "transparency" not in image.info:
        picture = np.asarray(image.reduce(factor).convert("RGB"))
    else:
        picture = _render_shallow(image)
    return np.ascontiguousarray(_upright(picture, _orientation(image)))


def _render_deep(image: Image.Image, window: Window | None, factor: int = 1) -> npt.NDArray[np.uint8]:
    """Render grey values of more than 8 bits.

    They are shown over the range of the data, not of the format: a 16-bit PNG of a radiograph holds 10 to 14
    bits, and over the full 16 it would be black.
    """
    values = average(np.asarray(image), factor).astype(np.float32, copy=False)
    shown = apply_window(values, window) if window else stretch(values, *robust_range(values))
    # Pillow inverts a WhiteIsZero TIFF of 8 bits by itself, one of 16 bits not.
    white_is_zero = image.format == "TIFF" and _tiff_tag(image, _PHOTOMETRIC_INTERPRETATION) == 0
    return to_picture(shown, inverted=white_is_zero)


def _render_shallow(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Render bilevel, 8-bit grey, palette and colour images, what is transparent over black.

    Black is the background of a radiograph; transparency over white would put a bright frame around it.
    """
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        visible = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return np.asarray(Image.alpha_composite(background, visible).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8. Pillow applies and removes that of a TIFF when it loads it."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Damaged EXIF says nothing about the pixels.
        return 1
    return value if value in range(1, 9) else 1


def _upright(picture: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    if orientation >= 5:
        picture = picture.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        picture = picture[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        picture = picture[::-1]
    return picture


def _tiff_tag(image: Image.Image, tag: int) -> object:
    return getattr(image, "tag_v2", {}).get(tag)
