"""A file becomes pictures: `open_image` reads any supported file, `sniff` says which are worth opening.

`open_image_bytes` reads a file whose content is in memory, with the same rendering, and `read_levels` the grey levels
that a window can choose from.

These three are the door of the room, and the guard stands here: a decoder that fails on a damaged file may quote the
header in its exception, a patient's name included. Nothing of that exception passes. Whatever is raised below, a
caller sees an error of roco in roco's own words, without a cause, a context or the frames of a decoder.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from roco_search.errors import RocoError, UnreadableImage
from roco_search.imaging.archives import locate
from roco_search.imaging.costs import decoding
from roco_search.imaging.dicom.tags import Tags
from roco_search.imaging.frame import CtWindows, Frame, FrameChoice, FrameNumbers, InMemory, Slices, Source, Window
from roco_search.imaging.sniff import HEAD, Kind, cannot_open, kind_of, sniff

if TYPE_CHECKING:
    from roco_search.imaging.dicom.levels import Levels

__all__ = [
    "CtWindows",
    "Frame",
    "FrameChoice",
    "FrameNumbers",
    "Slices",
    "Tags",
    "Window",
    "open_image",
    "open_image_bytes",
    "read_levels",
    "sniff",
]
Made = TypeVar("Made")
_DAMAGED = {
    "dicom": "its header is damaged; copy or export it again",
    "raster": "its data is damaged; copy or export it again",
    "volume": "its data is damaged; copy or export it again",
}


def open_image(
    path: str | os.PathLike[str],
    *,
    window: Window | None = None,
    frames: FrameChoice | FrameNumbers = "middle",
    at_least: int | None = None,
    overlays: bool = False,
    slices: Slices | None = None,
    ct_windows: CtWindows | None = None,
) -> Iterator[Frame]:
    """Yield frames of an image file, rendered for a human eye.

    Reads PNG, JPEG, TIFF, WebP, BMP, AVIF and HEIC (8 and 16 bits and floating point, grey, colour, palette, alpha,
    multi-page), DICOM (rendered by PS3.3 C.11), and the slices of NIfTI, Analyze, NRRD and MetaImage volumes. What a
    file is, its content decides. Only the chosen frames are decoded, one at a time, as they are asked for. May be
    called from several threads at once.

    Parameters
    ----------
    path
        The file, or a member of an archive: ``export.zip!/DICOM/IM0001``.
    window
        Takes the place of the VOI window that a grey DICOM image brings along (in modality units, HU for CT),
        and of the automatic range of a raster image of more than 8 bits (in its grey values). Colour and
        8-bit raster images have no use for it.
    frames
        Which frames of a file with several: ``"middle"``, ``"all"``, a number of evenly spaced ones, or a tuple
        of their numbers from 0.
    at_least
        The pixels that the shorter side has to keep. A picture that has twice as many or more may come out smaller, by
        a whole factor: it is decoded in a lower resolution or averaged before it is rendered. Scaled down to half of
        `at_least`, it differs from the whole picture, scaled down, by less than a grey level in the mean. None for
        every pixel there is.
    overlays
        Whether to draw the overlay planes of a DICOM image (graphics and text that a program or a person laid over it)
        in white. They are no part of the picture, and are never in what is embedded.
    ct_windows
        What a model wants to see of CT: three windows in HU, as red, green and blue. They take the place of the windows
        of images in Hounsfield units, except where `window` is given; other images are rendered as always.
    slices
        Which planes of a volume `frames` chooses from, and for how many slices of each ``"middle"`` stands. None for
        the plane with the best resolution, and for one slice.

    Yields
    ------
    Frame
        Frames in ascending order of their index.

    Raises
    ------
    NotAnImage
        If the file is a DICOM object that holds no picture, or a volume of labels.
    UnreadableImage
        If the file is corrupt, cut short, too large, of no supported format, or its decoder is not installed.
        No message ever holds a value from the file. Damage in a later frame shows when that frame is asked
        for.
    InputError
        If `frames` is none of the choices.
    """
    yield from _open(
        sniff(path), locate(path), window, frames, at_least, overlays=overlays, slices=slices, ct_windows=ct_windows
    )


def open_image_bytes(
    content: bytes,
    *,
    window: Window | None = None,
    frames: FrameChoice | FrameNumbers = "middle",
    ct_windows: CtWindows | None = None,
) -> Iterator[Frame]:
    """Yield frames of an image file whose content is in memory, such as a cell of a Parquet table.

    Parameters
    ----------
    content
        The whole file. Without a name to go by, what it is must show in its first bytes.
    window, frames, ct_windows
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
    yield from _open(kind_of(head), InMemory(content), window, frames, ct_windows=ct_windows)


