"""A DICOM file becomes frames: the rendering pipeline of PS3.4 N.2, in the standard's order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from roco_search.errors import UnreadableImage
from roco_search.imaging import render
from roco_search.imaging.dicom import display, palette
from roco_search.imaging.dicom.decoding.codecs import silence
from roco_search.imaging.dicom.encapsulation import DAMAGED
from roco_search.imaging.dicom.header import read_header, refuse_unless_picture
from roco_search.imaging.dicom.overlays import draw_overlays, has_overlays, shutter
from roco_search.imaging.dicom.pixels import FrameDecoder, Layout
from roco_search.imaging.dicom.tags import Tags, read_tags
from roco_search.imaging.dicom.values import items, text
from roco_search.imaging.frame import (
    CtWindows,
    Frame,
    FrameChoice,
    FrameNumbers,
    Source,
    Window,
    choose_frames,
    reduction,
)
from roco_search.imaging.render import average

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Made = TypeVar("Made")


def open_dicom(
    source: Source,
    window: Window | None,
    frames: FrameChoice | FrameNumbers,
    at_least: int | None = None,
    *,
    overlays: bool = False,
    ct_windows: CtWindows | None = None,
) -> Iterator[Frame]:
    """Yield the chosen frames of a DICOM file, each decoded and rendered when it is asked for.

    Parameters
    ----------
    source
        The file.
    window
        Takes the place of the file's own VOI LUT or window, for grey images; None to use the file's own.
    frames
        Which frames.
    at_least
        See `open_image`. Grey values are averaged before they are rendered, where averages mean something.
    overlays
        Whether to draw the overlay planes. Such a picture has all its pixels.
    ct_windows
        See `open_image`.

    Raises
    ------
    NotAnImage
        If the object is not a picture.
    UnreadableImage
        If it cannot be decoded here, or its pixel data is damaged. A damaged header makes pydicom raise nearly
        anything, with header values in its message: `open_image` turns that into a reason.
    """
    if overlays:
        at_least = None

    def finish(stored: Stored, tags: Tags) -> Frame:
        return Frame(render_frame(stored, window, at_least, ct_windows), tags, stored.index, stored.layout.frames)

    yield from each_frame(source, frames, finish, at_least, overlays=overlays)


def with_overlays(source: Source) -> Iterator[bool]:
    """Yield, once, whether the file describes overlay planes; see `roco_search.imaging.has_overlays`."""
    with source.open("rb") as file:
        yield has_overlays(read_header(file, overlays=True).dataset)


def with_tags(source: Source) -> Iterator[Tags]:
    """Yield, once, the allow-listed attributes of the file; its pixels are not read."""
    with source.open("rb") as file:
        header = read_header(file)
        yield read_tags(header.dataset, header.syntax if header.syntax_declared else None)


def each_frame(
    source: Source,
    frames: FrameChoice | FrameNumbers,
    make: Callable[["Stored", Tags], Made],
    at_least: int | None = None,
    *,
    overlays: bool = False,
) -> Iterator[Made]:
    """Yield what `make` makes of each chosen frame, decoded when it is asked for. Raises as `open_dicom` does.

    With `at_least`, a frame may be decoded in a lower resolution where averages mean something.
    """
    silence()
    with source.open("rb") as file:
        header = read_header(file, overlays=overlays)
        refuse_unless_picture(header.sop_class, has_pixels=header.pixels is not None)
        assert header.pixels is not None
        decoder = FrameDecoder(header, header.pixels)
        tags = read_tags(header.dataset, header.syntax if header.syntax_declared else None)
        for index in choose_frames(decoder.layout.frames, frames):
            layout = decoder.layout
            factor = reduction(layout.rows, layout.columns, at_least)
            grey = layout.photometric in {"MONOCHROME1", "MONOCHROME2"}
            if factor > 1 and not (grey and averages_mean_something(header.dataset, layout, index)):
                factor = 1
            words = decoder.words(index)[0] if overlays else None
            yield make(Stored(*decoder.decode(index, factor), layout, header.dataset, index, words), tags)


@dataclass(frozen=True, slots=True)
class Stored:
    """One decoded frame and everything that says how to show it.

    Attributes
    ----------
    array
        Stored values ``(rows, columns)`` or ``(rows, columns, 3)``.
    photometric
        The photometric interpretation of `array`.
    layout, dataset, index
        The pixel layout and the header of the file, and the number of the frame.
    words
        The pixel words, with what is in their unused bits, if the overlay planes are to be drawn; or None.
    """

    array: npt.NDArray[Any]
    photometric: str
    layout: Layout
    dataset: "Dataset"
    index: int
    words: npt.NDArray[Any] | None = None


def render_frame(
    stored: Stored, window: Window | None = None, at_least: int | None = None, ct_windows: CtWindows | None = None
) -> npt.NDArray[np.uint8]:
    """Render a decoded frame for a human eye.

    Parameters
    ----------
    stored
        The frame.
    window
        Takes the place of the VOI step of the file.
    at_least, ct_windows
        See `open_image`.

    Returns
    -------
    numpy.ndarray
        uint8 ``(height, width, 3)``, with square pixels.

    Raises
    ------
    UnreadableImage
        If its colours cannot be determined.
    """
    dataset, index = stored.dataset, stored.index
    if stored.photometric == "PALETTE COLOR" and stored.array.ndim == 2:
        picture = np.empty((*stored.array.shape, 3), np.uint8)
        _paint(picture, stored, supplemental=False)
    elif stored.array.ndim == 3:
        if stored.photometric not in {"RGB", "YBR_ICT", "YBR_RCT"}:
            raise UnreadableImage("its colours are encoded in a way that roco does not know; export it as RGB")
        picture = render.colour_to_picture(stored.array, stored.layout.bits_stored)
    elif stored.photometric in {"MONOCHROME1", "MONOCHROME2"}:
        picture = _render_grey(stored, window, at_least, ct_windows)
        if palette.is_supplemental(dataset, index):
            _paint(picture, stored, supplemental=True)
    else:
        raise UnreadableImage("its colours do not fit its pixel data; export it again")
    aspect = display.pixel_aspect(dataset, index)
    closed = shutter(dataset, index, picture.shape[:2], aspect)
    if stored.words is not None or closed is not None:
        picture = np.require(picture, requirements=["W", "O"])
    if stored.words is not None:
        unused = set(range(8 * stored.words.dtype.itemsize))
        unused -= set(range(stored.layout.high_bit + 1 - stored.layout.bits_stored, stored.layout.high_bit + 1))
        draw_overlays(picture, dataset, index, stored.words, unused)
    if closed is not None:
        picture[closed] = 0
    return render.square_pixels(picture, aspect)


def _render_grey(
    stored: Stored, window: Window | None, at_least: int | None, ct_windows: CtWindows | None
) -> npt.NDArray[np.uint8]:
    dataset = stored.dataset
    modality = read_modality(stored)
    array = reduced(stored, at_least)
    if ct_windows is not None and window is None and _is_ct(stored, modality):
        return render.in_windows(array, modality.applied, ct_windows)

    # VOI LUT or window, PS3.3 C.11.2. Either may be used where both are given (C.11.2.1); a table is the
    # vendor's actual curve, of which a window beside it can only be an approximation.
    voi = read_voi(stored, modality)
    shown: Callable[[render.Values], render.Values]
    if window is not None:
        shown = partial(render.apply_window, window=window)
    elif (table := voi.table) is not None:
        # The declared depth of a table's output is often not the one it uses; its largest entry is.
        def shown(values: render.Values) -> render.Values:
            return render.stretch(render.apply_lookup_table(values, table), 0, float(table.entries.max()))

    elif voi.window is not None:
        # LINEAR allows for the width of one grey level (C.11.2.1.2.1), which real numbers do not have.
        exact = stored.layout.is_float and voi.function == "LINEAR"
        function = "LINEAR_EXACT" if exact else voi.function
        shown = partial(render.apply_window, window=voi.window, function=function)
    else:
        chosen = without_voi(modality.applied(render.sample(array)), stored, modality)
        if isinstance(chosen, Window):
            shown = partial(render.apply_window, window=chosen)
        else:
            shown = partial(render.stretch, low=chosen[0], high=chosen[1])

    # MONOCHROME1 and the Presentation LUT Shape, PS3.3 C.7.6.3.1.2 and C.11.6.
    inverted = display.is_inverted(dataset, stored.photometric)
    return render.by_stretches(array, lambda rows: shown(modality.applied(rows)), inverted=inverted)


def averages_mean_something(dataset: "Dataset", layout: Layout, index: int) -> bool:
    """Whether means of the stored values of a grey frame can be shown in their place.

    Not across the edge of padding, in a table's index, in a mask of one bit, in real numbers that can be NaN.
    """
    voi_is_table = bool(items(display.functional_group(dataset, index, "FrameVOILUTSequence"), "VOILUTSequence"))
    padded = display.padding_range(dataset, signed=True) is not None
    modality = display.read_modality(dataset, index, signed=layout.signed)
    coloured = palette.is_supplemental(dataset, index)
    return not (
        voi_is_table or padded or coloured or modality.table is not None or layout.is_float or layout.bits_stored == 1
    )


def reduced(stored: Stored, at_least: int | None) -> npt.NDArray[Any]:
    """Return the stored values of a grey frame, averaged if it is larger than asked for and means mean something."""
    array = stored.array
    factor = reduction(array.shape[0], array.shape[1], at_least)
    if factor > 1 and averages_mean_something(stored.dataset, stored.layout, stored.index):
        return average(array, factor)
    return array


def read_modality(stored: Stored) -> display.Modality:
    """Return the modality transformation of a grey frame (PS3.3 C.11.1)."""
    return display.read_modality(stored.dataset, stored.index, signed=_is_signed(stored))


def read_voi(stored: Stored, modality: display.Modality) -> display.Voi:
    """Return the VOI transformation of a grey frame (PS3.3 C.11.2)."""
    least = modality.least(-(2 ** (stored.layout.bits_stored - 1)) if _is_signed(stored) else 0)
    return display.read_voi(stored.dataset, stored.index, signed=least < 0)


def without_voi(values: render.Values, stored: Stored, modality: display.Modality) -> Window | tuple[float, float]:
    """Choose a window, or the lowest and highest value, for a grey frame that does not say how it wants to be shown."""
    dataset, layout, signed = stored.dataset, stored.layout, _is_signed(stored)
    # Unsigned values of up to 8 bits that no modality transformation changes are display values already:
    # screenshots, ultrasound, masks. Stretching them would brighten what is meant to be dark.
    if layout.bits_stored <= 8 and not signed and modality.is_identity:
        return 0, 2**layout.bits_stored - 1
    padding = None
    if (ends := display.padding_range(dataset, signed=signed)) is not None and not layout.is_float:
        stored_sample = render.sample(stored.array)
        padding = (stored_sample >= ends[0]) & (stored_sample <= ends[1])
    low, high = render.robust_range(values, padding)
    is_ct = _is_ct(stored, modality)
    # HU run from -1024 for air. A soft tissue window is of use only if soft tissue is among the values.
    return render.SOFT_TISSUE if is_ct and low < render.SOFT_TISSUE.center < high and low >= -4096 else (low, high)


def _is_ct(stored: Stored, modality: display.Modality) -> bool:
    """Whether the modality values are Hounsfield units of a slice."""
    dataset = stored.dataset
    return text(dataset, "Modality") == "CT" and modality.hounsfield and not display.is_localizer(dataset)


def _is_signed(stored: Stored) -> bool:
    return bool(np.issubdtype(stored.array.dtype, np.signedinteger))


def _paint(picture: npt.NDArray[np.uint8], stored: Stored, *, supplemental: bool) -> None:
    """Map indices through the Palette Color Lookup Table."""
    try:
        table = palette.read_palette(stored.dataset, signed=_is_signed(stored))
    except palette.PaletteError:
        raise UnreadableImage(f"its colour palette cannot be used, so {DAMAGED}") from None
    table.paint(picture, stored.array, supplemental=supplemental)
