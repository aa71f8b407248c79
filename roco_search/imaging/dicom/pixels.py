"""Decoding one frame of DICOM pixel data, after everything that can be checked without decoding has been."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from roco_search.errors import UnreadableImage
from roco_search.imaging.dicom import codecs as decoders
from roco_search.imaging.dicom import isolation, terms
from roco_search.imaging.dicom.codestream import Codestream, CodestreamError, read_codestream
from roco_search.imaging.dicom.header import CUT_SHORT, DAMAGED, Header, PixelElement, check_fragments
from roco_search.imaging.dicom.jpeg2000 import decode_halved, halvings
from roco_search.imaging.dicom.values import integer, raw_values, text
from roco_search.imaging.frame import check_size

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RLE = "1.2.840.10008.1.2.5"
_FLOAT_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}


@dataclass(frozen=True, slots=True)
class Layout:
    """The Image Pixel module (PS3.3 C.7.6.3), validated. `high_bit` is where the topmost stored bit lies."""

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    planar: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    is_float: bool

    @property
    def frame_bits(self) -> int:
        """Bits of one uncompressed frame, PS3.5 8.1.1; PS3.3 C.7.6.3.1.2 for YBR_FULL_422."""
        bits = self.rows * self.columns * self.samples * self.bits_allocated
        return bits // 3 * 2 if self.photometric == "YBR_FULL_422" else bits


def read_layout(dataset: "Dataset", keyword: str) -> Layout:
    """Return the validated layout of the pixel data element `keyword`.

    Raises
    ------
    UnreadableImage
        If an attribute is missing or has a value that the standard does not allow, or the frame is too large.
    """
    rows, columns = integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0
    check_size(columns, rows)
    is_float = keyword in _FLOAT_BITS
    allocated = _FLOAT_BITS.get(keyword) or integer(dataset, "BitsAllocated") or 0
    stored = allocated if is_float else integer(dataset, "BitsStored") or allocated
    high_bit = integer(dataset, "HighBit")
    samples = integer(dataset, "SamplesPerPixel") or 1
    layout = Layout(
        rows=rows,
        columns=columns,
        frames=max(1, integer(dataset, "NumberOfFrames") or 1),
        samples=samples,
        photometric=text(dataset, "PhotometricInterpretation") or ("RGB" if samples == 3 else "MONOCHROME2"),
        planar=integer(dataset, "PlanarConfiguration") or 0,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high_bit is None else high_bit,
        signed=integer(dataset, "PixelRepresentation") == 1 and not is_float,
        is_float=is_float,
    )
    if layout.photometric not in terms.PHOTOMETRIC:
        raise UnreadableImage("its photometric interpretation is not one of the standard's; export it again")
    if (
        allocated not in {1, 8, 16, 32, 64}
        or not 1 <= stored <= allocated
        or not stored - 1 <= layout.high_bit < allocated
    ):
        raise UnreadableImage("its header declares impossible bits per pixel; export it again")
    if samples not in {1, 3} or layout.planar not in {0, 1}:
        raise UnreadableImage("its header declares an unknown arrangement of colours; export it again")
    return layout


class FrameDecoder:
    """Decodes single frames of one file, reading from disk only what each needs.

    Raises
    ------
    UnreadableImage
        At once, if the pixel data is cut short, or of a transfer syntax that cannot be decoded here.
    """

    def __init__(self, header: Header, pixels: PixelElement) -> None:
        self._header = header
        self._pixels = pixels
        self._decoder = decoders.get_decoder(header.syntax)
        self.layout = _without_mislabelled_subsampling(read_layout(header.dataset, pixels.keyword), pixels)
        self._encapsulated = self._decoder.is_encapsulated
        if self._encapsulated:
            self._plugins = self._usable_plugins()
            check_fragments(header.file, pixels, header.size, self.layout.frames)
        else:
            self._check_length()

    def decode(self, index: int, factor: int = 1) -> tuple[npt.NDArray[Any], str]:
        """Return frame `index` and the photometric interpretation that it has after decoding.

        Parameters
        ----------
        index
            From 0.
        factor
            By so much at most a grey picture may come out smaller, where its codestream holds lower resolutions.

        Returns
        -------
        tuple
            Stored values ``(rows, columns)`` or ``(rows, columns, 3)`` of the stored integer or float type
            (any byte order), with unused bits cleared and YBR_FULL and YBR_FULL_422 converted to RGB (PS3.3
            C.7.6.3.1.2); and "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB" or another defined term.

        Raises
        ------
        UnreadableImage
            If the frame cannot be decoded.
        """
        try:
            return self._decode_encapsulated(index, factor) if self._encapsulated else self._decode_native(index)
        except (UnreadableImage, MemoryError):
            raise
        except Exception:  # Decoders raise anything at all on damaged data; here it is known to be the pixels'.
            raise UnreadableImage(DAMAGED) from None

    def _decode_native(self, index: int) -> tuple[npt.NDArray[Any], str]:
        layout = self.layout
        self._header.file.seek(self._pixels.offset)
        shift = layout.high_bit + 1 - layout.bits_stored
        options = self._options(layout.frames) | {
            "pixel_vr": self._pixels.vr,
            # pydicom clears unused bits above the stored ones only; where there are some below, it is done
            # here.
            "correct_unused_bits": shift == 0,
        }
        array, properties = self._decoder.as_array(self._header.file, index=index, **options)
        if shift:
            unused = layout.bits_allocated - layout.high_bit - 1
            array = array << unused >> (unused + shift)
        return array, str(properties["photometric_interpretation"])

    def _decode_encapsulated(self, index: int, factor: int) -> tuple[npt.NDArray[Any], str]:
        from pydicom.encaps import encapsulate, get_frame

        self._header.file.seek(self._pixels.offset)
        frame = get_frame(
            self._header.file,
            index,
            number_of_frames=self.layout.frames,
            extended_offsets=self._extended_offsets(),
        )
        options = self._options(1)
        if self._header.syntax != RLE:
            stream = self._codestream(frame)
            options |= self._corrections(stream)
            if factor > 1 and (halved := self._decode_halved(frame, stream, factor)) is not None:
                return halved, self.layout.photometric
        # One plugin and no other: a frame that the best decoder refuses is damaged, and a lesser one would rather
        # return something wrong.
        plugin = self._plugins[0]
        found = isolation.decode(self._header.syntax, frame, plugin, options) if plugin in isolation.ISOLATED else None
        array, properties = found or self._decoder.as_array(
            encapsulate([frame], has_bot=False), index=0, decoding_plugin=plugin, **options
        )
        return array, str(properties["photometric_interpretation"])

    def _decode_halved(self, frame: bytes, stream: Codestream, factor: int) -> npt.NDArray[Any] | None:
        """Decode a grey frame at a lower resolution, if it has one."""
        layout = self.layout
        plain = stream.precision == layout.bits_stored == layout.high_bit + 1 and not layout.signed
        times = halvings(stream, factor) if plain else 0
        return decode_halved(frame, stream, times) if times else None

    def _options(self, frames: int) -> dict[str, Any]:
        layout = self.layout
        return {
            "rows": layout.rows,
            "columns": layout.columns,
            "number_of_frames": frames,
            "samples_per_pixel": layout.samples,
            "photometric_interpretation": layout.photometric,
            "planar_configuration": layout.planar,
            "bits_allocated": layout.bits_allocated,
            "bits_stored": layout.bits_stored,
            "pixel_representation": int(layout.signed),
            "pixel_keyword": self._pixels.keyword,
        }

    def _usable_plugins(self) -> tuple[str, ...]:
        uid = self._header.syntax
        usable = decoders.plugins(uid)
        if uid == decoders.JPEG_EXTENDED and self.layout.bits_stored > 8:
            usable = tuple(name for name in usable if name == "pylibjpeg")
        if not usable:
            raise UnreadableImage(
                f"no decoder for {self.layout.bits_stored}-bit {decoders.syntax_name(uid)} is installed; "
                f"convert the file to another transfer syntax, or: {decoders.remedy_for(uid)}"
            )
        return usable

    def _extended_offsets(self) -> tuple[bytes, bytes] | None:
        tables = [
            raw_values(self._header.dataset, keyword)
            for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
        ]
        if all(len(table) == 1 and isinstance(table[0], bytes) for table in tables):
            return tables[0][0], tables[1][0]
        return None

    def _check_length(self) -> None:
        """Refuse native pixel data that is shorter than its header says, before it is read."""
        expected = math.ceil(self.layout.frame_bits * self.layout.frames / 8)
        length, available = self._pixels.length, self._header.size - self._pixels.offset
        if length is None:
            raise UnreadableImage("its pixel data is compressed but no transfer syntax says how; export it again")
        if length < expected:
            raise UnreadableImage("its pixel data is smaller than its header says; copy or export it again")
        if available < expected:
            raise UnreadableImage(CUT_SHORT)

    def _codestream(self, frame: bytes) -> Codestream:
        """Return what a codestream says of itself; refuse one that does not fit the header."""
        try:
            codestream = read_codestream(frame)
        except CodestreamError:
            raise UnreadableImage(DAMAGED) from None
        layout = self.layout
        if codestream[:3] != (layout.rows, layout.columns, layout.samples):
            raise UnreadableImage("the compressed picture in it is not of the size in its header; export it again")
        if codestream.precision > max(layout.bits_allocated, 8):
            raise UnreadableImage("the compressed picture in it has more bits than its header says; export it again")
        return codestream

    def _corrections(self, codestream: Codestream) -> dict[str, Any]:
        """Return what a codestream knows better than the header.

        Headers are written apart from the codestream, and some forget what the encoder was given.
        """
        corrections: dict[str, Any] = {}
        if codestream.signed:
            corrections["pixel_representation"] = 1
        if codestream.subsampled and self.layout.photometric == "RGB":
            # Only chrominance is ever subsampled.
            corrections["photometric_interpretation"] = "YBR_FULL_422"
        return corrections


def _without_mislabelled_subsampling(layout: Layout, pixels: PixelElement) -> Layout:
    """Return `layout` as YBR_FULL if the native data is too long to be the YBR_FULL_422 it claims to be."""
    full = replace(layout, photometric="YBR_FULL")
    if layout.photometric != "YBR_FULL_422" or pixels.length is None:
        return layout
    return full if pixels.length * 8 >= full.frame_bits * full.frames else layout
