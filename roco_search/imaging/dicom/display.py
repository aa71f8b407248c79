"""How one frame asks to be displayed: the attributes of the rendering pipeline, read from the header.

In an enhanced multi-frame object these are in functional groups, shared or per frame (PS3.3 C.7.6.16);
elsewhere at the root of the dataset.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from roco_search.imaging.dicom.values import items, number, numbers, text, texts, words
from roco_search.imaging.frame import Window
from roco_search.imaging.render import LookupTable, Values, VoiFunction, apply_lookup_table, as_values, rescale

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Modality:
    """The Modality LUT module (PS3.3 C.11.1): a table, or slope and intercept; `stated` if there is any."""

    table: LookupTable | None
    slope: float
    intercept: float
    stated: bool
    hounsfield: bool

    @property
    def is_identity(self) -> bool:
        """Whether it leaves the values as they are."""
        return self.table is None and self.slope == 1 and self.intercept == 0

    def applied(self, stored: npt.NDArray[Any]) -> Values:
        """Return the modality values of stored ones (PS3.3 C.11.1)."""
        values = as_values(stored)
        if self.table is not None:
            return apply_lookup_table(values, self.table)
        return rescale(values, self.slope, self.intercept)

    def least(self, stored: int) -> float:
        """Return the least value that can come out, given the least stored one that there can be."""
        return 0.0 if self.table is not None else stored * self.slope + self.intercept


@dataclass(frozen=True, slots=True)
class Voi:
    """The VOI LUT module (PS3.3 C.11.2): a table, a window, or neither."""

    table: LookupTable | None
    window: Window | None
    function: VoiFunction


def functional_group(dataset: "Dataset", index: int, macro: str) -> "Dataset":
    """Return the item that holds `macro` for frame `index`: its own, the shared one, or the dataset."""
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    groups = per_frame[index : index + 1] + items(dataset, "SharedFunctionalGroupsSequence")[:1]
    found = [item for group in groups for item in items(group, macro)[:1]]
    return found[0] if found else dataset


def read_modality(dataset: "Dataset", index: int, *, signed: bool) -> Modality:
    """Return the modality transformation of frame `index`; the identity where there is no usable one.

    The table of an X-ray angiogram with logarithmic pixels leads back to the intensity of the rays (PS3.3 C.8.7.1.1.2):
    it is for measuring, not for display, and is left out.
    """
    group = functional_group(dataset, index, "PixelValueTransformationSequence")
    slope, intercept = number(group, "RescaleSlope"), number(group, "RescaleIntercept")
    tables = [] if _is_log_of_x_rays(dataset) else items(group, "ModalityLUTSequence")
    table = read_lookup_table(tables[0], signed=signed) if tables else None
    usable = slope is not None and intercept is not None and slope != 0
    return Modality(
        table=table,
        slope=slope if usable and slope is not None else 1.0,
        intercept=intercept if usable and intercept is not None else 0.0,
        stated=usable or table is not None,
        hounsfield=usable and text(group, "RescaleType") in {"", "HU"},
    )


def _is_log_of_x_rays(dataset: "Dataset") -> bool:
    relationship = text(dataset, "PixelIntensityRelationship")
    return relationship in {"LOG", "DISP"} and text(dataset, "Modality") in {"XA", "RF"}


def read_voi(dataset: "Dataset", index: int, *, signed: bool) -> Voi:
    """Return the VOI transformation of frame `index`.

    Of several windows or tables the first is taken: they are alternatives (PS3.3 C.11.2.1.2), and vendors put
    the one meant by default first. A window that cannot be used is as if it were not there.

    Parameters
    ----------
    dataset, index
        The header and the number of the frame.
    signed
        Whether the values that it maps can be negative, in any frame: see `Modality.least`.
    """
    group = functional_group(dataset, index, "FrameVOILUTSequence")
    tables = items(group, "VOILUTSequence")
    centers, widths = numbers(group, "WindowCenter"), numbers(group, "WindowWidth")
    window = Window(centers[0], widths[0]) if centers and widths and widths[0] > 0 else None
    stated = text(group, "VOILUTFunction")
    function: VoiFunction = "LINEAR"
    if stated == "SIGMOID":
        function = "SIGMOID"
    elif stated == "LINEAR_EXACT":
        function = "LINEAR_EXACT"
    return Voi(read_lookup_table(tables[0], signed=signed) if tables else None, window, function)


def read_lookup_table(item: "Dataset", *, signed: bool) -> LookupTable | None:
    """Return the table in an item of a LUT sequence, or None if it is not well-formed.

    Parameters
    ----------
    item
        Item with LUT Descriptor and LUT Data.
    signed
        Whether the values to be mapped can be negative; then so is the first one mapped (PS3.3 C.11.1.1.1),
        whatever VR it is written with. One that is written as a negative number is one.
    """
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        return None
    count, first, bits = (int(value) for value in descriptor)
    entries = table_entries(words(item, "LUTData"), count, bits)
    if entries is None:
        return None
    signed = signed or first < 0
    first &= 0xFFFF
    return LookupTable(first - 65536 if signed and first >= 32768 else first, entries)


def table_entries(data: npt.NDArray[np.uint16] | None, count: int, bits: int) -> npt.NDArray[np.uint16] | None:
    """Return the entries of a lookup table: one a word, or two where 8-bit entries were packed; None if too few.

    `count` is that of the descriptor, where 0 stands for 2**16, which does not fit its VR.
    """
    count = count & 0xFFFF or 65536
    if data is not None and bits <= 8 and len(data) < count:
        data = data.astype("<u2").view(np.uint8).astype(np.uint16)
    return None if data is None or len(data) < count else data[:count]


def padding_range(dataset: "Dataset", *, signed: bool) -> tuple[int, int] | None:
    """Return the stored values, from and to, that stand for no pixel at all (PS3.3 C.7.5.1.1.2), or None."""
    value = number(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = number(dataset, "PixelPaddingRangeLimit")
    ends = sorted(_as_stored(int(end), signed) for end in (value, value if limit is None else limit))
    return ends[0], ends[1]


def _as_stored(value: int, signed: bool) -> int:
    # Of VR "US or SS": a file may give a negative value as the unsigned one with the same 16 bits, or the
    # reverse.
    value &= 0xFFFF
    return value - 65536 if signed and value >= 32768 else value


def is_inverted(dataset: "Dataset", photometric: str) -> bool:
    """Return whether low values are shown bright: MONOCHROME1, or Presentation LUT Shape INVERSE.

    Together they invert once, not twice: a DX image of MONOCHROME1 must state INVERSE (PS3.3 C.8.11.3).
    """
    return photometric == "MONOCHROME1" or text(dataset, "PresentationLUTShape") == "INVERSE"


def pixel_aspect(dataset: "Dataset", index: int) -> float | None:
    """Return the height of a pixel of frame `index` over its width, or None if it is not stated.

    Spacings are "between rows, between columns" (PS3.3 10.7.1.3), Pixel Aspect Ratio is "vertical,
    horizontal" (C.7.6.3.1.7): in each the first number is the height.
    """
    measures = functional_group(dataset, index, "PixelMeasuresSequence")
    for holder, keyword in (
        (measures, "PixelSpacing"),
        (dataset, "ImagerPixelSpacing"),
        (dataset, "NominalScannedPixelSpacing"),
        (dataset, "PixelAspectRatio"),
    ):
        pair = numbers(holder, keyword)
        if len(pair) == 2 and min(pair) > 0:
            return pair[0] / pair[1]
    return None


def is_localizer(dataset: "Dataset") -> bool:
    """Return whether the image is a localizer (a scout) by its Image Type (PS3.3 C.8.2.1.1.1)."""
    return any(value.strip().upper() == "LOCALIZER" for value in texts(dataset, "ImageType"))
