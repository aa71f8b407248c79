"""A volume becomes frames: its slices in three planes, in radiological convention.

Frames are counted through the axial slices from the feet to the head, then the coronal ones from the back to the front,
then the sagittal ones from left to right, whatever the order in the file: a number stands for one slice.
"""

from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError, NotAnImage
from roco_search.imaging.dicom.levels import Levels
from roco_search.imaging.dicom.tags import Tags
from roco_search.imaging.frame import CtWindows, Frame, FrameChoice, FrameNumbers, Slices, Source, Window, choose_frames
from roco_search.imaging.render import (
    SOFT_TISSUE,
    Values,
    apply_window,
    as_values,
    by_stretches,
    in_windows,
    rescale,
    robust_range,
    square_pixels,
    stretch,
)
from roco_search.imaging.volume_formats import Volume, read_volume

PLANES = ("AXIAL", "CORONAL", "SAGITTAL")
_SAMPLE = 2**20  # Voxels that range and kind are estimated from.
_AIR, _NO_AIR = -900.0, -4096.0  # HU: what the first hundredth of a CT lies between.
_LONGEST_STEP = 1e6  # Millimetres; beyond this a direction is a damaged number.
_LEAST_EQUAL = 0.8  # Share of neighbours that are equal, from which voxels are labels; of scans it is below 0.3.


def open_volume(
    source: Source,
    window: Window | None,
    frames: FrameChoice | FrameNumbers,
    slices: Slices | None = None,
    ct_windows: CtWindows | None = None,
) -> Iterator[Frame]:
    """Yield slices of a volume, each when it is asked for.

    Parameters
    ----------
    source
        The file.
    window
        In the values of the file; None for the soft-tissue window of CT where they are Hounsfield units, and for a
        robust range otherwise.
    frames
        "middle" and a number are of slices in each of the chosen planes.
    slices
        How many slices of which planes "middle" stands for; None for one in the plane of the best resolution.

    Raises
    ------
    NotAnImage
        If its voxels are labels, or vectors.
    UnreadableImage
        If it is damaged, or too large.
    """
    stack = Stack(read_volume(source))
    for index in stack.choose(frames, slices):
        plane, number = stack.place(index)
        picture = stack.picture(plane, number, window, ct_windows)
        rows, columns = stack.matrix(plane)
        # What the series of a DICOM study would say: its plane, and which of its slices.
        tags = Tags(view=PLANES[plane], instance_number=number + 1, rows=rows, columns=columns)
        yield Frame(picture, tags, index, stack.count)


def each_levels(source: Source, frames: FrameNumbers) -> Iterator[Levels | None]:
    """Yield the grey levels of slices, by their numbers from 0; see `roco_search.imaging.read_levels`."""
    stack = Stack(read_volume(source))
    for index in choose_frames(stack.count, frames):
        yield _levels(stack, index)


def _levels(stack: "Stack", index: int) -> Levels | None:
    values = stack.values(*stack.place(index))
    finite = values[np.isfinite(values)]
    if not finite.size or finite.min() == finite.max():
        return None
    low, high = stack.range
    shown = SOFT_TISSUE if stack.hounsfield else Window((low + high + 1) / 2, max(high - low, 1) + 1)
    return Levels(float(finite.min()), float(finite.max()), shown, stack.hounsfield)


class _Axis(NamedTuple):
    """Which axis of the file runs along one of the body, and whether backwards; `step` in millimetres."""

    number: int
    backwards: bool
    step: float


