"""PNG, JPEG, WebP, BMP, AVIF and HEIC become frames. None of their metadata is kept: EXIF can name a patient."""

import os
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError, features

from roco_search.errors import UnreadableImage
from roco_search.imaging.costs import check_cost, check_size
from roco_search.imaging.dicom.decoding.codecs import silence
from roco_search.imaging.dicom.tags import Tags
from roco_search.imaging.frame import (
    Frame,
    FrameChoice,
    FrameNumbers,
    Source,
    Window,
    choose_frames,
    reduction,
    upright,
)
from roco_search.imaging.render import STRETCH
from roco_search.imaging.sniff import AVIF, HEIF, brand, is_tiff
from roco_search.imaging.tiff import Grey, colours, over_black

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MULTI_FRAME = frozenset({"PNG", "WEBP", "AVIF"})
_ORIENTATION = 0x0112  # EXIF
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # that Pillow holds for a pixel; 4 of all others
_DAMAGED_PNG = "its pixels are damaged; copy or export it again"
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
_FORMAT_BYTES = {"WEBP": 8, "AVIF": 8, "HEIF": 8}  # that the decoder holds beside it
_PNG_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type, with alpha
_FRAME_CONTROL = 38  # Bytes of the least that an animated PNG holds for a frame.
_MAX_SCANNED = 2 * 10**10  # Pixels that a decoder of progressive JPEG may go through, all scans together.


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
    with source.open("rb") as file:
        head = file.read(32)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size == 0:
            raise UnreadableImage("the file is empty; copy or export it again")
        if not is_tiff(head):
            yield from _open_with_pillow(file, head, size, window, frames, at_least)
            return
    from roco_search.imaging.tiff import open_tiff

    yield from open_tiff(source, window, frames, at_least)


def _open_with_pillow(
    file: BinaryIO,
    head: bytes,
    size: int,
    window: Window | None,
    frames: FrameChoice | FrameNumbers,
    at_least: int | None,
) -> Iterator[Frame]:
    try:
        with Image.open(file, formats=_formats(head)) as image:
            _check(image, head, file, size)
            count = getattr(image, "n_frames", 1) if image.format in MULTI_FRAME else 1
            if image.format == "PNG" and count * _FRAME_CONTROL > size:
                raise UnreadableImage("it declares more frames than it can hold; copy or export it again")
            chosen = choose_frames(count, frames)
            for index in chosen:
                if count > 1:
                    image.seek(index)
                    check_size(*image.size)
                tags = _tags(image)
                if count == 1 and _is_deep_png(head):
                    picture = _render_deep_png(file, image, window, at_least)
                else:
                    if at_least is not None and image.format == "JPEG":
                        image.draft(None, (at_least, at_least))
                    picture = _render(image, window, at_least)
                if index == chosen[-1]:
                    image.close()  # its pixels are not held while the caller looks at the frame
                yield Frame(picture, tags, index, count)
    except Image.DecompressionBombError:
        raise UnreadableImage("too large: its header declares a picture that would not fit; make it smaller") from None
    except UnidentifiedImageError:
        raise UnreadableImage("not a picture, though its name or its first bytes say so; export it again") from None


def _formats(head: bytes) -> tuple[str, ...]:
    """Return the formats to try. Raises `UnreadableImage` if a package is missing for one."""
    kind = brand(head)
    if kind in AVIF:
        if not features.check("avif"):
            raise UnreadableImage("an AVIF picture, which this Pillow does not read; pip install --upgrade pillow")
        return ("AVIF",)
    if kind in HEIF:
        if find_spec("pillow_heif") is None:
            raise UnreadableImage("a HEIC picture, for which a package is missing; pip install 'roco-search[heic]'")
        from pillow_heif import register_heif_opener

        register_heif_opener()
        return ("HEIF",)
    return FORMATS


def _check(image: Image.Image, head: bytes, file: BinaryIO, size: int) -> None:
    """Refuse a picture by what its header says, before anything is decoded."""
    check_size(*image.size)
    pixels = image.width * image.height
    # Of a deep PNG, libpng holds a copy.
    each = 4 * _PNG_SAMPLES.get(head[25], 4) if _is_deep_png(head) else _MODE_BYTES.get(image.mode, 4)
    each += _FORMAT_BYTES.get(str(image.format), 0)
    if image.info.get("progressive"):
        each += 2 * len(image.getbands())  # all coefficients at once
        position = file.tell()
        file.seek(0)
        scans = file.read(size).count(b"\xff\xda") if pixels > 2**20 else 1
        file.seek(position)
        if pixels * scans > _MAX_SCANNED:
            raise UnreadableImage("too large: its data goes over the picture too often; export it again")
    check_cost(pixels * (each + 3))


