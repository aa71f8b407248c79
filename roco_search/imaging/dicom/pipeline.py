"""A DICOM file becomes frames: the rendering pipeline of PS3.4 N.2, in the standard's order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from roco_search.errors import UnreadableImage
from roco_search.imaging import render
from roco_search.imaging.dicom import display
from roco_search.imaging.dicom.codecs import silence
from roco_search.imaging.dicom.header import DAMAGED, read_header, refuse_unless_picture
from roco_search.imaging.dicom.pixels import FrameDecoder, Layout
from roco_search.imaging.dicom.tags import Tags, read_tags
from roco_search.imaging.dicom.values import items, text
from roco_search.imaging.frame import Frame, FrameChoice, FrameNumbers, Source, Window, choose_frames, reduction
from roco_search.imaging.render import average

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SOFT_TISSUE = Window(40, 400)
Made = TypeVar("Made")


def open_dicom(
    source: Source, window: Window | None, frames: FrameChoice | FrameNumbers, at_least: int | None = None
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

    Raises
    ------
    NotAnImage
        If the object is not a picture.
    UnreadableImage
        If it cannot be decoded here, or its pixel data is damaged. A damaged header makes pydicom raise nearly
        anything, with header values in its message: `open_image` turns that into a reason.
    """

    def finish(stored: Stored, tags: Tags) -> Frame:
        return Frame(render_frame(stored, window, at_least), tags, stored.index, stored.layout.frames)

    yield from each_frame(source, frames, finish, at_least)


