"""The top level of a DICOM dataset, element by element (PS3.5 section 7), without reading what is not wanted.

pydicom reads the values; which elements there are, and where the pixel data begins, is found here, because files that
every viewer shows stop it: a value representation that does not exist, a private sequence in another byte order.
"""

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from roco_search.errors import UnreadableImage
from roco_search.imaging.sniff import LONG_VRS, SHORT_VRS, Encoding

UNDEFINED = 0xFFFFFFFF
DAMAGED_HEADER = "its header is damaged; copy or export it again"
NO_PIXELS = "it ends before its pixel data; copy or export it again"
IMPLICIT = Encoding(implicit=True, little_endian=True)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_MAX_DEPTH = 32  # Sequences in sequences; an enhanced object has four.


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its value begins at `offset`; `length` is in bytes, None if undefined; `vr` is b"" if implicit."""

    tag: int
    vr: bytes
    offset: int
    length: int | None


def elements(file: BinaryIO, position: int, encoding: Encoding, size: int, last: int) -> Iterator[Element]:
    """Yield the elements from `position` on, up to and including the first whose tag is `last` or greater.

    Parameters
    ----------
    file
        Moved about at will.
    position
        Where the first element begins.
    encoding
        How the dataset is written.
    size
        Bytes of the file.
    last
        Tag behind which nothing is looked at.

    Raises
    ------
    UnreadableImage
        If an element cannot be separated from the next.
    """
    while (element := element_at(file, position, encoding, size)) is not None:
        yield element
        if element.tag >= last:
            return
        if element.length is None:
            position = _behind_items(file, element, encoding, size)
        else:
            position = element.offset + element.length


def read_value(file: BinaryIO, element: Element, encoding: Encoding, size: int) -> bytes:
    """Return the bytes of a value; of one of undefined length, its items with their closing delimiter."""
    end = _behind_items(file, element, encoding, size) if element.length is None else element.offset + element.length
    file.seek(element.offset)
    return file.read(end - element.offset)


def write_element(tag: int, vr: bytes, value: bytes, encoding: Encoding, *, undefined: bool) -> bytes:
    """Return an element as `encoding` has it."""
    order = "<" if encoding.little_endian else ">"
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    length = UNDEFINED if undefined else len(value)
    if encoding.implicit:
        return head + struct.pack(f"{order}I", length) + value
    if vr in LONG_VRS or length > 0xFFFF:
        return head + (vr if vr in LONG_VRS else b"UN") + b"\0\0" + struct.pack(f"{order}I", length) + value
    return head + vr + struct.pack(f"{order}H", length) + value


def element_at(file: BinaryIO, position: int, encoding: Encoding, size: int) -> Element | None:
    """Return the element at `position`; None at the end of the file. Raises as `elements`."""
    head = _read_at(file, position, 12)
    if len(head) < 8:
        return None
    order = "<" if encoding.little_endian else ">"
    group, number = struct.unpack_from(f"{order}HH", head)
    tag, vr = group << 16 | number, head[4:6]
    if encoding.implicit or group == 0xFFFE:
        return _element(tag, b"", position + 8, struct.unpack_from(f"{order}I", head, 4)[0])
    if vr in LONG_VRS:
        if len(head) < 12:
            return None
        return _element(tag, vr, position + 12, struct.unpack_from(f"{order}I", head, 8)[0])
    short = struct.unpack_from(f"{order}H", head, 6)[0]
    if vr in SHORT_VRS:
        return Element(tag, vr, position + 8, short)
    # A value representation that does not exist, or none, as in implicit VR: what follows decides.
    candidates = [Element(tag, b"UN", position + 8, short)]
    if len(head) == 12:
        long = _element(tag, b"UN", position + 12, struct.unpack_from(f"{order}I", head, 8)[0])
        candidates.insert(0 if short == 0 else 1, long)
    candidates.append(_element(tag, b"", position + 8, struct.unpack_from(f"{order}I", head, 4)[0]))
    for candidate in candidates:
        if candidate.length is not None and _follows(file, candidate, order, size):
            return candidate
    raise UnreadableImage(DAMAGED_HEADER)


def _element(tag: int, vr: bytes, offset: int, length: int) -> Element:
    return Element(tag, vr, offset, None if length == UNDEFINED else length)


def _follows(file: BinaryIO, element: Element, order: str, size: int) -> bool:
    """Return whether behind `element` is the end of the file or an element that may follow it."""
    assert element.length is not None
    end = element.offset + element.length
    if end == size:
        return True
    head = _read_at(file, end, 6)
    if len(head) < 6:
        return False
    group, number = struct.unpack_from(f"{order}HH", head)
    return bool(element.tag < (group << 16 | number) and group - (element.tag >> 16) < 0x6000)


def _behind_items(file: BinaryIO, element: Element, encoding: Encoding, size: int) -> int:
    """Return where a value of undefined length ends."""
    if element.vr == b"UN":
        # It was implicit VR little endian before somebody did not know it (PS3.5 6.2.2, note of CP-246).
        try:
            return _skip_items(file, element.offset, IMPLICIT, size, 0)
        except UnreadableImage:
            pass
    return _skip_items(file, element.offset, encoding, size, 0)


def _skip_items(file: BinaryIO, position: int, encoding: Encoding, size: int, depth: int) -> int:
    order = "<" if encoding.little_endian else ">"
    while True:
        head = _read_at(file, position, 8)
        if len(head) < 8:
            raise UnreadableImage(NO_PIXELS)
        group, number, length = struct.unpack(f"{order}HHI", head)
        tag = group << 16 | number
        position += 8
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM or depth > _MAX_DEPTH:
            raise UnreadableImage(DAMAGED_HEADER)
        position = position + length if length != UNDEFINED else _skip_item(file, position, encoding, size, depth)
        if position > size:
            raise UnreadableImage(NO_PIXELS)


def _skip_item(file: BinaryIO, position: int, encoding: Encoding, size: int, depth: int) -> int:
    while True:
        element = element_at(file, position, encoding, size)
        if element is None:
            raise UnreadableImage(NO_PIXELS)
        if element.tag == _ITEM_END:
            return element.offset
        if element.length is not None:
            position = element.offset + element.length
            continue
        nested = IMPLICIT if element.vr == b"UN" else encoding
        position = _skip_items(file, element.offset, nested, size, depth + 1)


def _read_at(file: BinaryIO, position: int, length: int) -> bytes:
    file.seek(position, os.SEEK_SET)
    return file.read(length)


def peek(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return some bytes of a file on disk, and no page around them as its buffer would; or of one in memory."""
    try:
        return os.pread(file.fileno(), length, offset)
    except (AttributeError, io.UnsupportedOperation):
        return _read_at(file, offset, length)
