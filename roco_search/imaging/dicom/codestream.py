"""The head of a compressed frame: how large the picture inside says it is.

A codestream that does not fit its DICOM header is refused before a decoder sees it. That bounds the memory
that it can ask for, and it keeps damaged JPEG headers from native code that does not survive all of them:
GDCM's lossless JPEG decoder aborts the process on some.
"""

import struct
from typing import NamedTuple

_J2K_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ (ISO 15444-1 A.5.1), at the head of the codestream or in a JP2 box.
_CODING, _CODING_OF_COMPONENT, _START_OF_TILE = 0xFF52, 0xFF53, 0xFF90
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_FRAME = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})


class CodestreamError(ValueError):
    """The head of a codestream is damaged. Says nothing of its content."""


class Codestream(NamedTuple):
    """What a codestream declares of itself; `precision` is in bits per sample.

    `subsampled` tells whether its colour components are coarser than its luminance; `halvings` how many lower
    resolutions there are, each of half the side: of JPEG 2000 in one tile, none of another.
    """

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool
    subsampled: bool
    halvings: int = 0


def read_codestream(frame: bytes) -> Codestream:
    """Return what a JPEG, JPEG-LS or JPEG 2000 (HTJ2K) codestream declares of itself.

    Raises
    ------
    CodestreamError
        If its head is not well-formed.
    """
    try:
        start = frame.find(_J2K_START, 0, 4096)
        if start >= 0:
            return _read_siz(frame, start)
        return _read_jpeg(frame)
    except (IndexError, struct.error):
        raise CodestreamError from None


def _read_siz(frame: bytes, start: int) -> Codestream:
    x1, y1, x0, y0 = struct.unpack_from(">IIII", frame, start + 8)
    components, depth = struct.unpack_from(">HB", frame, start + 40)
    if x1 <= x0 or y1 <= y0:
        raise CodestreamError
    tile_x, tile_y, tile_x0, tile_y0 = struct.unpack_from(">IIII", frame, start + 24)
    one_tile = (x0, y0, tile_x0, tile_y0) == (0, 0, 0, 0) and tile_x >= x1 and tile_y >= y1
    levels = _decomposition_levels(frame, start + 2) if one_tile else 0
    return Codestream(y1 - y0, x1 - x0, components, (depth & 0x7F) + 1, depth >= 0x80, False, levels)


def _decomposition_levels(frame: bytes, offset: int) -> int:
    """Walk the main header (ISO 15444-1 A.6.1) to the coding style; 0 if a component may have another."""
    levels = 0
    while True:
        marker, length = struct.unpack_from(">HH", frame, offset)
        if marker == _START_OF_TILE:
            return levels
        if marker == _CODING_OF_COMPONENT or marker >> 8 != 0xFF or length < 2:
            return 0
        if marker == _CODING:
            levels = frame[offset + 9]
        offset += 2 + length


def _read_jpeg(frame: bytes) -> Codestream:
    """Walk the marker segments up to the first scan (ISO 10918-1 B.1)."""
    if frame[:2] != b"\xff\xd8":
        raise CodestreamError
    offset, found, identifiers, lossless, tables = 2, None, b"", False, set[int]()
    while True:
        if frame[offset] != 0xFF:
            raise CodestreamError
        while frame[offset] == 0xFF:
            offset += 1
        marker = frame[offset]
        offset += 1
        if marker in _STANDALONE:
            continue
        (length,) = struct.unpack_from(">H", frame, offset)
        body = frame[offset + 2 : offset + length]
        if length < 2 or len(body) != length - 2:
            raise CodestreamError
        if marker in _START_OF_FRAME:
            if found is not None:
                raise CodestreamError
            found, identifiers = _read_start_of_frame(body)
            lossless = marker in _LOSSLESS
        elif marker in {0xE0, 0xEE}:
            _check_application_data(body)
        elif marker == 0xC4:
            tables |= _read_huffman_tables(body)
        elif marker == 0xDA:
            if found is None:
                raise CodestreamError
            _check_scan(body, identifiers, tables if lossless else None)
            return found
        offset += length


def _read_start_of_frame(body: bytes) -> tuple[Codestream, bytes]:
    precision, rows, columns, components = struct.unpack_from(">BHHB", body)
    if len(body) != 6 + 3 * components or not 2 <= precision <= 16 or components not in {1, 3}:
        raise CodestreamError
    sampling = body[7::3]
    if any(not (1 <= factor >> 4 <= 4 and 1 <= factor & 15 <= 4) for factor in sampling):
        raise CodestreamError
    return Codestream(rows, columns, components, precision, False, len(set(sampling)) > 1), body[6::3]


def _check_application_data(body: bytes) -> None:
    """Refuse JFIF and Adobe segments of versions that do not exist: on them GDCM aborts the process."""
    if body.startswith(b"JFIF\0") and body[5] != 1:
        raise CodestreamError
    if body.startswith(b"Adobe") and body[11:12] not in {b"", b"\0", b"\1", b"\2"}:
        raise CodestreamError


def _read_huffman_tables(body: bytes) -> set[int]:
    """Return the identifiers (class and slot) of the Huffman tables of one segment, ISO 10918-1 B.2.4.2."""
    found, offset = set[int](), 0
    while offset < len(body):
        counts = body[offset + 1 : offset + 17]
        # No more codes of a length than are left by the shorter ones: such a table is not a prefix code.
        left = 1
        for count in counts:
            left = 2 * left - count
            if left < 0:
                raise CodestreamError
        if body[offset] & 0xEC or len(counts) != 16:
            raise CodestreamError
        found.add(body[offset])
        offset += 17 + sum(counts)
    if offset != len(body):
        raise CodestreamError
    return found


def _check_scan(body: bytes, identifiers: bytes, lossless_tables: set[int] | None) -> None:
    """Check the head of a scan, ISO 10918-1 B.2.3; in a lossless one its tables and predictor, too."""
    components = body[0]
    if len(body) != 4 + 2 * components or not 1 <= components <= len(identifiers):
        raise CodestreamError
    if any(identifier not in identifiers for identifier in body[1 : 1 + 2 * components : 2]):
        raise CodestreamError
    if lossless_tables is None:
        return
    slots = {selector >> 4 for selector in body[2 : 2 + 2 * components : 2]}
    if not slots <= lossless_tables or not 1 <= body[1 + 2 * components] <= 7:
        raise CodestreamError