class Stack:
    """The slices of a volume. `axes` are those to the right, to the front and upwards."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self.axes = _axes(volume.directions)
        self.lengths = [volume.shape[self.axes[2 - plane].number] for plane in range(3)]
        self._voxels = volume.voxels()
        step = max(1, round((self._voxels.size / _SAMPLE) ** (1 / 3)))
        some = self._voxels[::step, ::step, ::step]
        if volume.labels or _are_labels(self._voxels):
            raise NotAnImage("a label map or a mask, not a picture")
        values = self._scaled(some)
        self.range = robust_range(values)
        self.hounsfield = _are_hounsfield(values)

    @property
    def count(self) -> int:
        """Slices of all three planes."""
        return sum(self.lengths)

    def choose(self, frames: FrameChoice | FrameNumbers, slices: Slices | None) -> list[int]:
        """Return the indices of the chosen slices, ascending."""
        if isinstance(frames, tuple):
            return choose_frames(self.count, frames)
        planes = sorted({PLANES.index(name) for name in slices.planes}) if slices and slices.planes else [self.best]
        choice = slices.count if slices is not None and frames == "middle" else frames
        starts = [0, *accumulate(self.lengths)]
        return [starts[plane] + one for plane in planes for one in choose_frames(self.lengths[plane], choice)]

    @property
    def best(self) -> int:
        """The plane in which slices have the best resolution: across the axis with the longest step."""
        steps = [self.axes[2 - plane].step if self.lengths[plane] > 1 else np.inf for plane in range(3)]
        return int(np.argmax(np.round(steps, 3)))

    def place(self, index: int) -> tuple[int, int]:
        """Return plane and number in it of a slice."""
        plane = 0
        while index >= self.lengths[plane]:
            index -= self.lengths[plane]
            plane += 1
        return plane, index

    def matrix(self, plane: int) -> tuple[int, int]:
        """Return rows and columns of the slices of a plane."""
        down, across = _IN_PLANE[plane]
        return self.volume.shape[self.axes[down].number], self.volume.shape[self.axes[across].number]

    def values(self, plane: int, number: int) -> Values:
        """Return a slice as it is looked at: from the feet, from the front, from the left; the head, or nose, up."""
        through, (down, across) = self.axes[2 - plane], _IN_PLANE[plane]
        length = self.lengths[plane]
        taken = np.take(self._voxels, length - 1 - number if through.backwards else number, axis=through.number)
        rows, columns = self.axes[down], self.axes[across]
        if rows.number > columns.number:
            taken = taken.T
        # Both run from high to low: from the right side of the patient to the left one, from above, from the front.
        taken = taken[:: 1 if rows.backwards else -1, :: 1 if columns.backwards else -1]
        return self._scaled(np.ascontiguousarray(taken))

    def picture(
        self, plane: int, number: int, window: Window | None, ct_windows: CtWindows | None = None
    ) -> npt.NDArray[np.uint8]:
        """Render a slice, with square pixels."""
        down, across = _IN_PLANE[plane]
        aspect = self.axes[down].step / self.axes[across].step
        if window is None and self.hounsfield:
            if ct_windows is not None:
                return square_pixels(in_windows(self.values(plane, number), as_values, ct_windows), aspect)
            window = SOFT_TISSUE
        show = (
            partial(apply_window, window=window) if window else partial(stretch, low=self.range[0], high=self.range[1])
        )
        return square_pixels(by_stretches(self.values(plane, number), show, inverted=False), aspect)

    def _scaled(self, voxels: npt.NDArray[Any]) -> Values:
        values = as_values(np.asarray(voxels, voxels.dtype.newbyteorder("=")))
        if self.volume.slope in {0.0, 1.0} and self.volume.intercept == 0:
            return values
        return rescale(values, self.volume.slope or 1.0, self.volume.intercept)


_IN_PLANE = ((1, 0), (2, 0), (2, 1))
"""Of each plane, the axes that run down and across a picture."""


def _axes(directions: npt.NDArray[np.float64]) -> list[_Axis]:
    """Return which axis of the file is nearest to each of the body, the clearest first."""
    sound = bool((np.abs(directions) < _LONGEST_STEP).all())  # and not infinite, and a number
    directions = directions if sound else np.eye(3)
    steps = np.linalg.norm(directions, axis=0)
    usable = bool((steps > 0).all())
    directions, steps = (directions, steps) if usable else (np.eye(3), np.ones(3))
    cosines = directions / steps
    left, found = np.abs(cosines), dict[int, _Axis]()
    for _ in range(3):
        body, own = np.unravel_index(np.argmax(left), left.shape)
        found[int(body)] = _Axis(int(own), bool(cosines[body, own] < 0), float(steps[own]))
        left[body], left[:, own] = -1, -1
    return [found[body] for body in range(3)]


def _are_labels(voxels: npt.NDArray[Any]) -> bool:
    """Return whether integers are labels: few of them, or regions in which neighbours are equal."""
    middle = [slice(max(0, size // 2 - 64), size // 2 + 64) for size in voxels.shape]
    some = np.asarray(voxels[middle[0], middle[1], middle[2]])
    if some.dtype.kind == "f" and not (np.isfinite(some).all() and (some == np.rint(some)).all()):
        return False
    different, counts = np.unique(some, return_counts=True)
    if len(different) <= 2:
        return len(different) == 2 or not some.any()
    # What there is most of is the background, equal to itself in every picture.
    inside = some != different[counts.argmax()]
    axis = int(np.argmax(some.shape))
    pairs = np.take(some, range(1, some.shape[axis]), axis) == np.take(some, range(some.shape[axis] - 1), axis)
    both = np.take(inside, range(1, some.shape[axis]), axis)
    return bool(both.any()) and float(pairs[both].mean()) >= _LEAST_EQUAL


def _are_hounsfield(values: Values) -> bool:
    """Return whether values are Hounsfield units: air at -1000 around tissue near 0, as only CT has."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return False
    low, tissue = np.percentile(finite, [1, 95])
    return bool(_NO_AIR <= low <= _AIR and -200 <= tissue <= 3000 and finite.max() <= 32767)


def parse_planes(names: str) -> tuple[str, ...]:
    """Return the planes that a comma-separated list names.

    Raises
    ------
    InputError
        If one of them is none.
    """
    found = tuple(name.strip().upper() for name in names.split(",") if name.strip())
    if not found or not set(found) <= set(PLANES):
        raise InputError("planes are axial, coronal and sagittal, separated by commas")
    return found