def read_levels(path: str | os.PathLike[str], frame: int = 0) -> "Levels | None":
    """Read the grey levels of a frame, counted from 0.

    Returns
    -------
    Levels or None
        None where a window of `open_image` changes nothing: colour, palettes, rasters, and frames of one value.

    Raises
    ------
    NotAnImage, UnreadableImage
        As `open_image`.
    """
    source = locate(path)
    match sniff(path):
        case "dicom":
            from roco_search.imaging.dicom.levels import each_levels

            return next(_in_own_words("dicom", each_levels(source, (frame,))))
        case "volume":
            from roco_search.imaging.volumes import each_levels as each_levels_of_slices

            return next(_in_own_words("volume", each_levels_of_slices(source, (frame,))))
        case "raster":
            return None
        case None:
            raise _not_a_picture()


def has_overlays(path: str | os.PathLike[str]) -> bool:
    """Whether `open_image` has overlay planes to draw: only DICOM files hold any.

    Raises
    ------
    NotAnImage, UnreadableImage
        As `open_image`.
    """
    if sniff(path) != "dicom":
        return False
    from roco_search.imaging.dicom.pipeline import with_overlays

    return next(_in_own_words("dicom", with_overlays(locate(path))))


def read_uids(path: str | os.PathLike[str]) -> dict[str, str | None]:
    """Read the UIDs of a file's study and series, under "study" and "series"; None where it states none.

    Raises
    ------
    NotAnImage, UnreadableImage
        As `open_image`.
    """
    if sniff(path) != "dicom":
        return {"study": None, "series": None}
    from roco_search.imaging.dicom.pipeline import with_tags

    tags = next(_in_own_words("dicom", with_tags(locate(path))))
    return {"study": tags.study_uid, "series": tags.series_uid}


def _open(
    kind: Kind | None,
    source: Source,
    window: Window | None,
    frames: FrameChoice | FrameNumbers,
    at_least: int | None = None,
    *,
    overlays: bool = False,
    slices: Slices | None = None,
    ct_windows: CtWindows | None = None,
) -> Iterator[Frame]:
    match kind:
        case "dicom":
            # Each kind's own libraries are imported on first use: `roco --help` needs neither.
            from roco_search.imaging.dicom.pipeline import open_dicom

            made = open_dicom(source, window, frames, at_least, overlays=overlays, ct_windows=ct_windows)
            yield from _in_own_words(kind, made)
        case "raster":
            from roco_search.imaging.raster import open_raster

            yield from _in_own_words(kind, open_raster(source, window, frames, at_least))
        case "volume":
            from roco_search.imaging.volumes import open_volume

            yield from _in_own_words(kind, open_volume(source, window, frames, slices, ct_windows))
        case None:
            raise _not_a_picture()


def _in_own_words(kind: Kind, made: Iterator[Made]) -> Iterator[Made]:
    """Yield what a reader makes of a file; whatever it raises leaves as an error of ours, and as nothing else."""
    refusal: RocoError | MemoryError
    try:
        while True:
            with decoding():
                try:
                    one = next(made)
                except StopIteration:
                    return
            yield one
    except RocoError as error:
        refusal = error.with_traceback(None)
    except MemoryError:  # Not the file's fault, so not an ImageError.
        refusal = MemoryError()
    except Exception as error:  # Pillow and pydicom raise nearly anything on a damaged file.
        refusal = UnreadableImage(_reason(kind, error))
    # Raised out here, where no exception is being handled, so that none becomes its context.
    refusal.__cause__ = refusal.__context__ = None
    raise refusal


def _reason(kind: Kind, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return str(cannot_open(error))
    if isinstance(error, EOFError) or "truncated" in str(error):
        return "cut short: it ends before its pixels do; copy or export it again"
    return _DAMAGED[kind]


def _not_a_picture() -> UnreadableImage:
    return UnreadableImage(
        "not a picture: PNG, JPEG, TIFF, WebP, BMP, DICOM, NIfTI, NRRD and MetaImage are read; export it as one"
    )
