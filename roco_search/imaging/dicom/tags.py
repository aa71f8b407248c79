"""The allow-list: the only attributes of a DICOM file that roco may ever store.

Everything that is not named here is never read from a file at all (see `header.WANTED`). What is named is
checked against the standard's defined terms, because people and scanners write free text, names included,
into any attribute that holds text. A value that is not a defined term becomes None: `Tags` never holds free text.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from roco_search.imaging.dicom import terms
from roco_search.imaging.dicom.values import integer, items, numbers, texts

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_INTEGER_STRING = 2**31 - 1  # The largest value of an IS, PS3.5 6.2.
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_T = TypeVar("_T")

PLANES = ("SAGITTAL", "CORONAL", "AXIAL")
"""The plane that is across each axis of the patient: from right to left, from front to back, from foot to head."""
STRAIGHT = 0.8  # Cosine from which a plane is across an axis: within 37 degrees, as for GDCM and dicom3tools.
_RIGHT_ANGLE = 0.05  # How far the cosine between rows and columns, and their lengths from 1, may be off.

NEWER_SYNTAXES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
}
"""Transfer syntaxes that were registered in 2024, which pydicom 3.0 does not know yet, with their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What is known of an image apart from its pixels. Every attribute is optional.

    Attributes
    ----------
    modality
        Defined term of PS3.3 C.7.3.1.1.1, such as "CT".
    body_part
        Defined term of Table L-1 of PS3.16, such as "CHEST".
    view
        View position, such as "AP", "LATERAL" or "MLO"; of a slice that has none, its plane: see `plane_of`.
    laterality
        "L", "R", "B" (both) or "U" (unpaired).
    rows, columns
        The stored matrix in pixels, before the pixels are made square.
    photometric
        Photometric interpretation, PS3.3 C.7.6.3.1.2.
    sop_class, transfer_syntax
        UIDs that the standard registers.
    burned_in
        Whether the pixels are declared to hold burned-in annotation.
    instance_number, series_number
        As numbered by the scanner.
    localizer
        Whether the image is a localizer (a scout), by its Image Type.
    series_uid, study_uid
        For grouping only. They identify a patient's examination: the library stores keyed hashes of them and
        never the UIDs themselves, which is why they do not even show in ``repr``.
    """

    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    laterality: str | None = None
    rows: int | None = None
    columns: int | None = None
    photometric: str | None = None
    sop_class: str | None = None
    transfer_syntax: str | None = None
    burned_in: bool | None = None
    instance_number: int | None = None
    series_number: int | None = None
    localizer: bool | None = None
    series_uid: str | None = field(default=None, repr=False)
    study_uid: str | None = field(default=None, repr=False)


def read_tags(dataset: "Dataset", transfer_syntax: str | None) -> Tags:
    """Return the allow-listed attributes of `dataset`, each validated. Never raises."""
    image_type = texts(dataset, "ImageType")
    return Tags(
        modality=_term(dataset, "Modality", lambda text: text if text in terms.MODALITIES else None),
        body_part=_term(dataset, "BodyPartExamined", body_part),
        view=_term(dataset, "ViewPosition", view_position) or (None if _projected(dataset) else _plane(dataset)),
        laterality=_laterality(dataset),
        rows=_bounded(dataset, "Rows", 1, 65535),
        columns=_bounded(dataset, "Columns", 1, 65535),
        photometric=_term(
            dataset, "PhotometricInterpretation", lambda text: text if text in terms.PHOTOMETRIC else None
        ),
        sop_class=registered_uid((texts(dataset, "SOPClassUID") or [""])[0], "SOP Class"),
        transfer_syntax=registered_uid(transfer_syntax or "", "Transfer Syntax"),
        burned_in=_term(dataset, "BurnedInAnnotation", {"YES": True, "NO": False}.get),
        instance_number=_bounded(dataset, "InstanceNumber", 0, MAX_INTEGER_STRING),
        series_number=_bounded(dataset, "SeriesNumber", 0, MAX_INTEGER_STRING),
        localizer=any(value.strip().upper() == "LOCALIZER" for value in image_type) if image_type else None,
        series_uid=_uid(dataset, "SeriesInstanceUID"),
        study_uid=_uid(dataset, "StudyInstanceUID"),
    )


def body_part(text: str) -> str | None:
    """Return the term of Body Part Examined that `text` stands for, such as "CHEST", or None."""
    written = terms.compact(text)
    return written if written in terms.BODY_PARTS else terms.BODY_PART_ALIASES.get(written)


def view_position(text: str) -> str | None:
    """Return the view that `text` stands for, such as "PA" or "LATERAL", or None."""
    written = terms.compact(text)
    return written if written in terms.VIEWS else terms.VIEW_ALIASES.get(written)


@lru_cache(maxsize=512)
def registered_uid(text: str, kind: str) -> str | None:
    """Return `text` if it is a registered UID of `kind` ("SOP Class", "Transfer Syntax"), or None."""
    from pydicom import config
    from pydicom.uid import UID

    if kind == "Transfer Syntax" and text in NEWER_SYNTAXES:
        return text
    return text if _UID.fullmatch(text) and UID(text, config.IGNORE).type == kind else None


def plane_of(cosines: Sequence[float]) -> str | None:
    """Return the plane of a slice, "AXIAL", "CORONAL" or "SAGITTAL", or None if it is oblique or not known.

    Parameters
    ----------
    cosines
        Image Orientation (Patient) (0020,0037): the direction cosines of the rows and of the columns, to the left, to
        the back and to the head of the patient (PS3.3 C.7.6.2.1.1). What is across them both decides.
    """
    if len(cosines) != 6:
        return None
    (a, b, c), (d, e, f) = cosines[:3], cosines[3:]
    lengths = (math.hypot(a, b, c), math.hypot(d, e, f))
    if any(abs(length - 1) > _RIGHT_ANGLE for length in lengths) or abs(a * d + b * e + c * f) > _RIGHT_ANGLE:
        return None
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    return next((plane for plane, across in zip(PLANES, normal, strict=True) if abs(across) >= STRAIGHT), None)


def _plane(dataset: "Dataset") -> str | None:
    """Return the plane of a file: of an enhanced object, that of its first, middle and last frame if they agree."""
    if own := numbers(dataset, "ImageOrientationPatient"):
        return plane_of(own)
    groups = items(dataset, "SharedFunctionalGroupsSequence")[:1]
    if not any(items(group, "PlaneOrientationSequence") for group in groups):
        frames = items(dataset, "PerFrameFunctionalGroupsSequence")
        groups = [frames[place] for place in (0, len(frames) // 2, -1)] if frames else []
    macros = [items(group, "PlaneOrientationSequence")[:1] for group in groups]
    found = {plane_of(numbers(macro[0], "ImageOrientationPatient")) if macro else None for macro in macros}
    return found.pop() if len(found) == 1 else None


def _projected(dataset: "Dataset") -> bool:
    """Whether an image is the projection that a CT scanner plans with: it has an orientation, and is no slice."""
    kinds = {value.strip().upper() for value in texts(dataset, "ImageType")}
    return "LOCALIZER" in kinds and _term(dataset, "Modality", str) == "CT"


def _term(dataset: "Dataset", keyword: str, accept: Callable[[str], _T | None]) -> _T | None:
    values = texts(dataset, keyword)
    return accept(values[0].strip().upper()) if values else None


def _laterality(dataset: "Dataset") -> str | None:
    # Image Laterality is of the image, Laterality of the series (PS3.3 C.7.3.1): the nearer one is trusted.
    for keyword in ("ImageLaterality", "Laterality"):
        values = texts(dataset, keyword)
        if values and values[0].strip().upper() in terms.LATERALITIES:
            return values[0].strip().upper()
    return None


def _bounded(dataset: "Dataset", keyword: str, low: int, high: int) -> int | None:
    value = integer(dataset, keyword)
    return value if value is not None and low <= value <= high else None


def _uid(dataset: "Dataset", keyword: str) -> str | None:
    values = texts(dataset, keyword)
    return values[0] if values and len(values[0]) <= 64 and _UID.fullmatch(values[0]) else None