def each_frame(
    source: Source,
    frames: FrameChoice | FrameNumbers,
    make: Callable[["Stored", Tags], Made],
    at_least: int | None = None,
) -> Iterator[Made]:
    """Yield what `make` makes of each chosen frame, decoded when it is asked for. Raises as `open_dicom` does.

    With `at_least`, a frame may be decoded in a lower resolution where averages mean something.
    """
    silence()
    with source.open("rb") as file:
        header = read_header(file)
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
            yield make(Stored(*decoder.decode(index, factor), layout, header.dataset, index), tags)


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
    """

    array: npt.NDArray[Any]
    photometric: str
    layout: Layout
    dataset: "Dataset"
    index: int


def render_frame(stored: Stored, window: Window | None = None, at_least: int | None = None) -> npt.NDArray[np.uint8]:
    """Render a decoded frame for a human eye.

    Parameters
    ----------
    stored
        The frame.
    window
        Takes the place of the VOI step of the file.
    at_least
        See `open_image`.

    Returns
    -------
    numpy.ndarray
        uint8 ``(height, width, 3)``, with square pixels.

    Raises
    ------
    UnreadableImage
        If its colours cannot be told.
    """
    if stored.photometric == "PALETTE COLOR" and stored.array.ndim == 2:
        picture = _render_palette(stored.array, stored.dataset)
    elif stored.array.ndim == 3:
        if stored.photometric not in {"RGB", "YBR_ICT", "YBR_RCT"}:
            raise UnreadableImage("its colours are encoded in a way that roco does not know; export it as RGB")
        picture = render.colour_to_picture(stored.array, stored.layout.bits_stored)
    elif stored.photometric in {"MONOCHROME1", "MONOCHROME2"}:
        picture = _render_grey(stored, window, at_least)
    else:
        raise UnreadableImage("its colours do not fit its pixel data; export it again")
    return render.square_pixels(picture, display.pixel_aspect(stored.dataset, stored.index))


def _render_grey(stored: Stored, window: Window | None, at_least: int | None) -> npt.NDArray[np.uint8]:
    dataset = stored.dataset
    values, modality = modality_values(stored, at_least)

    # VOI LUT or window, PS3.3 C.11.2. Either may be used where both are given (C.11.2.1); a table is the
    # vendor's actual curve, of which a window beside it can only be an approximation.
    voi = display.read_voi(dataset, stored.index, signed=bool(np.nanmin(values, initial=0) < 0))
    if window is not None:
        shown = render.apply_window(values, window)
    elif voi.table is not None:
        # The declared depth of a table's output is often not the one it uses; its largest entry is.
        entries = render.apply_lookup_table(values, voi.table)
        shown = render.stretch(entries, 0, float(voi.table.entries.max()))
    elif voi.window is not None:
        # LINEAR allows for the width of one grey level (C.11.2.1.2.1), which real numbers do not have.
        exact = stored.layout.is_float and voi.function == "LINEAR"
        shown = render.apply_window(values, voi.window, "LINEAR_EXACT" if exact else voi.function)
    else:
        chosen = without_voi(values, stored, modality)
        shown = render.apply_window(values, chosen) if isinstance(chosen, Window) else render.stretch(values, *chosen)

    # MONOCHROME1 and the Presentation LUT Shape, PS3.3 C.7.6.3.1.2 and C.11.6.
    return render.to_picture(shown, inverted=display.is_inverted(dataset, stored.photometric))


def averages_mean_something(dataset: "Dataset", layout: Layout, index: int) -> bool:
    """Whether means of the stored values of a grey frame can be shown in their place.

    Not across the edge of padding, in a table's index, in a mask of one bit, in real numbers that can be NaN.
    """
    voi_is_table = bool(items(display.functional_group(dataset, index, "FrameVOILUTSequence"), "VOILUTSequence"))
    padded = display.padding_range(dataset, signed=True) is not None
    modality = display.read_modality(dataset, index, signed=layout.signed)
    return not (voi_is_table or padded or modality.table is not None or layout.is_float or layout.bits_stored == 1)


def modality_values(stored: Stored, at_least: int | None = None) -> tuple[render.Values, display.Modality]:
    """Apply the Modality LUT or the rescale of a grey frame (PS3.3 C.11.1); return its values and what was applied.

    With ``at_least``, the values are averaged where the picture is larger than that and means mean something.
    """
    modality = display.read_modality(stored.dataset, stored.index, signed=_is_signed(stored))
    array = stored.array
    factor = reduction(array.shape[0], array.shape[1], at_least)
    if factor > 1 and averages_mean_something(stored.dataset, stored.layout, stored.index):
        array = average(array, factor)
    values = array.astype(np.float32, copy=False)
    if modality.table is not None:
        return render.apply_lookup_table(values, modality.table), modality
    return render.rescale(values, modality.slope, modality.intercept), modality


def without_voi(values: render.Values, stored: Stored, modality: display.Modality) -> Window | tuple[float, float]:
    """Choose a window, or the lowest and highest value, for a grey frame that does not say how it wants to be shown."""
    dataset, layout, signed = stored.dataset, stored.layout, _is_signed(stored)
    # Unsigned values of up to 8 bits without a modality transformation are display values already:
    # screenshots, ultrasound, masks. Stretching them would brighten what is meant to be dark.
    if layout.bits_stored <= 8 and not signed and not modality.stated:
        return 0, 2**layout.bits_stored - 1
    padding = None
    if (ends := display.padding_range(dataset, signed=signed)) is not None and not layout.is_float:
        padding = (stored.array >= ends[0]) & (stored.array <= ends[1])
    low, high = render.robust_range(values, padding)
    is_ct = text(dataset, "Modality") == "CT" and modality.hounsfield and not display.is_localizer(dataset)
    # HU run from -1024 for air. A soft tissue window is of use only if soft tissue is among the values.
    return SOFT_TISSUE if is_ct and low < SOFT_TISSUE.center < high and low >= -4096 else (low, high)


def _is_signed(stored: Stored) -> bool:
    return bool(np.issubdtype(stored.array.dtype, np.signedinteger))


def _render_palette(array: npt.NDArray[Any], dataset: "Dataset") -> npt.NDArray[np.uint8]:
    """Map indices through the Palette Color Lookup Table, PS3.3 C.7.6.3.1.5 (segmented: C.7.9.2)."""
    from pydicom.pixels.processing import apply_color_lut

    try:
        colour = apply_color_lut(array, dataset)
    except MemoryError:
        raise
    except Exception:  # Every damaged table raises in its own way.
        raise UnreadableImage(f"its colour palette cannot be used, so {DAMAGED}") from None
    # 16-bit tables use either the full 16 bits or, wrongly, the low 8 alone.
    return (colour >> 8 if colour.max() > 255 else colour).astype(np.uint8)
