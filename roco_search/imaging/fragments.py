"""The items of encapsulated pixel data (PS3.5 A.4), checked by their heads before anything is decoded."""

import io
import os
import struct
from typing import BinaryIO

from roco_search.errors import UnreadableImage
from roco_search.imaging.header import PixelElement

CUT_SHORT = "cut short: it ends before its pixels do; copy or export it again"
DAMAGED = "its pixel data is damaged; copy or export it again"


def check_fragments(file: BinaryIO, pixels: PixelElement, size: int, frames: int) -> None:
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
