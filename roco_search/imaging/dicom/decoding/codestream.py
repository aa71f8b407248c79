"""The head of a compressed frame: what the picture inside says of itself.

It is read before a decoder sees the frame: a codestream that does not fit its DICOM header, or that would cost more
than a picture may, is refused. JPEG-LS is checked in full (ISO 14495-1 Annex C), since its decoder is the least tried.
"""

import struct
from typing import Literal, NamedTuple

_J2K_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ (ISO 15444-1 A.5.1), at the head of the codestream or in a JP2 box.
_CODING, _CODING_OF_COMPONENT, _START_OF_TILE = 0xFF52, 0xFF53, 0xFF90
_MAX_TILES = 16384  # Of the 65,535 that there may be; OpenJPEG takes 6 kB for each.
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_FRAME = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_PROGRESSIVE, _LOSSLESS, _JPEG_LS = frozenset({0xC2, 0xC6, 0xCA, 0xCE}), frozenset({0xC3, 0xC7, 0xCB, 0xCF}), 0xF7
_START_OF_SCAN, _JPEG_LS_PARAMETERS = 0xDA, 0xF8

_J2K_COMMENT = frozenset({0x64})  # ISO 15444-1 A.9.2
_JPEG_COMMENTS = frozenset({0xFE, *range(0xE1, 0xF0)}) - {0xE8, 0xEE}  # ISO 10918-1 B.2.4.5 and B.2.4.6


Colour = Literal["", "RGB", "YBR"]


class CodestreamError(ValueError):
    """The head of a codestream is damaged. Says nothing of its content."""


class Codestream(NamedTuple):
    """What a codestream declares of itself; `precision` is in bits per sample.

    `colour` is what it says of its three components, "" if nothing; `halvings` how many lower resolutions there are,
    each of half the side: of JPEG 2000 in one tile, none of another; `reversible` whether it holds the values that
    were encoded; `scans` how often a decoder goes through the picture. JPEG XL is read up to its size: `components`
    and `precision` are 0.
    """

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool = False
    colour: Colour = ""
    halvings: int = 0
    reversible: bool = True
    scans: int = 1


def read_codestream(frame: bytes) -> Codestream:
    """Return what a JPEG, JPEG-LS, JPEG 2000 (HTJ2K) or JPEG XL codestream declares of itself.

    Raises
    ------
    CodestreamError
        If its head is not well-formed.
    """
    try:
        if frame.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
            return _read_jpeg_xl(frame)
        start = frame.find(_J2K_START, 0, 4096)
        if start >= 0:
            return _read_jpeg_2000(frame, start)
        return _read_jpeg(frame)
    except (IndexError, struct.error):
        raise CodestreamError from None


def without_comments(frame: bytes) -> bytes:
    """Return a JPEG, JPEG-LS or JPEG 2000 codestream without the comments and metadata in its head.

    Those are COM, and of a JPEG the application segments that no decoder of pixels needs: all but JFIF's, Adobe's and
    HP's, which say what the components are. Anything that is not well-formed is returned as it is.
    """
    if frame.startswith(_J2K_START):
        place, dropped, last = 2, _J2K_COMMENT, _START_OF_TILE & 0xFF
    elif frame.startswith(b"\xff\xd8"):
        place, dropped, last = 2, _JPEG_COMMENTS, _START_OF_SCAN
    else:
        return frame
    kept = [frame[:place]]
    while place + 4 <= len(frame) and frame[place] == 0xFF and frame[place + 1] != last:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4])
        if marker in _STANDALONE or length < 2 or place + 2 + length > len(frame):
            return frame
        if marker not in dropped:
            kept.append(frame[place : place + 2 + length])
        place += 2 + length
    kept.append(frame[place:])
    return b"".join(kept)


def _read_jpeg_2000(frame: bytes, start: int) -> Codestream:
    x1, y1, x0, y0 = struct.unpack_from(">IIII", frame, start + 8)
    tile_x, tile_y, tile_x0, tile_y0 = struct.unpack_from(">IIII", frame, start + 24)
    components, depth = struct.unpack_from(">HB", frame, start + 40)
    if x1 <= x0 or y1 <= y0 or not (tile_x0 <= x0 < tile_x0 + tile_x and tile_y0 <= y0 < tile_y0 + tile_y):
        raise CodestreamError
    if -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y) > _MAX_TILES:
        raise CodestreamError
    one_tile = (x0, y0, tile_x0, tile_y0) == (0, 0, 0, 0) and tile_x >= x1 and tile_y >= y1
    levels, reversible = _coding_style(frame, start + 2)
    return Codestream(
        rows=y1 - y0,
        columns=x1 - x0,
        components=components,
        precision=(depth & 0x7F) + 1,
        signed=depth >= 0x80,
        halvings=levels if one_tile else 0,
        reversible=reversible,
    )