def _is_deep_png(head: bytes) -> bool:
    """Return whether a file is a PNG of 16 bits, of which Pillow reads the grey ones alone without losing 8 of them."""
    return head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) > 25 and head[24] == 16


def _tags(image: Image.Image) -> Tags:
    columns, rows = image.size
    return Tags(rows=rows, columns=columns)


def _render_deep_png(
    file: BinaryIO, image: Image.Image, window: Window | None, at_least: int | None
) -> npt.NDArray[np.uint8]:
    """Return a PNG of 16 bits a sample as uint8 RGB ``(height, width, 3)``, upright."""
    import imagecodecs

    file.seek(0)
    values = imagecodecs.png_decode(_pixels_alone(file.read()))
    values = values.reshape(*values.shape[:2], -1)
    channels = values.shape[2]
    alpha = values[:, :, -1] if channels in {2, 4} else None
    factor = 1 if alpha is not None else reduction(values.shape[0], values.shape[1], at_least)
    if channels < 3:
        picture = Grey(values[:, :, 0], 16).render(window, factor)
    else:
        picture = colours(values[:, :, :3], 16, window, factor)
    return np.ascontiguousarray(upright(over_black(picture, alpha), _orientation(image)))


def _pixels_alone(content: bytes) -> bytes:
    """Return a PNG with nothing but its pixels, after a look at whether they are whole.

    libpng prints its doubts to the standard error: about profiles, times and the like, and about damaged pixels.
    """
    kept, inflater, at, inflated = [content[:8]], zlib.decompressobj(), 8, 0
    while at + 12 <= len(content):
        kind, end = content[at + 4 : at + 8], at + 12 + int.from_bytes(content[at : at + 4], "big")
        if kind in {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}:
            if zlib.crc32(content[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
                raise UnreadableImage(_DAMAGED_PNG)
            kept.append(content[at:end])
        if kind == b"IDAT":
            packed = content[at + 8 : end - 4]
            while packed:
                inflated += len(inflater.decompress(packed, 2**20))
                packed = inflater.unconsumed_tail
        at = end
    if not inflater.eof or inflater.unused_data or inflated != _inflated_size(content):
        raise UnreadableImage(_DAMAGED_PNG)
    return b"".join(kept)


def _inflated_size(content: bytes) -> int:
    """Return the bytes of the rows of a 16-bit PNG, each with its filter, in all passes (ISO 15948 8)."""
    columns, rows = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    pixel = {0: 2, 2: 6, 4: 4, 6: 8}.get(content[25], 0)
    passes = _ADAM7 if content[28] else [(0, 0, 1, 1)]
    size = 0
    for left, top, across, down in passes:
        wide, high = max(0, -(-(columns - left) // across)), max(0, -(-(rows - top) // down))
        size += high * (1 + wide * pixel) if wide else 0
    return size


def _render(image: Image.Image, window: Window | None, at_least: int | None) -> npt.NDArray[np.uint8]:
    """Return the current frame as uint8 RGB ``(height, width, 3)``, upright."""
    image.load()
    factor = reduction(image.height, image.width, at_least)
    if image.mode in _DEEP_MODES:
        picture = Grey(np.asarray(image), 16).render(window, factor)
    elif factor > 1 and image.mode in {"L", "RGB"} and "transparency" not in image.info:
        picture = np.asarray(image.reduce(factor).convert("RGB"))
    else:
        picture = _render_shallow(image)
        if factor > 1:
            picture = np.asarray(Image.fromarray(picture).reduce(factor))
    return np.ascontiguousarray(upright(picture, _orientation(image)))


def _render_shallow(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Render bilevel, 8-bit grey, palette and colour images, what is transparent over black; some rows at a time."""
    picture = np.empty((image.height, image.width, 3), np.uint8)
    transparent = image.mode in _ALPHA_MODES or "transparency" in image.info
    step = max(1, STRETCH // image.width)
    for top in range(0, image.height, step):
        rows = image.crop((0, top, image.width, min(top + step, image.height)))
        if transparent:
            visible = rows.convert("RGBA")
            rows = Image.alpha_composite(Image.new("RGBA", visible.size, (0, 0, 0, 255)), visible)
        picture[top : top + step] = np.asarray(rows.convert("RGB"))
    return picture


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Damaged EXIF says nothing about the pixels.
        return 1
    return value if value in range(1, 9) else 1
