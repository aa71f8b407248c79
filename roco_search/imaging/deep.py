"""Pictures of any number type and depth become 8 bits for an eye: what TIFF and deep PNG have in common."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.imaging.dicom.samples import stretches
from roco_search.imaging.frame import Window
from roco_search.imaging.render import apply_window, as_values, average, by_stretches, robust_range, sample, stretch


@dataclass(frozen=True, slots=True, eq=False)
class Grey:
    """A grey picture: `values` ``(rows, columns)`` of any real type with `bits` bits; `inverted` if 0 is white."""

    values: npt.NDArray[Any]
    bits: int
    inverted: bool = False

    def render(self, window: Window | None, factor: int) -> npt.NDArray[np.uint8]:
        """Return the picture ``(rows, columns, 3)``, made smaller by `factor`.

        Unsigned values of up to 8 bits are shown as they are. Others are shown over `window`, or over the range of the
        data, not of the format: a 16-bit file of a radiograph holds 10 to 14 bits, and over the full 16 it would be
        black.
        """
        values = average(self.values.view(np.uint8) if self.values.dtype == bool else self.values, factor)
        if self.bits <= 8 and self.values.dtype.kind in "bu":
            show = partial(stretch, low=0, high=2**self.bits - 1)
        elif window is not None:
            show = partial(apply_window, window=window)
        else:
            low, high = robust_range(as_values(sample(values)))
            show = partial(stretch, low=low, high=high)
        return by_stretches(values, lambda rows: show(as_values(rows)), inverted=self.inverted)


def colours(rgb: npt.NDArray[Any], bits: int, window: Window | None, factor: int) -> npt.NDArray[np.uint8]:
    """Return RGB values ``(rows, columns, 3)`` of any real type as a picture, made smaller by `factor`.

    Deeper ones than 8 bits that are grey, a radiograph that was exported as colour, are rendered as grey. Unsigned
    integers otherwise fill the bits that the greatest of them needs; all other numbers their robust range.
    """
    from PIL import Image

    if bits > 8 or rgb.dtype.kind != "u":
        if _is_grey(rgb):
            return Grey(rgb[:, :, 0], bits).render(window, factor)
        picture = _to_eight_bits(rgb)
    elif bits == 8:
        picture = np.ascontiguousarray(rgb, dtype=np.uint8)
    else:
        picture = (rgb.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
    return picture if factor == 1 else np.asarray(Image.fromarray(picture).reduce(factor))


def _is_grey(rgb: npt.NDArray[Any]) -> bool:
    return all(
        bool((rows[:, :, 0] == rows[:, :, 1]).all() and (rows[:, :, 0] == rows[:, :, 2]).all())
        for rows in np.array_split(rgb, max(1, rgb.shape[0] // 256))
    )


def _to_eight_bits(rgb: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    picture = np.empty(rgb.shape, np.uint8)
    if rgb.dtype.kind == "u":
        shift = max(0, int(rgb.max(initial=0)).bit_length() - 8)
        np.right_shift(rgb, shift, out=picture, casting="unsafe")
        return picture
    low, high = robust_range(as_values(sample(rgb)))
    for row in range(len(rgb)):
        picture[row] = np.rint(stretch(as_values(rgb[row]), low, high) * 255)
    return picture


def over_black(picture: npt.NDArray[np.uint8], alpha: npt.NDArray[Any] | None) -> npt.NDArray[np.uint8]:
    """Lay a picture over black, the background of a radiograph, in place; `alpha` is None where all of it is opaque.

    Over white, transparency would put a bright frame around it.
    """
    if alpha is None:
        return picture
    full = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    for part in stretches(len(picture) * picture.shape[1]):
        shown = picture.reshape(-1, 3)[part]
        opaque = np.clip(alpha.reshape(-1)[part].astype(np.float32) / np.float32(full), 0, 1)
        if opaque.min(initial=1) < 1:
            shown[:] = np.rint(shown * opaque[:, np.newaxis])
    return picture
