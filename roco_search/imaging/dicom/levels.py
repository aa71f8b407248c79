"""The grey levels of a picture: what a window can choose from, and the window in which it is shown without one."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from roco_search.imaging.dicom import display
from roco_search.imaging.dicom.pipeline import Stored, each_frame, read_modality, read_voi, without_voi
from roco_search.imaging.dicom.values import text
from roco_search.imaging.frame import FrameNumbers, Source, Window
from roco_search.imaging.render import Values, sample


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


def each_levels(source: Source, frames: FrameNumbers) -> Iterator[Levels | None]:
    """Yield the grey levels of frames, by their numbers from 0; see `roco_search.imaging.read_levels`."""
    return each_frame(source, frames, lambda stored, _: _levels(stored))


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
