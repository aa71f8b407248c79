"""Arithmetic on stored values: bits, colour planes and colour spaces (PS3.3 C.7.6.3, PS3.5 8.1), some at a time."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

_STRETCH = 2**18  # Samples worked on at once: what a core's cache holds.
# PS3.3 C.7.6.3.1.2, from luminance, blue and red difference, without their offsets.
_FULL_RANGE = np.array([[1, 0, 1.402], [1, -0.114 * 1.772 / 0.587, -0.299 * 1.402 / 0.587], [1, 1.772, 0]], np.float32)
_STUDIO_RANGE = _FULL_RANGE * np.array([255 / 219, 255 / 224, 255 / 224], np.float32)


def stretches(count: int) -> Iterator[slice]:
    """Yield slices that together cover ``range(count)``."""
    for start in range(0, count, _STRETCH):
        yield slice(start, min(start + _STRETCH, count))


def unpack(data: npt.NDArray[np.uint8], first_bit: int, count: int, bits: int) -> npt.NDArray[Any]:
    """Return `count` values of `bits` bits each, packed without gaps from the least significant bit on (PS3.5 8.1.1).

    Parameters
    ----------
    data
        Bytes that hold at least ``first_bit + count * bits`` bits.
    first_bit
        Where the first value begins.
    count
        How many values.
    bits
        1 to 16.

    Returns
    -------
    numpy.ndarray
        uint8 or uint16 ``(count,)``.
    """
    found = np.empty(count, np.uint8 if bits <= 8 else np.uint16)
    weights = (1 << np.arange(bits)).astype(found.dtype)
    for part in stretches(count):
        start, end = first_bit + part.start * bits, first_bit + part.stop * bits
        spread = np.unpackbits(data[start // 8 : math.ceil(end / 8)], bitorder="little")
        values = spread[start % 8 : start % 8 + end - start].reshape(-1, bits)
        found[part] = values @ weights if bits > 1 else values[:, 0]
    return found


def stored_values(words: npt.NDArray[Any], *, shift: int, bits: int, signed: bool) -> npt.NDArray[Any]:
    """Return the stored values of pixel words: neither the bits above them, such as overlays, nor those below.

    Parameters
    ----------
    words
        Integers of any size, sign and byte order.
    shift
        Place of the lowest stored bit.
    bits
        Number of stored bits; the topmost is the sign if `signed`.
    signed
        Pixel Representation.

    Returns
    -------
    numpy.ndarray
        Integers of the size of `words`, native byte order, signed as asked. The memory of `words` if it can be used.
    """
    width = words.dtype.itemsize * 8
    kind = np.dtype(f"{'i' if signed else 'u'}{words.dtype.itemsize}")
    if not words.dtype.isnative:
        words = words.astype(words.dtype.newbyteorder("="))
    bits = min(bits, width)
    above = width - bits - shift
    if above <= 0 and shift == 0:
        return words.view(kind)
    found = words if words.flags.writeable and words.flags.c_contiguous else words.copy()
    flat = found.reshape(-1).view(f"u{words.dtype.itemsize}")
    for part in stretches(flat.size):
        # Up, to lose what is above, and down again, arithmetically where there is a sign.
        flat[part] <<= max(0, above)
        signed_or_not = flat[part].view(kind)
        signed_or_not >>= max(0, above) + shift
    return found.view(kind)


def interleaved(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return colour planes ``(3, rows, columns)`` as ``(rows, columns, 3)``."""
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def upsampled(words: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[Any]:
    """Return 4:2:2 data, two luminances and then a pair of differences, as ``(rows, columns, 3)`` (C.7.6.3.1.2)."""
    found = np.empty((rows * columns, 3), words.dtype)
    quads = words.reshape(-1, 4)
    found[0::2, 0], found[1::2, 0] = quads[:, 0], quads[:, 1]
    found[0::2, 1] = found[1::2, 1] = quads[:, 2]
    found[0::2, 2] = found[1::2, 2] = quads[:, 3]
    return found.reshape(rows, columns, 3)


def to_rgb(colour: npt.NDArray[Any], bits: int, *, studio: bool) -> npt.NDArray[Any]:
    """Convert luminance and colour differences to RGB, in place where possible (PS3.3 C.7.6.3.1.2).

    Parameters
    ----------
    colour
        Unsigned ``(rows, columns, 3)``.
    bits
        Of each sample.
    studio
        Whether luminance runs from 16 to 235 of 255 (YBR_PARTIAL), not over the whole range (YBR_FULL).
    """
    found = colour if colour.flags.writeable and colour.flags.c_contiguous else colour.copy()
    flat = found.reshape(-1, 3)
    middle, full = 2 ** (bits - 1), 2**bits - 1
    offset = np.array([full * 16 / 255 if studio else 0, middle, middle], np.float32)
    matrix = (_STUDIO_RANGE if studio else _FULL_RANGE).T
    for part in stretches(len(flat)):
        values = (flat[part].astype(np.float32) - offset) @ matrix
        values += np.float32(0.5)
        np.floor(values, out=values)
        flat[part] = np.clip(values, 0, full, out=values)
    return found
