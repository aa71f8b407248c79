"""The grey levels of a picture: what a window can choose from, and the window in which it is shown without one."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roco_search.errors import UnreadableImage
from roco_search.imaging.dicom import display
from roco_search.imaging.dicom.pipeline import Stored, each_frame, read_modality, read_voi, without_voi
from roco_search.imaging.dicom.values import text
from roco_search.imaging.frame import Window
from roco_search.imaging.render import Values, sample
from roco_search.imaging.sniff import sniff


@dataclass(frozen=True, slots=True)
class Levels:
    """The grey values of a frame before any window.

    Attributes
    ----------
    low, high
        The least and the greatest value, in modality units (PS3.3 C.11.1).
    window
        In which `open_image` shows it, linear. Where the file brings a table or a sigmoid (PS3.3 C.11.2), the window
        over the same values comes nearest.
    hounsfield
        Whether the values are Hounsfield units, so that the usual windows of CT fit.
    """

    low: float
    high: float
    window: Window
    hounsfield: bool


def read_levels(path: str | os.PathLike[str], frame: int = 0) -> Levels | None:
    """Read the grey levels of a frame, counted from 0.

    Returns None where a window of `open_image` changes nothing: colour, palettes, rasters, and frames of one value.

    Raises
    ------
    NotAnImage, UnreadableImage
        As `open_image` does.
    """
    match sniff(Path(path)):
        case "dicom":
            return next(each_frame(Path(path), (frame,), lambda stored, _: _levels(stored)))
        case "raster":
            return None
        case None:
            raise UnreadableImage("not a picture: PNG, JPEG, TIFF, WebP, BMP and DICOM are read; export it as one")


def _levels(stored: Stored) -> Levels | None:
    if stored.array.ndim != 2 or stored.photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        return None
    modality = read_modality(stored)
    values = modality.applied(sample(stored.array))
    finite = values[np.isfinite(values)]
    if not finite.size or finite.min() == finite.max():
        return None
    low, high = float(finite.min()), float(finite.max())
    is_ct = text(stored.dataset, "Modality") == "CT" and not display.is_localizer(stored.dataset)
    return Levels(low, high, _window(values, stored, modality), is_ct and modality.stated and modality.hounsfield)


def _window(values: Values, stored: Stored, modality: display.Modality) -> Window:
    voi = read_voi(stored, modality)
    if voi.table is not None:
        last = len(voi.table.entries) - 1
        return _between(float(voi.table.first), float(voi.table.first + last))
    if voi.window is not None:
        return voi.window
    chosen = without_voi(values, stored, modality)
    return chosen if isinstance(chosen, Window) else _between(*chosen)


def _between(low: float, high: float) -> Window:
    """Return the window that shows ``low`` black and ``high`` white, by PS3.3 C.11.2.1.2.1."""
    return Window((low + high + 1) / 2, max(high - low, 1) + 1)
