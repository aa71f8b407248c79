"""Palette Color Lookup Tables, whole (PS3.3 C.7.6.3.1.5, .6), segmented (C.7.9.2) and supplemental (C.7.6.19)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from roco_search.imaging.dicom.display import functional_group, table_entries
from roco_search.imaging.dicom.samples import stretches
from roco_search.imaging.dicom.values import numbers, text, words

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_COLOURS = ("Red", "Green", "Blue")
_FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")


class PaletteError(ValueError):
    """The table cannot be used. Says nothing of its content."""


@dataclass(frozen=True, slots=True)
class Palette:
    """`first` is the stored value that maps to ``colours[0]``; `colours` is uint8 ``(entries, 3)``."""

    first: int
    colours: npt.NDArray[np.uint8]

    def paint(self, picture: npt.NDArray[np.uint8], values: npt.NDArray[Any], *, supplemental: bool) -> None:
        """Put the colours of stored values ``(rows, columns)`` into a picture ``(rows, columns, 3)``.

        Values outside take the first or the last entry; with a supplemental table, those below it stay grey.
        """
        flat, shown = values.reshape(-1), picture.reshape(-1, 3)
        for part in stretches(flat.size):
            position = flat[part].astype(np.int64) - self.first
            colours = self.colours[np.clip(position, 0, len(self.colours) - 1)]
            if supplemental:
                inside = position >= 0
                shown[part][inside] = colours[inside]
            else:
                shown[part] = colours


def read_palette(dataset: "Dataset", *, signed: bool) -> Palette:
    """Return the palette of an image.

    The whole table shows whether its entries have 8 or 16 bits: there are tables of 16 bits that use the low 8 alone.

    Raises
    ------
    PaletteError
        If there is none, or it is not well-formed.
    """
    found, first = [], 0
    for colour in _COLOURS:
        descriptor = numbers(dataset, f"{colour}PaletteColorLookupTableDescriptor")
        if len(descriptor) != 3:
            raise PaletteError
        count, first, bits = (int(value) for value in descriptor)
        data = words(dataset, f"{colour}PaletteColorLookupTableData")
        if data is None and (segments := words(dataset, f"Segmented{colour}PaletteColorLookupTableData")) is not None:
            data = _expanded(segments, count & 0xFFFF or 65536, bits)
        entries = table_entries(data, count, bits)
        if entries is None:
            raise PaletteError
        found.append(entries)
    if len({len(entries) for entries in found}) != 1:
        raise PaletteError
    table = np.stack(found, axis=1)
    colours = table >> 8 if table.max() > 255 else table
    first &= 0xFFFF
    return Palette(first - 65536 if signed and first >= 32768 else first, colours.astype(np.uint8))


def is_supplemental(dataset: "Dataset", index: int) -> bool:
    """Return whether the greatest values of a grey frame are colours (Pixel Presentation, PS3.3 C.8.16.2.1.1.3)."""
    if len(numbers(dataset, "RedPaletteColorLookupTableDescriptor")) != 3:
        return False
    stated = [text(functional_group(dataset, index, macro), "PixelPresentation") for macro in _FRAME_TYPES]
    # Without such a macro each is the dataset's own; MIXED there leaves the word to the frames.
    return "COLOR" in stated or (set(stated) == {"MIXED"})


def _expanded(data: npt.NDArray[np.uint16], count: int, bits: int) -> npt.NDArray[np.uint16]:
    """Expand a segmented table to at most `count` entries."""
    size = 1 if bits <= 8 else 2  # bytes of a unit
    units = data.astype("<u2").view(np.uint8) if size == 1 else data
    found: list[int] = []
    _expand(units.tolist(), size, 0, None, found, count)
    return np.array(found[:count], np.uint16)


def _expand(units: list[int], size: int, position: int, segments: int | None, found: list[int], count: int) -> None:
    """Append the entries of `segments` segments from `position` on to `found`; None for all, up to `count` entries."""
    nested = segments is not None
    while position + 1 < len(units) and segments != 0 and len(found) < count:
        kind, length = units[position : position + 2]
        position += 2
        if kind == 0:
            found += units[position : position + length]
            position += length
        elif kind == 1 and found and position < len(units):
            last, end = found[-1], units[position]
            found += [last + round(step * (end - last) / length) for step in range(1, length + 1)]
            position += 1
        elif kind == 2 and not nested:
            # Segments that are repeated: how many, and behind how many bytes of the table the first of them is.
            parts = units[position : position + 4 // size]
            offset = sum(part << 8 * size * place for place, part in enumerate(parts))
            _expand(units, size, offset // size, length, found, count)
            position += 4 // size
        else:
            raise PaletteError
        segments = None if segments is None else segments - 1
