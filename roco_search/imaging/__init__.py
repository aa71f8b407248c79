"""A file becomes pictures: `open_image` reads any supported file, `sniff` tells which are worth opening.

`open_image_bytes` reads the content of a file that lies in memory, by the same rendering.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from roco_search.errors import UnreadableImage
from roco_search.imaging.dicom.tags import Tags
from roco_search.imaging.frame import Frame, FrameChoice, FrameNumbers, InMemory, Source, Window
from roco_search.imaging.sniff import HEAD, Kind, is_dicom, is_raster, sniff

__all__ = ["Frame", "FrameChoice", "FrameNumbers", "Tags", "Window", "open_image", "open_image_bytes", "sniff"]


def open_image(
    path: str | os.PathLike[str],
    *,
    window: Window | None = None,
    frames: FrameChoice | FrameNumbers = "middle",
    at_least: int | None = None,
) -> Iterator[Frame]:
    """Yield frames of an image file, rendered for a human eye.

    Reads PNG, JPEG, TIFF, WebP and BMP (8 and 16 bits and floating point, grey, colour, palette, alpha,
    multi-page) and DICOM (rendered by PS3.3 C.11). What a file is, its content decides. Only the chosen
    frames are decoded, one at a time, as they are asked for. May be called from several threads at once.

    Parameters
    ----------
    path
        The file.
    window
        Takes the place of the VOI window that a grey DICOM image brings along (in modality units, HU for CT),
        and of the automatic range of a raster image of more than 8 bits (in its grey values). Colour and
        8-bit raster images have no use for it.
    frames
        Of a file with several frames: ``"middle"``, ``"all"``, so many, evenly spaced, or a tuple of numbers from 0.
    at_least
        The pixels that the shorter side has to keep. A picture that has twice as many or more may come out smaller, by
        a whole factor: it is decoded in a lower resolution or averaged before it is rendered. Scaled down to half of
        `at_least`, it differs from the whole picture, scaled down, by less than a grey level in the mean. None for
        every pixel there is.

    Yields
    ------
    Frame
        Frames in ascending order of their index.

    Raises
    ------
    NotAnImage
        If the file is a DICOM object that holds no picture.
    UnreadableImage
        If the file is corrupt, cut short, too large, of no supported format, or its decoder is not installed.
        No message ever holds a value from the file. Damage in a later frame shows when that frame is asked
        for.
    InputError
        If `frames` is none of the choices.
    """
    path = Path(path)
    yield from _open(sniff(path), path, window, frames, at_least)


def open_image_bytes(
    content: bytes, *, window: Window | None = None, frames: FrameChoice | FrameNumbers = "middle"
) -> Iterator[Frame]:
    """Yield frames of an image file whose content is in memory, such as a cell of a Parquet table.

    Parameters
    ----------
    content
        The whole file. Without a name to go by, what it is must show in its first bytes.
    window, frames
        As for `open_image`, which renders in the same way.

    Yields
    ------
    Frame
        Frames in ascending order of their index.

    Raises
    ------
    NotAnImage, UnreadableImage, InputError
        As `open_image`.
    """
    head = content[:HEAD]
    kind: Kind | None = "dicom" if is_dicom(head) else "raster" if is_raster(head) else None
    yield from _open(kind, InMemory(content), window, frames)


def _open(
    kind: Kind | None,
    source: Source,
    window: Window | None,
    frames: FrameChoice | FrameNumbers,
    at_least: int | None = None,
) -> Iterator[Frame]:
    match kind:
        case "dicom":
            # Each kind's own libraries are imported on first use: `roco --help` needs neither.
            from roco_search.imaging.dicom.pipeline import open_dicom

            yield from open_dicom(source, window, frames, at_least)
        case "raster":
            from roco_search.imaging.raster import open_raster

            yield from open_raster(source, window, frames, at_least)
        case None:
            raise UnreadableImage("not a picture: PNG, JPEG, TIFF, WebP, BMP and DICOM are read; export it as one")
