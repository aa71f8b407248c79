"""From stored values to a picture for a human eye: the pipelines of PS3.4 N.2 and PS3.3 C.11.

Every function takes and returns arrays; none of them knows about files. Grey values are float32 between the
steps and become uint8 only at the end, so that no step quantises what the next one needs.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from roco_search.imaging.frame import MAX_PIXELS, Window

Values = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]
VoiFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]

MAX_ASPECT = 20.0  # Beyond this a pixel spacing is a damaged value, not a thick reformatted slice.


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A Modality or VOI LUT (PS3.3 C.11.1.1, C.11.2.1.1): `first` is what maps to ``entries[0]``."""

    first: int
    entries: npt.NDArray[np.uint16]


def average(values: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Return the means of blocks of ``factor x factor`` values, float32; what is over at the ends is left out.

    Parameters
    ----------
    values
        ``(rows, columns)`` of any real type.
    factor
        1 returns `values` as they are.
    """
    if factor == 1:
        return values
    rows, columns = values.shape[0] // factor, values.shape[1] // factor
    kept = values[: rows * factor, : columns * factor]
    if not kept.dtype.isnative:
        kept = kept.astype(kept.dtype.newbyteorder("="))
    # Whole rows first, where values lie beside each other; a row of sums then stays in the cache.
    wide: Any = np.float32 if kept.dtype.kind == "f" else np.int32 if kept.dtype.itemsize <= 2 else np.float64
    sums = kept[0::factor].astype(wide)
    for row in range(1, factor):
        sums += kept[row::factor]
    total = sums[:, 0::factor].astype(np.float32)
    for column in range(1, factor):
        total += sums[:, column::factor]
    total /= np.float32(factor * factor)
    return total


def apply_lookup_table(values: Values, table: LookupTable) -> Values:
    """Map values through a table; those outside take its first or last entry (PS3.3 C.11.1.1.1)."""
    position = np.nan_to_num(values) - np.float32(table.first)
    index = np.clip(np.rint(position), 0, len(table.entries) - 1).astype(np.intp)
    mapped: Values = table.entries[index].astype(np.float32)
    return mapped


def rescale(values: Values, slope: float, intercept: float) -> Values:
    """Return ``values * slope + intercept`` (PS3.3 C.11.1.1.2)."""
    with np.errstate(all="ignore"):
        return values * np.float32(slope) + np.float32(intercept)


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
    center, width = np.float32(window.center), np.float32(max(window.width, 1e-30))
    with np.errstate(all="ignore"):
        if function == "SIGMOID":
            shown = 1 / (1 + np.exp(-4 * (values - center) / width))
        elif function == "LINEAR_EXACT" or width < 1:
            shown = (values - center) / width + np.float32(0.5)
        elif width == 1:
            shown = values > center - np.float32(0.5)
        else:
            shown = (values - (center - np.float32(0.5))) / (width - 1) + np.float32(0.5)
    return _clipped(shown)


def stretch(values: Values, low: float, high: float) -> Values:
    """Map ``low..high`` to 0..1, clipped; where there is no such range, everything is 0. NaN becomes 0."""
    if not high > low:
        return np.zeros(values.shape, np.float32)
    with np.errstate(all="ignore"):
        shown = (values - np.float32(low)) / np.float32(high - low)
    return _clipped(shown)


def _clipped(shown: npt.NDArray[Any]) -> Values:
    clipped: Values = np.clip(np.nan_to_num(shown.astype(np.float32), posinf=1, neginf=0), 0, 1)
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
    if bits > 8:
        return (colour >> (bits - 8)).astype(np.uint8)
    if bits == 8:
        return colour.astype(np.uint8)
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
        would exceed `MAX_PIXELS`: then the finer one is reduced.
    """
    from PIL import Image

    if aspect is None or not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT or abs(aspect - 1) < 0.01:
        return np.ascontiguousarray(picture)
    rows, columns = picture.shape[:2]
    enlarged = rows * columns * max(aspect, 1 / aspect) <= MAX_PIXELS
    if (aspect > 1) == enlarged:
        size = (columns, max(1, round(rows * aspect)))
    else:
        size = (max(1, round(columns / aspect)), rows)
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
