"""TIFF becomes frames, and values of any number type and depth become 8 bits, as those of a deep PNG do."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from tifffile import TiffFile, TiffFileError, TiffPage

from roco_search.errors import UnreadableImage
from roco_search.imaging.costs import check_cost, check_size
from roco_search.imaging.dicom.decoding.codecs import silence
from roco_search.imaging.dicom.decoding.codestream import CodestreamError, read_codestream
from roco_search.imaging.dicom.samples import stretches, to_rgb
from roco_search.imaging.dicom.tags import Tags
from roco_search.imaging.frame import (
    Frame,
    FrameChoice,
    FrameNumbers,
    Source,
    Window,
    choose_frames,
    reduction,
    upright,
)
from roco_search.imaging.render import apply_window, as_values, average, by_stretches, robust_range, sample, stretch


@dataclass(frozen=True, slots=True, eq=False)
class Grey:
    """A grey picture: `values` ``(rows, columns)`` of any real type with `bits` bits; `inverted` if 0 is white."""

    values: npt.NDArray[Any]
    bits: int
    inverted: bool = False

    def render(self, window: Window | None, factor: int) -> npt.NDArray[np.uint8]:
        """Return the picture ``(rows, columns, 3)``, made smaller by `factor`.

        Unsigned values of up to 8 bits are shown as they are. Others are shown over `window`, or over the range of the
        data, not of the format: a 16-bit file of a radiograph holds 10 to 14 bits, and over the full 16 it would be
        black.
        """
        values = average(self.values.view(np.uint8) if self.values.dtype == bool else self.values, factor)
        if self.bits <= 8 and self.values.dtype.kind in "bu":
            show = partial(stretch, low=0, high=2**self.bits - 1)
        elif window is not None:
            show = partial(apply_window, window=window)
        else:
            low, high = robust_range(as_values(sample(values)))
            show = partial(stretch, low=low, high=high)
        return by_stretches(values, lambda rows: show(as_values(rows)), inverted=self.inverted)


def colours(rgb: npt.NDArray[Any], bits: int, window: Window | None, factor: int) -> npt.NDArray[np.uint8]:
    """Return RGB values ``(rows, columns, 3)`` of any real type as a picture, made smaller by `factor`.

    Deeper ones than 8 bits that are grey, a radiograph that was exported as colour, are rendered as grey. Unsigned
    integers otherwise fill the bits that the greatest of them needs; all other numbers their robust range.
    """
    from PIL import Image

    if bits > 8 or rgb.dtype.kind != "u":
        if _is_grey(rgb):
            return Grey(rgb[:, :, 0], bits).render(window, factor)
        picture = _to_eight_bits(rgb)
    elif bits == 8:
        picture = np.ascontiguousarray(rgb, dtype=np.uint8)
    else:
        picture = (rgb.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
    return picture if factor == 1 else np.asarray(Image.fromarray(picture).reduce(factor))


def _is_grey(rgb: npt.NDArray[Any]) -> bool:
    return all(
        bool((rows[:, :, 0] == rows[:, :, 1]).all() and (rows[:, :, 0] == rows[:, :, 2]).all())
        for rows in np.array_split(rgb, max(1, rgb.shape[0] // 256))
    )


def _to_eight_bits(rgb: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    picture = np.empty(rgb.shape, np.uint8)
    if rgb.dtype.kind == "u":
        shift = max(0, int(rgb.max(initial=0)).bit_length() - 8)
        np.right_shift(rgb, shift, out=picture, casting="unsafe")
        return picture
    low, high = robust_range(as_values(sample(rgb)))
    for row in range(len(rgb)):
        picture[row] = np.rint(stretch(as_values(rgb[row]), low, high) * 255)
    return picture


def over_black(picture: npt.NDArray[np.uint8], alpha: npt.NDArray[Any] | None) -> npt.NDArray[np.uint8]:
    """Lay a picture over black, the background of a radiograph, in place; `alpha` is None where all of it is opaque.

    Over white, transparency would put a bright frame around it.
    """
    if alpha is None:
        return picture
    full = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    for part in stretches(len(picture) * picture.shape[1]):
        shown = picture.reshape(-1, 3)[part]
        opaque = np.clip(alpha.reshape(-1)[part].astype(np.float32) / np.float32(full), 0, 1)
        if opaque.min(initial=1) < 1:
            shown[:] = np.rint(shown * opaque[:, np.newaxis])
    return picture


_NONE, _JPEG = 1, 7
_CODESTREAMS = frozenset({_JPEG, 33003, 33004, 33005, 34712})  # JPEG, and JPEG 2000 by its four numbers
_COMPRESSIONS = frozenset({_NONE, 2, 3, 4, 5, 8, 32946, 32773, 34925, 50000}) | _CODESTREAMS
"""None, CCITT, LZW, deflate, PackBits, LZMA, Zstandard and `_CODESTREAMS`: what was tried on damaged data."""
_WORKING_BYTES = 10  # For each sample, of JPEG 2000 and of the segments of others.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_UNASSOCIATED_ALPHA = 2  # TIFF 6.0 section 18. Associated alpha was multiplied into the colours: over black already.
_CUT_SHORT = "cut short: it ends before its pixels do; copy or export it again"


def open_tiff(
    source: Source, window: Window | None, frames: FrameChoice | FrameNumbers, at_least: int | None = None
) -> Iterator[Frame]:
    """Yield the chosen pages of a TIFF file, each decoded when it is asked for.

    Parameters
    ----------
    source, window, frames, at_least
        As for `open_raster`.

    Raises
    ------
    UnreadableImage
        If the file is no TIFF, is cut short, or is too large, or its compression or its colours are not read. On a
        damaged file tifffile raises nearly anything: `open_image` turns that into a reason.
    """
    silence()
    with source.open("rb") as file:
        try:
            tiff = TiffFile(file)
        except TiffFileError:
            raise UnreadableImage("its data is damaged; copy or export it again") from None
        with tiff:
            count = len(tiff.pages)
            for index in choose_frames(count, frames):
                page = tiff.pages[index]
                if not isinstance(page, TiffPage):
                    raise UnreadableImage("its data is damaged; copy or export it again")
                _check(page, tiff.filehandle.size)
                picture = _render(page, window, at_least)
                orientation = page.tags.valueof("Orientation", 1)
                yield Frame(
                    np.ascontiguousarray(upright(picture, orientation if isinstance(orientation, int) else 1)),
                    Tags(rows=page.imagelength, columns=page.imagewidth),
                    index,
                    count,
                )


def _check(page: TiffPage, size: int) -> None:
    """Refuse a page by what its header says, before anything is decoded."""
    check_size(page.imagewidth, page.imagelength)
    if page.compression not in _COMPRESSIONS:
        raise UnreadableImage("its compression is one that roco does not read; export it uncompressed")
    if page.dtype is None or page.dtype.kind not in "buif":
        raise UnreadableImage("its pixels are no numbers that can be shown; export it as integers or real numbers")
    if page.imagedepth != 1:
        raise UnreadableImage("it holds a volume in one page; export it as one page a slice, or as NIfTI")
    samples = page.imagewidth * page.imagelength * page.samplesperpixel
    segment = math.prod(page.chunks)
    working = _WORKING_BYTES if page.compression in _CODESTREAMS else page.dtype.itemsize
    check_cost(samples * page.dtype.itemsize + segment * working + 3 * page.imagewidth * page.imagelength)
    if any(offset + length > size for offset, length in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise UnreadableImage(_CUT_SHORT)
    if page.compression == _NONE and 8 * sum(page.databytecounts) < samples * page.bitspersample:
        raise UnreadableImage(_CUT_SHORT)
    if page.compression in _CODESTREAMS:
        _check_codestreams(page, segment)


def _check_codestreams(page: TiffPage, segment: int) -> None:
    """Refuse a JPEG or JPEG 2000 in a segment that says it is larger than the segment."""
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        if length == 0:
            continue
        page.parent.filehandle.seek(offset)
        try:
            stream = read_codestream(page.parent.filehandle.read(length))
        except CodestreamError:
            raise UnreadableImage("its data is damaged; copy or export it again") from None
        if stream.rows * stream.columns * max(1, stream.components) > max(segment, page.tilewidth * page.tilelength):
            raise UnreadableImage("its data is damaged; copy or export it again")


def _render(page: TiffPage, window: Window | None, at_least: int | None) -> npt.NDArray[np.uint8]:
    """Return a page as uint8 RGB ``(height, width, 3)``, as it is stored."""
    values = page.asarray(maxworkers=1)
    if page.axes.startswith("S"):
        values = np.moveaxis(values, 0, -1)
    values = values.reshape(page.imagelength, page.imagewidth, -1)
    photometric, bits = int(page.photometric), page.bitspersample
    factor = reduction(page.imagelength, page.imagewidth, at_least)
    if photometric in {_WHITE_IS_ZERO, _BLACK_IS_ZERO}:
        alpha = values[:, :, 1] if _has_alpha(page, 1) else None
        grey = Grey(values[:, :, 0], bits, inverted=photometric == _WHITE_IS_ZERO)
        return over_black(grey.render(window, factor if alpha is None else 1), alpha)
    if photometric == _PALETTE and page.colormap is not None and values.dtype.kind == "u":
        table = page.colormap.T
        shades = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
        return np.asarray(shades[values[:, :, 0]])
    if photometric == _CMYK and values.shape[2] >= 4 and values.dtype == np.uint8:
        return _from_cmyk(values)
    if values.shape[2] < 3 or photometric not in {_RGB, _YCBCR}:
        raise UnreadableImage("its colours are stored in a way that roco does not read; export it as RGB")
    alpha = values[:, :, 3] if _has_alpha(page, 3) else None
    rgb = values[:, :, :3]
    if photometric == _YCBCR and page.compression != _JPEG:
        rgb = to_rgb(np.ascontiguousarray(rgb), bits, studio=False)
    return over_black(colours(rgb, bits, window, factor if alpha is None else 1), alpha)


def _has_alpha(page: TiffPage, colours_before: int) -> bool:
    extra = page.extrasamples[0] if page.extrasamples else None
    return page.samplesperpixel > colours_before and extra == _UNASSOCIATED_ALPHA


def _from_cmyk(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    picture = np.empty((*values.shape[:2], 3), np.uint8)
    for row in range(len(values)):  # one at a time: the products need twice the bits
        light = 255 - values[row].astype(np.uint16)
        picture[row] = light[:, :3] * light[:, 3:4] // 255
    return picture