def _coding_style(frame: bytes, offset: int) -> tuple[int, bool]:
    """Walk the main header (ISO 15444-1 A.6.1) to the decomposition levels and whether the wavelet is reversible.

    0 levels if a component may have others.
    """
    levels, reversible = 0, True
    while True:
        marker, length = struct.unpack_from(">HH", frame, offset)
        if marker == _START_OF_TILE:
            return levels, reversible
        if marker == _CODING_OF_COMPONENT or marker >> 8 != 0xFF or length < 2:
            return 0, reversible
        if marker == _CODING:
            levels, reversible = frame[offset + 9], frame[offset + 13] == 1
        offset += 2 + length


def _read_jpeg(frame: bytes) -> Codestream:
    """Walk the marker segments up to the first scan (ISO 10918-1 B.1, ISO 14495-1 C.1)."""
    if frame[:2] != b"\xff\xd8":
        raise CodestreamError
    offset, found, kind, identifiers, adobe, preset = 2, None, 0, b"", -1, b""
    colour: Colour = ""
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
            kind, (found, identifiers, subsampled) = marker, _read_start_of_frame(body)
            if found.components == 3 and subsampled:
                colour = "YBR"  # only chrominance is ever subsampled
        elif marker == 0xE0 and body.startswith(b"JFIF\0"):
            adobe = max(adobe, 1)  # JFIF is YCbCr by definition, unless an Adobe segment knows better
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) > 11:
            adobe = body[11]
        elif marker == _JPEG_LS_PARAMETERS:
            preset = body
        elif marker == _START_OF_SCAN:
            if found is None:
                raise CodestreamError
            _check_scan(body, identifiers)
            if kind == _JPEG_LS:
                _check_jpeg_ls(body, preset, found.precision)
            break
        offset += length
    if kind not in _LOSSLESS and kind != _JPEG_LS and found.components == 3:
        colour = "RGB" if identifiers in {b"RGB", b"rgb"} else "YBR" if adobe == 1 else colour
        found = found._replace(colour=colour)
    reversible = kind in _LOSSLESS or (kind == _JPEG_LS and body[-3] == 0)
    return found._replace(reversible=reversible, scans=frame.count(b"\xff\xda") if kind in _PROGRESSIVE else 1)


def _read_start_of_frame(body: bytes) -> tuple[Codestream, bytes, bool]:
    precision, rows, columns, components = struct.unpack_from(">BHHB", body)
    if len(body) != 6 + 3 * components or not 2 <= precision <= 16 or components not in {1, 3}:
        raise CodestreamError
    sampling = body[7::3]
    if any(not (1 <= factor >> 4 <= 4 and 1 <= factor & 15 <= 4) for factor in sampling):
        raise CodestreamError
    return Codestream(rows, columns, components, precision), body[6::3], len(set(sampling)) > 1


def _check_scan(body: bytes, identifiers: bytes) -> None:
    """Check the head of a scan, ISO 10918-1 B.2.3."""
    components = body[0]
    if len(body) != 4 + 2 * components or not 1 <= components <= len(identifiers):
        raise CodestreamError
    if any(identifier not in identifiers for identifier in body[1 : 1 + 2 * components : 2]):
        raise CodestreamError


def _check_jpeg_ls(scan: bytes, preset: bytes, precision: int) -> None:
    """Check the parameters of a JPEG-LS scan (ISO 14495-1 C.2.3, C.2.4.1.1). Mapping tables are not supported."""
    near, interleave = scan[-3], scan[-2]
    components = scan[0]
    maximum = 2**precision - 1
    if preset:
        if preset[0] != 1 or len(preset) != 11:
            raise CodestreamError
        stated, first, second, third, reset = struct.unpack(">HHHHH", preset[1:])
        maximum = stated or maximum
        thresholds = [value for value in (first, second, third) if value]
        if maximum >= 2**precision or thresholds != sorted(thresholds) or any(t > maximum for t in thresholds):
            raise CodestreamError
        if any(t <= near for t in thresholds) or (reset and not 3 <= reset <= max(255, maximum)):
            raise CodestreamError
    if near > min(255, maximum // 2) or interleave > 2 or (interleave == 0) != (components == 1):
        raise CodestreamError


class _Bits:
    """Bits of a byte string, least significant first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data[:32], "little")

    def take(self, count: int) -> int:
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value


def _read_jpeg_xl(frame: bytes) -> Codestream:
    """Read the SizeHeader of a JPEG XL codestream (ISO 18181-1 D.2), alone or in a container (ISO 18181-2)."""
    start = 0
    if not frame.startswith(b"\xff\x0a"):
        while frame[start + 4 : start + 8] not in {b"jxlc", b"jxlp"}:
            (length,) = struct.unpack_from(">I", frame, start)
            if length < 8:
                raise CodestreamError
            start += length
        start += 8 if frame[start + 4 : start + 8] == b"jxlc" else 12
        if frame[start : start + 2] != b"\xff\x0a":
            raise CodestreamError
    bits = _Bits(frame[start + 2 : start + 34])
    small = bits.take(1)

    def side() -> int:
        return 8 * (bits.take(5) + 1) if small else 1 + bits.take((9, 13, 18, 30)[bits.take(2)])

    rows, ratio = side(), bits.take(3)
    if ratio == 0:
        columns = side()
    else:
        over, under = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
        columns = rows * over // under
    return Codestream(rows, columns, 0, 0)
