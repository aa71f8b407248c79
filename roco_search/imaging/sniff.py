"""What a file is, by its first bytes."""

import os
import re
import stat
import struct
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

from roco_search.errors import UnreadableImage
from roco_search.imaging.archives import Member, locate

Kind = Literal["raster", "dicom", "volume"]

HEAD = 1024  # One block: the preamble, the prefix and a few elements.
_RASTER_EXTENSIONS = ".png .jpg .jpeg .jpe .jfif .tif .tiff .webp .bmp .avif .heic .heif"
RASTER_EXTENSIONS = frozenset(_RASTER_EXTENSIONS.split())
DICOM_EXTENSIONS = frozenset({".dcm", ".dicom"})
VOLUME_EXTENSIONS = frozenset({".nii", ".gz", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd"})
IMAGE_EXTENSIONS = RASTER_EXTENSIONS | DICOM_EXTENSIONS | VOLUME_EXTENSIONS
_META_IMAGE = re.compile(rb"\s*(ObjectType\s*=\s*Image|NDims\s*=\s*[123])\s")
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())


class Encoding(NamedTuple):
    """How the elements of a dataset are written, PS3.5 section 7."""

    implicit: bool
    little_endian: bool


def sniff(path: str | os.PathLike[str]) -> Kind | None:
    """Return what `path` holds, by its content: a raster picture, a DICOM object, a volume, or none of them (None).

    One open and one read of 1 KiB. A file that has the extension of a picture but not the content counts as
    that picture, so that its corruption is reported rather than passed over. A DICOM file needs no extension
    and no preamble. Anything but a regular file is None.

    Raises
    ------
    UnreadableImage
        If the file cannot be opened or read.
    """
    source = locate(path)
    head = _read_head(source)
    return None if head is None else kind_of(head, source.suffix)


def kind_of(head: bytes, suffix: str = "") -> Kind | None:
    """Return what a file holds that begins with `head` and whose name ends in `suffix`: see `sniff`."""
    if is_dicom(head):
        return "dicom"
    suffix = suffix.lower()
    if is_volume(head) or (suffix == ".hdr" and is_analyze(head)):
        return "volume"
    if is_raster(head) or suffix in RASTER_EXTENSIONS:
        return "raster"
    return "dicom" if suffix in DICOM_EXTENSIONS else None


def cannot_open(error: OSError) -> UnreadableImage:
    """Return the refusal that says why a file could not be opened or read."""
    if isinstance(error, PermissionError):
        return UnreadableImage("no permission to read it; change its permissions or run as a user who may")
    if isinstance(error, FileNotFoundError):
        return UnreadableImage("there is no such file; check the path")
    if isinstance(error, IsADirectoryError):
        return UnreadableImage("it is a folder, not a file; name a file in it")
    return UnreadableImage("the system could not read it; check the disk or the network drive")


def _read_head(path: Path | Member) -> bytes | None:
    if isinstance(path, Member):
        try:
            return path.head(HEAD)
        except OSError as error:
            raise cannot_open(error) from None
    # Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
        try:
            return os.read(descriptor, HEAD) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
        finally:
            os.close(descriptor)
    except OSError as error:
        raise cannot_open(error) from None


AVIF = frozenset({b"avif", b"avis"})
HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def brand(head: bytes) -> bytes:
    """Return the major brand of a file of the ISO base media format (ISO 14496-12 4.3); of another, nothing."""
    return head[8:12] if head[4:8] == b"ftyp" else b""


def is_tiff(head: bytes) -> bool:
    """Return whether a file that begins with `head` is TIFF or BigTIFF."""
    return head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def is_raster(head: bytes) -> bool:
    """Return whether a file that begins with `head` is PNG, JPEG, TIFF, WebP, BMP, AVIF or HEIC."""
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or is_tiff(head) or brand(head) in AVIF | HEIF:
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    # "BM" alone begins many a text: the size of the header that follows must be one that exists.
    return head[:2] == b"BM" and len(head) > 18 and struct.unpack("<I", head[14:18])[0] in _BMP_HEADERS


def is_dicom(head: bytes) -> bool:
    """Return whether a file that begins with `head` is DICOM, with a preamble (PS3.10 7.1) or without.

    Without one, the file must begin with at least two well-formed elements in ascending order, the first of
    group 0002 or 0008: pydicom's ``force=True`` would read a dataset out of any text.
    """
    return head[128:132] == b"DICM" or encoding_of(head) is not None


def is_volume(head: bytes) -> bool:
    """Return whether a file that begins with `head` is NIfTI, packed or not, NRRD or MetaImage."""
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, 352)
        except zlib.error:
            return False
    if head[344:348] in {b"n+1\0", b"ni1\0"}:
        return head[:4] in {b"\x5c\x01\0\0", b"\0\0\x01\x5c"}
    if head[4:8] in {b"n+2\0", b"ni2\0"}:
        return head[:4] in {b"\x1c\x02\0\0", b"\0\0\x02\x1c"}
    return head.startswith(b"NRRD000") or _META_IMAGE.match(head) is not None


def is_analyze(head: bytes) -> bool:
    """Return whether a file that begins with `head` and ends in ``.hdr`` is the header of an Analyze volume."""
    return head[:4] in {b"\x5c\x01\0\0", b"\0\0\x01\x5c"} and len(head) >= 348


def encoding_of(head: bytes) -> Encoding | None:
    """Return the encoding in which `head` reads as the beginning of a dataset, or None if it is none."""
    candidates = [
        Encoding(implicit=False, little_endian=True),
        Encoding(implicit=True, little_endian=True),
        Encoding(implicit=False, little_endian=False),
    ]
    return next((encoding for encoding in candidates if reads_as(head, encoding)), None)


def reads_as(head: bytes, encoding: Encoding) -> bool:
    """Return whether `head` begins with two well-formed elements of `encoding`."""
    order = "<" if encoding.little_endian else ">"
    offset, previous, elements = 0, 0, 0
    while elements < 2:
        if offset + 12 > len(head):
            return False
        group, element = struct.unpack_from(f"{order}HH", head, offset)
        tag = group << 16 | element
        if group not in ({0x0002, 0x0008, 0x0010} if elements else {0x0002, 0x0008}) or tag <= previous:
            return False
        length = _value_length(head, offset, encoding, order)
        if length is None:
            return False
        # A value that runs past the head is as far as this can be followed.
        if length[1] > len(head) - length[0]:
            return elements > 0
        offset, previous, elements = length[0] + length[1], tag, elements + 1
    return True


def _value_length(head: bytes, offset: int, encoding: Encoding, order: str) -> tuple[int, int] | None:
    """Return where the value of the element at `offset` begins and its length; None if it is no element."""
    if encoding.implicit:
        length = struct.unpack_from(f"{order}I", head, offset + 4)[0]
        start = offset + 8
    else:
        vr = head[offset + 4 : offset + 6]
        if vr in LONG_VRS:
            length, start = struct.unpack_from(f"{order}I", head, offset + 8)[0], offset + 12
        elif vr in SHORT_VRS:
            length, start = struct.unpack_from(f"{order}H", head, offset + 6)[0], offset + 8
        else:
            return None
    # Values have an even length (PS3.5 7.1.1); those of the first elements are short.
    return (start, length) if length % 2 == 0 and length < 65536 else None
