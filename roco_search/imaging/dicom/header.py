"""Which DICOM objects are pictures, by their SOP class (PS3.4 B.5)."""

import io
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from roco_search.errors import NotAnImage, UnreadableImage
from roco_search.imaging.dicom.tags import registered_uid
from roco_search.imaging.dicom.values import texts
from roco_search.imaging.sniff import HEAD, Encoding, encoding_of

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
        raise UnreadableImage("it ends before its pixel data; copy or export it again")
    raise NotAnImage("a DICOM object without pixel data, not a picture")


CUT_SHORT = "cut short: it ends before its pixels do; copy or export it again"
DAMAGED = "its pixel data is damaged; copy or export it again"


def check_fragments(file: BinaryIO, pixels: "PixelElement", size: int, frames: int) -> None:
    """Walk the items of encapsulated pixel data (PS3.5 A.4), reading their heads alone.

    Raises
    ------
    UnreadableImage
        If an item runs past the end of the file, or there are fewer fragments than frames.
    """
    if pixels.length is not None:
        raise UnreadableImage("its transfer syntax says compressed, its pixel data is not; export it again")
    offset, fragments = pixels.offset, -1  # The first item is the Basic Offset Table.
    while True:
        head = _peek(file, offset, 8)
        if len(head) < 8:
            # The closing delimiter alone may be missing: every frame is there.
            if len(head) == 0 and fragments >= max(1, frames):
                return
            raise UnreadableImage(CUT_SHORT)
        group, element, length = struct.unpack("<HHI", head)
        if (group, element) == (0xFFFE, 0xE0DD):
            break
        if (group, element) != (0xFFFE, 0xE000):
            if fragments < 0:
                raise UnreadableImage("its transfer syntax says compressed, its pixel data is not; export it again")
            raise UnreadableImage(DAMAGED)
        offset += 8 + length
        fragments += 1
        if offset > size:
            raise UnreadableImage(CUT_SHORT)
    if fragments < frames:
        raise UnreadableImage("it holds fewer frames than its header says; copy or export it again")


def _peek(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return some bytes of a file on disk, and no page around them as its buffer would; or of one in memory."""
    try:
        return os.pread(file.fileno(), length, offset)
    except (AttributeError, io.UnsupportedOperation):
        file.seek(offset, os.SEEK_SET)
        return file.read(length)


PIXEL_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
MAX_INFLATED = 2**30  # Bytes that a deflated dataset may become: deflate packs 1000 : 1, so 1 MiB hides 1 GiB.

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_PIXEL_VRS = frozenset({b"OB", b"OW", b"OF", b"OD", b"UN"})
_ENCODINGS = {IMPLICIT_LITTLE: Encoding(True, True), EXPLICIT_BIG: Encoding(False, False)}
_SYNTAX_OF = {
    Encoding(True, True): IMPLICIT_LITTLE,
    Encoding(False, True): EXPLICIT_LITTLE,
    Encoding(False, False): EXPLICIT_BIG,
}

_WANTED = """
    ImageType SOPClassUID Modality BodyPartExamined ViewPosition StudyInstanceUID SeriesInstanceUID
    SeriesNumber InstanceNumber Laterality ImageLaterality BurnedInAnnotation SamplesPerPixel
    PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns BitsAllocated BitsStored HighBit
    PixelRepresentation PixelAspectRatio PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing
    PixelPaddingValue PixelPaddingRangeLimit RescaleIntercept RescaleSlope RescaleType ModalityLUTSequence
    WindowCenter WindowWidth VOILUTFunction VOILUTSequence PresentationLUTShape
    RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor
    BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData GreenPaletteColorLookupTableData
    BluePaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData
    SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence ExtendedOffsetTable
    ExtendedOffsetTableLengths
"""
WANTED = tuple(_WANTED.split())
"""The only attributes that are read: what `Tags` may hold and what rendering needs."""


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data lies: `length` is in bytes, or None if undefined (encapsulated, PS3.5 A.4)."""

    keyword: str
    vr: str
    offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class Header:
    """A DICOM file without its pixels.

    `syntax` is the UID as the file gives it (unchecked), or the one that its encoding implies where it gives
    none; `syntax_declared` tells which. `file` is positioned anywhere; for a deflated dataset it is the
    inflated copy.
    """

    dataset: "Dataset"
    sop_class: str
    syntax: str
    syntax_declared: bool
    file: BinaryIO
    size: int
    pixels: PixelElement | None


def read_header(file: BinaryIO) -> Header:
    """Read the wanted attributes of a DICOM file and find its pixel data.

    Raises
    ------
    UnreadableImage
        If the file is not DICOM, or its dataset cannot be told apart.
    """
    from pydicom.filereader import read_dataset
    from pydicom.tag import BaseTag, Tag

    head = file.read(HEAD)
    start = 132 if head[128:132] == b"DICM" else 0
    if start == 0 and encoding_of(head) is None:
        raise UnreadableImage("not a DICOM file, though its name says so; export it again")
    size = file.seek(0, os.SEEK_END)
    file.seek(start)
    # PS3.10 7.1: the file meta information is explicit VR little endian, whatever the dataset is.
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 0x0002, defer_size=size)
    declared = (texts(meta, "TransferSyntaxUID") or [""])[0]
    if declared == DEFLATED:
        file = _inflate(file)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
    encoding = _dataset_encoding(file, declared)
    dataset = read_dataset(
        file,
        encoding.implicit,
        encoding.little_endian,
        stop_when=lambda tag, vr, length: tag in PIXEL_KEYWORDS,
        # A damaged length can claim 4 GiB: a value longer than the file is skipped, not allocated.
        defer_size=size,
        specific_tags=[BaseTag(Tag(keyword)) for keyword in WANTED],
    )
    sop_class = texts(dataset, "SOPClassUID") or texts(meta, "MediaStorageSOPClassUID") or [""]
    return Header(
        dataset=dataset,
        sop_class=sop_class[0],
        syntax=declared or _SYNTAX_OF[encoding],
        syntax_declared=bool(declared),
        file=file,
        size=size,
        pixels=_pixel_element(file, encoding),
    )


