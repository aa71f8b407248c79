"""Encapsulated pixel data (PS3.5 A.4): which fragments make up a frame."""

import struct
from bisect import bisect_left
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from roco_search.errors import UnreadableImage
from roco_search.imaging.dicom.elements import peek
from roco_search.imaging.dicom.header import PixelElement

CUT_SHORT = "cut short: it ends before its pixels do; copy or export it again"
DAMAGED = "its pixel data is damaged; copy or export it again"
_NOT_COMPRESSED = "its transfer syntax says compressed, its pixel data is not; export it again"
_STARTS = (b"\xff\xd8", b"\xff\x4f", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"\0\0\0\x0cjP  ")
_ITEM, _DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


class Fragment(NamedTuple):
    """A piece of the compressed data: where its bytes are in the file."""

    offset: int
    length: int


def find_frames(file: BinaryIO, pixels: PixelElement, size: int, frames: int) -> list[list[Fragment]]:
    """Return the fragments of each frame, reading the heads of the items alone.

    As many fragments as frames are one each, and all are those of a single frame, whatever the offset tables say, which
    many programs leave wrong. Elsewhere the Basic Offset Table counts if it is whole, or else where streams begin.

    Raises
    ------
    UnreadableImage
        If an item runs past the end of the file, there are fewer fragments than frames, or nothing shows where a
        frame begins.
    """
    table, fragments = _items(file, pixels, size, frames)
    if len(fragments) < frames:
        raise UnreadableImage("it holds fewer frames than its header says; copy or export it again")
    if frames == 1:
        return [fragments]
    if len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    first = fragments[0].offset - 8
    starts = [fragment.offset - 8 - first for fragment in fragments]
    begins = _by_table(file, table, starts, frames)
    if begins is None:
        begins = [n for n, one in enumerate(fragments) if peek(file, one.offset, 8).startswith(_STARTS)]
        if len(begins) != frames or begins[0] != 0:
            raise UnreadableImage("nothing in it shows where its frames begin; export it again")
    return [fragments[begin:end] for begin, end in pairwise([*begins, len(fragments)])]


def read_frame(file: BinaryIO, fragments: list[Fragment]) -> bytes:
    """Return the compressed bytes of a frame."""
    parts = []
    for fragment in fragments:
        file.seek(fragment.offset)
        parts.append(file.read(fragment.length))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _by_table(file: BinaryIO, table: Fragment, starts: list[int], frames: int) -> list[int] | None:
    """Return the number of each frame's first fragment by the Basic Offset Table; None if it is not usable."""
    if table.length != 4 * frames:
        return None
    offsets = struct.unpack(f"<{frames}I", peek(file, table.offset, table.length))
    begins = [bisect_left(starts, offset) for offset in offsets]
    sound = all(n < len(starts) and starts[n] == offset for n, offset in zip(begins, offsets, strict=True))
    return begins if sound and begins[0] == 0 and all(a < b for a, b in pairwise(begins)) else None


def _items(file: BinaryIO, pixels: PixelElement, size: int, frames: int) -> tuple[Fragment, list[Fragment]]:
    """Return the Basic Offset Table, which is the first item, and the fragments behind it."""
    if pixels.length is not None:
        raise UnreadableImage(_NOT_COMPRESSED)
    offset, found = pixels.offset, list[Fragment]()
    while True:
        head = peek(file, offset, 8)
        if len(head) < 8:
            # The closing delimiter alone may be missing: every frame is there.
            if len(head) == 0 and len(found) > max(1, frames):
                break
            raise UnreadableImage(CUT_SHORT)
        group, element, length = struct.unpack("<HHI", head)
        if (group, element) == _DELIMITER:
            break
        if (group, element) != _ITEM:
            raise UnreadableImage(DAMAGED if found else _NOT_COMPRESSED)
        found.append(Fragment(offset + 8, length))
        offset += 8 + length
        if offset > size:
            raise UnreadableImage(CUT_SHORT)
    if not found:
        raise UnreadableImage(DAMAGED)
    return found[0], [fragment for fragment in found[1:] if fragment.length] or found[1:]
