"""Which DICOM objects are pictures, by their SOP class (PS3.4 B.5)."""

from roco_search.errors import NotAnImage, UnreadableImage
from roco_search.imaging.tags import registered_uid

_NOT_PICTURES = (
    # A part of the registered SOP class name, and what to call such an object. The first that fits counts.
    ("Media Storage Directory", "a DICOMDIR: a directory of other files, not a picture"),
    ("Segmentation", "a segmentation, not a picture"),
    ("SR", "a structured report, not a picture"),
    ("Structured Report", "a structured report, not a picture"),
    ("Procedure Log", "a structured report, not a picture"),
    ("Radiation Dose", "a structured report, not a picture"),
    ("Key Object Selection", "a key object selection, not a picture"),
    ("Encapsulated PDF", "an encapsulated PDF, not a picture"),
    ("Encapsulated", "an encapsulated document, not a picture"),
    ("Presentation State", "a presentation state, not a picture"),
    ("RT Dose", "a radiotherapy dose grid, not a picture"),
    ("RT Structure Set", "a radiotherapy structure set, not a picture"),
    ("RT ", "a radiotherapy object, not a picture"),
    ("Waveform", "a waveform, not a picture"),
    ("ECG", "a waveform, not a picture"),
    ("Raw Data", "raw data, not a picture"),
    ("Spectroscopy", "a spectroscopy, not a picture"),
    ("Surface", "a surface mesh, not a picture"),
    ("Registration", "a spatial registration, not a picture"),
    ("Fiducials", "a set of fiducials, not a picture"),
    ("Real World Value Mapping", "a value mapping, not a picture"),
)
_PICTURES = ("Image Storage", "Parametric Map Storage")


def refuse_unless_picture(sop_class: str, *, has_pixels: bool) -> None:
    """Pass over an object that is not a picture.

    Parameters
    ----------
    sop_class
        SOP Class UID as the file gives it.
    has_pixels
        Whether the file holds a pixel data element.

    Raises
    ------
    NotAnImage
        If objects of this class hold no picture, or this one holds no pixel data.
    UnreadableImage
        If the object should be a picture but its pixel data is not there.
    """
    from pydicom.uid import UID

    name = UID(sop_class).name if registered_uid(sop_class, "SOP Class") else ""
    is_picture = any(part in name for part in _PICTURES)
    if not is_picture:
        for part, reason in _NOT_PICTURES:
            if part in name:
                raise NotAnImage(reason)
    if has_pixels:
        return
    if is_picture:
        raise UnreadableImage("it ends before its pixel data; copy or export it again")
    raise NotAnImage("a DICOM object without pixel data, not a picture")
