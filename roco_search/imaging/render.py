"""From stored values to a picture for a human eye: the pipelines of PS3.4 N.2 and PS3.3 C.11.

Every function takes and returns arrays; none of them knows about files. Grey values are float32 between the
steps (float64 where they come from 32 bits or more, which float32 would round) and become uint8 only at the end, so
that no step quantises what the next one needs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from roco_search.imaging.frame import CtWindows, Window

Values = npt.NDArray[np.floating[Any]]
Picture = npt.NDArray[np.uint8]
VoiFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]

STRETCH = 2**20  # Pixels that are rendered at once.
SAMPLE = 2**24  # Values from which a range is taken at most.
MAX_ENLARGED = 2**26  # Pixels of a picture that was enlarged so that its pixels are square.
SOFT_TISSUE = Window(40, 400)  # HU, of a CT that does not say how it wants to be shown
MAX_ASPECT = 20.0  # Beyond this a pixel spacing is a damaged value, not a thick reformatted slice.


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A Modality or VOI LUT (PS3.3 C.11.1.1, C.11.2.1.1): `first` is what maps to ``entries[0]``."""

    first: int
    entries: npt.NDArray[np.uint16]


def average(values: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Return the means of blocks of ``factor x factor`` values; what is over at the ends is left out.

    Parameters
    ----------
    values
        ``(rows, columns)`` of any real type.
    factor
        1 returns `values` as they are.

    Returns
    -------
    numpy.ndarray
        float32, or float64 where `as_values` needs it.
    """
    if factor == 1:
        return values
    rows, columns = values.shape[0] // factor, values.shape[1] // factor
    kept = values[: rows * factor, : columns * factor]
    if not kept.dtype.isnative:
        kept = kept.astype(kept.dtype.newbyteorder("="))
    # Whole rows first, where values are adjacent; a row of sums then stays in the cache.
    precise = as_values(kept[:0]).dtype
    wide: Any = np.int32 if kept.dtype.kind in "ui" and kept.dtype.itemsize <= 2 else precise
    sums = kept[0::factor].astype(wide)
    for row in range(1, factor):
        sums += kept[row::factor]
    total = sums[:, 0::factor].astype(precise)
    for column in range(1, factor):
        total += sums[:, column::factor]
    total /= precise.type(factor * factor)
    return total


def as_values(stored: npt.NDArray[Any]) -> Values:
    """Return stored numbers as grey values: float32, or float64 if they have 32 bits or more and are no float32."""
    deep = stored.dtype.itemsize > 4 or (stored.dtype.itemsize == 4 and stored.dtype.kind != "f")
    return stored.astype(np.float64 if deep else np.float32, copy=False)


def sample(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return numbers of all parts of a picture that are enough to take a range from: all of them, up to `SAMPLE`."""
    step = math.ceil(math.sqrt(max(1.0, stored.size / SAMPLE)))
    return stored[::step, ::step]


def by_stretches(stored: npt.NDArray[Any], render: Callable[[npt.NDArray[Any]], Values], *, inverted: bool) -> Picture:
    """Render a grey picture some rows at a time, so that the intermediate arrays stay small.

    Parameters
    ----------
    stored
        ``(rows, columns)``.
    render
        Returns display values 0..1 of some rows.
    inverted
        See `to_picture`.
    """
    rows, columns = stored.shape
    picture = np.empty((rows, columns, 3), np.uint8)
    step = max(1, STRETCH // max(1, columns))
    for start in range(0, rows, step):
        picture[start : start + step] = to_picture(render(stored[start : start + step]), inverted=inverted)
    return picture


def in_windows(stored: npt.NDArray[Any], modality: Callable[[npt.NDArray[Any]], Values], windows: CtWindows) -> Picture:
    """Render grey values as three windows, which become red, green and blue.

    A window of centre c and width w shows c - w/2 as 0 and c + w/2 as 255, as those who train on such pictures make
    them (google-health/medgemma, and PS3.3 C.11.2.1.3.2); black is low whatever the photometric interpretation says.

    Parameters
    ----------
    stored
        ``(rows, columns)``.
    modality
        Returns the modality values of some rows.
    windows
        In HU.
    """

    def channel(window: Window) -> npt.NDArray[np.uint8]:
        shown = by_stretches(stored, lambda rows: apply_window(modality(rows), window, "LINEAR_EXACT"), inverted=False)
        return shown[:, :, 0]

    return np.stack([channel(window) for window in windows], axis=2)


def apply_lookup_table(values: Values, table: LookupTable) -> Values:
    """Map values through a table; those outside take its first or last entry (PS3.3 C.11.1.1.1)."""
    position = np.nan_to_num(values) - values.dtype.type(table.first)
    index = np.clip(np.rint(position), 0, len(table.entries) - 1).astype(np.intp)
    mapped: Values = table.entries[index].astype(np.float32)
    return mapped


def rescale(values: Values, slope: float, intercept: float) -> Values:
    """Return ``values * slope + intercept`` (PS3.3 C.11.1.1.2)."""
    with np.errstate(all="ignore"):
        return values * values.dtype.type(slope) + values.dtype.type(intercept)


def apply_window(values: Values, window: Window, function: VoiFunction = "LINEAR") -> Values:
    """Apply a VOI window.

    Parameters
    ----------
    values
        Modality values, any shape. NaN becomes 0.
    window
        Centre and width.
    function
        VOI LUT Function. LINEAR needs a width of at least 1 (PS3.3 C.11.2.1.2.1); a narrower one, which files
        with real-valued data do hold, can only have been meant as LINEAR_EXACT.

    Returns
    -------
    numpy.ndarray
        float32 in 0..1, by PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID) or C.11.2.1.3.2
        (LINEAR_EXACT).
    """
    number = values.dtype.type
    with np.errstate(all="ignore"):
        center, width = number(window.center), number(max(window.width, 1e-30))
        if function == "SIGMOID":
            shown = 1 / (1 + np.exp(-4 * (values - center) / width))
        elif function == "LINEAR_EXACT" or width < 1:
            shown = (values - center) / width + number(0.5)
        elif width == 1:
            shown = (values > center - number(0.5)).astype(values.dtype)
        else:
            shown = (values - (center - number(0.5))) / (width - 1) + number(0.5)
    return _clipped(shown)


def stretch(values: Values, low: float, high: float) -> Values:
    """Map ``low..high`` to 0..1, clipped; where there is no such range, everything is 0. NaN becomes 0."""
    if not high > low:
        return np.zeros(values.shape, np.float32)
    with np.errstate(all="ignore"):
        shown = (values - values.dtype.type(low)) / values.dtype.type(high - low)
    return _clipped(shown)


def _clipped(shown: npt.NDArray[Any]) -> Values:
    # Clipped before it is cast: float64 reaches further than float32.
    clipped: Values = np.clip(np.nan_to_num(shown, posinf=1, neginf=0), 0, 1).astype(np.float32, copy=False)
    return clipped


def robust_range(values: Values, padding: npt.NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """Return a range that shows `values` well where nothing says how they are meant to be shown.

    The 1st and 99th percentile of what is finite and not padding: a hot pixel, a metal clip or a burned-in
    marker at full scale would otherwise leave the anatomy black. If they coincide, as in a bone scan that is
    nearly all background, the extremes. ``(0, 0)`` if nothing is left.
    """
    usable = np.isfinite(values)
    if padding is not None and not padding.all():
        usable &= ~padding
    kept = values[usable]
    if kept.size == 0:
        return 0.0, 0.0
    low, high = np.percentile(kept, [1, 99])
    if high <= low:
        low, high = kept.min(), kept.max()
    return float(low), float(high)


def to_picture(shown: Values, *, inverted: bool) -> Picture:
    """Return display values 0..1 as uint8 RGB.

    Inversion for MONOCHROME1 (PS3.3 C.7.6.3.1.2) and Presentation LUT Shape INVERSE (C.11.6) comes here,
    after the VOI step: both say how its *output* is shown, and inverting its input would move the window.
    """
    grey = np.rint((1 - shown if inverted else shown) * 255).astype(np.uint8)
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


def colour_to_picture(colour: npt.NDArray[Any], bits: int) -> Picture:
    """Return unsigned colour samples of `bits` bits as uint8. No window applies to colour (PS3.3 C.11.2)."""
    if bits == 8:
        return colour.astype(np.uint8, copy=False)
    if bits > 8:
        picture = np.empty(colour.shape, np.uint8)
        np.right_shift(colour, bits - 8, out=picture, casting="unsafe")
        return picture
    scaled: Picture = (colour.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
    return scaled


def square_pixels(picture: Picture, aspect: float | None) -> Picture:
    """Resample a picture so that its pixels are square.

    Parameters
    ----------
    picture
        uint8 ``(rows, columns, 3)``.
    aspect
        Height of a stored pixel over its width (PS3.3 C.7.6.3.1.7, 10.7.1.3); None if unknown.

    Returns
    -------
    numpy.ndarray
        uint8 ``(height, width, 3)``. The coarser axis is enlarged, so that no detail is lost, unless that
        would exceed `MAX_ENLARGED`: then the finer one is reduced.
    """
    from PIL import Image

    if aspect is None or not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT or abs(aspect - 1) < 0.01:
        return np.ascontiguousarray(picture)
    rows, columns = picture.shape[:2]
    enlarged = rows * columns * max(aspect, 1 / aspect) <= MAX_ENLARGED
    if (aspect > 1) == enlarged:
        size = (columns, max(1, round(rows * aspect)))
    else:
        size = (max(1, round(columns / aspect)), rows)
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