def _dataset_encoding(file: BinaryIO, declared: str) -> Encoding:
    """Return the encoding of the dataset that begins here: the declared one, or the one in which it reads."""
    if declared:
        return _ENCODINGS.get(declared, Encoding(False, True))
    position = file.tell()
    encoding = encoding_of(file.read(HEAD))
    file.seek(position)
    if encoding is None:
        raise UnreadableImage("its transfer syntax is missing and cannot be told from its data; export it again")
    return encoding


def _inflate(file: BinaryIO) -> BinaryIO:
    """Return the dataset of a deflated file (PS3.5 A.5), inflated into memory up to a limit."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(file.read(), MAX_INFLATED)
    except zlib.error:
        raise UnreadableImage("its deflated data is damaged; copy or export it again") from None
    if inflater.unconsumed_tail:
        raise UnreadableImage("too large: its deflated data becomes more than 1 GiB; export it uncompressed")
    if not inflater.eof:
        raise UnreadableImage("cut short: its deflated data has no end; copy or export it again")
    return io.BytesIO(inflated)


def _pixel_element(file: BinaryIO, encoding: Encoding) -> PixelElement | None:
    """Read the head of the element at which the dataset's reading stopped, if it is pixel data."""
    order = "<" if encoding.little_endian else ">"
    head = file.read(8)
    if len(head) < 8:
        return None
    group, element = struct.unpack_from(f"{order}HH", head)
    keyword = PIXEL_KEYWORDS.get(group << 16 | element)
    if keyword is None:
        return None
    if head[4:6] not in _PIXEL_VRS:
        # Implicit VR, which some files are in spite of the transfer syntax that they state; pydicom copes as
        # well.
        vr, length = "OW", struct.unpack_from(f"{order}I", head, 4)[0]
    else:
        vr = head[4:6].decode("ascii", "replace")
        rest = file.read(4)
        if len(rest) < 4:
            return None
        length = struct.unpack(f"{order}I", rest)[0]
    return PixelElement(keyword, vr, file.tell(), None if length == 0xFFFFFFFF else length)
