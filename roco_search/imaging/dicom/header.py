"""The header of a DICOM file: its wanted attributes, where its pixel data is, and whether it is a picture at all.

Only the attributes that rendering and the allow-list need are read (PS3.10 7, PS3.5 7). Which objects are pictures
follows from their SOP class (PS3.4 B.5).
"""

import contextlib
import io
import os
import zlib
from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

from roco_search.errors import NotAnImage, UnreadableImage
from roco_search.imaging.dicom.elements import (
    DAMAGED_HEADER,
    IMPLICIT,
    NO_PIXELS,
    element_at,
    elements,
    peek,
    read_value,
    write_element,
)
from roco_search.imaging.dicom.tags import registered_uid
from roco_search.imaging.dicom.values import texts
from roco_search.imaging.sniff import HEAD, Encoding, encoding_of, reads_as

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


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
        raise UnreadableImage(NO_PIXELS)
    raise NotAnImage("a DICOM object without pixel data, not a picture")


PIXEL_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
MAX_INFLATED = 400 * 2**20  # Bytes that a deflated dataset may become: deflate packs 1000 : 1.
MAX_VALUES = 32 * 2**20  # Bytes of wanted values: the functional groups of 10,000 frames.

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_ENCODINGS = {IMPLICIT_LITTLE: Encoding(True, True), EXPLICIT_BIG: Encoding(False, False)}
_SYNTAX_OF = {
    Encoding(True, True): IMPLICIT_LITTLE,
    Encoding(False, True): EXPLICIT_LITTLE,
    Encoding(False, False): EXPLICIT_BIG,
}
_META = Encoding(implicit=False, little_endian=True)  # Whatever the dataset is (PS3.10 7.1).

_WANTED = """
    ImageType SOPClassUID Modality BodyPartExamined ViewPosition StudyInstanceUID SeriesInstanceUID
    SeriesNumber InstanceNumber ImageOrientationPatient Laterality ImageLaterality BurnedInAnnotation SamplesPerPixel
    PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns BitsAllocated BitsStored HighBit
    PixelRepresentation PixelAspectRatio PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing
    PixelPaddingValue PixelPaddingRangeLimit PixelIntensityRelationship PixelPresentation
    RescaleIntercept RescaleSlope RescaleType ModalityLUTSequence
    WindowCenter WindowWidth VOILUTFunction VOILUTSequence PresentationLUTShape
    RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor
    BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData GreenPaletteColorLookupTableData
    BluePaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData
    SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence
    ShutterShape ShutterLeftVerticalEdge ShutterRightVerticalEdge ShutterUpperHorizontalEdge
    ShutterLowerHorizontalEdge CenterOfCircularShutter RadiusOfCircularShutter VerticesOfThePolygonalShutter
"""
WANTED = tuple(_WANTED.split())
"""The only attributes that are read: what `Tags` may hold and what rendering needs."""

_OVERLAY_ELEMENTS = (0x0010, 0x0011, 0x0015, 0x0050, 0x0051, 0x0100, 0x0102, 0x3000)
OVERLAYS = frozenset(group << 16 | element for group in range(0x6000, 0x6020, 2) for element in _OVERLAY_ELEMENTS)
"""Tags of the overlay planes (PS3.3 C.9.2), read only for those who ask for them: they may show a name."""


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data is: `length` is in bytes, or None if undefined (encapsulated, PS3.5 A.4)."""

    keyword: str
    vr: str
    offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class Header:
    """A DICOM file without its pixels.

    `syntax` is the UID as the file gives it (unchecked), or the one that its encoding implies where it gives
    none; `syntax_declared` says which. `file` is positioned anywhere; for a deflated dataset it is the
    inflated copy, of which `held` bytes are in memory.
    """

    dataset: "Dataset"
    sop_class: str
    syntax: str
    syntax_declared: bool
    encoding: Encoding
    file: BinaryIO
    size: int
    held: int
    pixels: PixelElement | None


def read_header(file: BinaryIO, *, overlays: bool = False) -> Header:
    """Read the wanted attributes of a DICOM file and find its pixel data.

    Parameters
    ----------
    file
        At its beginning.
    overlays
        Whether to read the overlay planes, too.

    Raises
    ------
    UnreadableImage
        If the file is not DICOM, or its dataset cannot be parsed.
    """
    # All of it, before any module of it: a reader's thread that imports a module of a package which another thread has
    # begun to import gets it half made, and its file would be called damaged.
    import pydicom  # noqa: F401

    head = file.read(HEAD)
    start = 132 if head[128:132] == b"DICM" else 0
    if start == 0 and encoding_of(head) is None:
        raise UnreadableImage("not a DICOM file, though its name says so; export it again")
    size = file.seek(0, os.SEEK_END)
    declared, media_class, start = _read_meta(file, start, size)
    held = 0
    if declared == DEFLATED:
        file.seek(start)
        file = _inflate(file)
        start, held = 0, (size := file.seek(0, os.SEEK_END))
    encoding = _dataset_encoding(file, start, declared)
    dataset, pixels = _read_dataset(file, start, encoding, size, _wanted_tags() | (OVERLAYS if overlays else set()))
    sop_class = texts(dataset, "SOPClassUID") or [media_class]
    return Header(
        dataset=dataset,
        sop_class=sop_class[0],
        syntax=declared or _SYNTAX_OF[encoding],
        syntax_declared=bool(declared),
        encoding=encoding,
        file=file,
        size=size,
        held=held,
        pixels=pixels,
    )


@cache
def _wanted_tags() -> frozenset[int]:
    from pydicom.datadict import tag_for_keyword

    found = (tag_for_keyword(keyword) for keyword in WANTED)
    return frozenset(tag for tag in found if tag is not None)


def _read_meta(file: BinaryIO, start: int, size: int) -> tuple[str, str, int]:
    """Return transfer syntax and SOP class of the file meta information, and where the dataset begins.

    If an element occurs twice, the first counts, as for dcmtk: the second was added by a program that did not
    look.
    """
    found: dict[int, str] = {}
    while peek(file, start, 2) == b"\x02\0":
        element = element_at(file, start, _META, size)
        if element is None or element.length is None or element.offset + element.length > size:
            raise UnreadableImage(DAMAGED_HEADER)
        start = element.offset + element.length
        if element.tag in {0x00020002, 0x00020010}:
            value = read_value(file, element, _META, size).decode("ascii", "replace").strip(" \0")
            found.setdefault(element.tag, value)
    return found.get(0x00020010, ""), found.get(0x00020002, ""), start


def _dataset_encoding(file: BinaryIO, start: int, declared: str) -> Encoding:
    """Return the encoding of the dataset that begins here: the declared one, or the only one in which it reads."""
    file.seek(start)
    head = file.read(HEAD)
    if declared:
        encoding = _ENCODINGS.get(declared, Encoding(False, True))
        return encoding if reads_as(head, encoding) else encoding_of(head) or encoding
    found = encoding_of(head)
    if found is None:
        raise UnreadableImage("its transfer syntax is missing and cannot be inferred from its data; export it again")
    return found


def _inflate(file: BinaryIO) -> BinaryIO:
    """Return the dataset of a deflated file (PS3.5 A.5), inflated into memory up to a limit."""
    inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    try:
        while not inflater.eof and (packed := inflater.unconsumed_tail or file.read(2**18)):
            inflated += inflater.decompress(packed, 2**22)
            if len(inflated) > MAX_INFLATED:
                raise UnreadableImage(
                    f"too large: its deflated data becomes more than {MAX_INFLATED >> 20} MiB; export it uncompressed"
                )
    except zlib.error:
        raise UnreadableImage("its deflated data is damaged; copy or export it again") from None
    if not inflater.eof:
        raise UnreadableImage("cut short: its deflated data has no end; copy or export it again")
    return io.BytesIO(memoryview(inflated))


def _read_dataset(
    file: BinaryIO, start: int, encoding: Encoding, size: int, wanted: Container[int]
) -> tuple["Dataset", PixelElement | None]:
    """Return the wanted elements as a dataset, and the pixel data element if there is one."""
    from pydicom.datadict import dictionary_VR

    written, foreign, total = bytearray(), list[tuple[int, bytes]](), 0
    for element in elements(file, start, encoding, size, min(PIXEL_KEYWORDS)):
        if element.tag in PIXEL_KEYWORDS:
            vr_of_pixels = element.vr.decode("ascii") or "OW"
            pixels = PixelElement(PIXEL_KEYWORDS[element.tag], vr_of_pixels, element.offset, element.length)
            return _parse(written, encoding, foreign), pixels
        # A damaged length can claim 4 GiB: a value longer than the file is skipped, not allocated.
        if element.tag not in wanted or (element.length is not None and element.offset + element.length > size):
            continue
        value = read_value(file, element, encoding, size)
        total += len(value)
        if total > MAX_VALUES:
            raise UnreadableImage(f"too large: its header holds more than {MAX_VALUES >> 20} MiB; export it again")
        vr = element.vr
        if vr in {b"", b"UN"}:
            known = dictionary_VR(element.tag).encode()
            if known == b"SQ" and vr == b"UN":
                foreign.append((element.tag, value))
                continue
            vr = known if len(known) == 2 else b"OW" if b"OW" in known else b"US"
        written += write_element(element.tag, vr, value, encoding, undefined=element.length is None)
    return _parse(written, encoding, foreign), None


def _parse(written: bytes | bytearray, encoding: Encoding, foreign: list[tuple[int, bytes]]) -> "Dataset":
    """Return a dataset of elements; `foreign` are sequences of VR UN, which are implicit VR little endian."""
    from pydicom.filereader import read_dataset

    dataset = read_dataset(io.BytesIO(written), encoding.implicit, encoding.little_endian)
    for tag, value in foreign:
        content = write_element(tag, b"SQ", value, IMPLICIT, undefined=value.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0"))
        with contextlib.suppress(Exception):  # What cannot be read is not there, as any other attribute.
            dataset.update(read_dataset(io.BytesIO(content), True, True))
    return dataset
