"""Decoding one frame of DICOM pixel data, after everything that can be checked without decoding has been."""

import math
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from roco_search.errors import UnreadableImage
from roco_search.imaging.costs import check_cost, check_size
from roco_search.imaging.dicom import samples, terms
from roco_search.imaging.dicom.decoding import codecs, isolation
from roco_search.imaging.dicom.decoding.codestream import Codestream, CodestreamError, read_codestream
from roco_search.imaging.dicom.decoding.jpeg2000 import decode_lower, halvings
from roco_search.imaging.dicom.encapsulation import CUT_SHORT, DAMAGED, find_frames, read_frame
from roco_search.imaging.dicom.header import Header, PixelElement
from roco_search.imaging.dicom.values import integer, text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_FLOAT_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_DEEPEST_PACKED = 16  # Bits of the widest pixel cell that is packed without gaps.
_LUMINANCE_FIRST = frozenset({"YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420"})
_PAIRED = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})
_WORKING_BYTES = {"jpeg8": 3, "jpegls": 4, "jpeg2k": 10, "htj2k": 8, "jpegxl": 16, "packbits": 1}
"""What a codec holds for each sample while it decodes, beside what it returns."""
_MAX_SCANNED = 2 * 10**10  # Pixels that a decoder of progressive JPEG may go through, all scans together: 8 s.
_MAX_RATIO, _SUSPICIOUS = 2000, 2**24  # Pixels per byte, in pictures of more than this many pixels.


@dataclass(frozen=True, slots=True)
class Layout:
    """The Image Pixel module (PS3.3 C.7.6.3), validated. `high_bit` is the position of the topmost stored bit."""

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
        return bits // 3 * 2 if self.photometric in _PAIRED else bits


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
        (allocated > _DEEPEST_PACKED and allocated not in {32, 64})
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
        At once, if the pixel data is cut short, too large, or of a transfer syntax that cannot be decoded here.
    """

    def __init__(self, header: Header, pixels: PixelElement) -> None:
        self._header = header
        self._pixels = pixels
        self._codec = codecs.codec_of(header.syntax)
        self.layout = _without_mislabelled_subsampling(read_layout(header.dataset, pixels.keyword), pixels)
        layout = self.layout
        words = layout.rows * layout.columns * layout.samples
        check_cost(header.held + words * math.ceil(layout.bits_allocated / 8) + 3 * layout.rows * layout.columns)
        if self._codec is not None:
            self._frames = find_frames(header.file, pixels, header.size, layout.frames)
        else:
            self._check_length()

    def decode(self, index: int, factor: int = 1) -> tuple[npt.NDArray[Any], str]:
        """Return frame `index` and the photometric interpretation that it has after decoding.

        Parameters
        ----------
        index
            From 0.
        factor
            A grey picture may come out smaller by at most this factor if its codestream holds lower resolutions.

        Returns
        -------
        tuple
            Stored values ``(rows, columns)`` or ``(rows, columns, 3)`` of an integer or float type, with unused bits
            cleared and luminance and colour differences converted to RGB (PS3.3 C.7.6.3.1.2); and "MONOCHROME1",
            "MONOCHROME2", "PALETTE COLOR", "RGB" or another defined term.

        Raises
        ------
        UnreadableImage
            If the frame cannot be decoded.
        """
        try:
            words, stream = self.words(index, factor)
            return self._finished(words, stream)
        except (UnreadableImage, MemoryError):
            raise
        except Exception:  # Decoders raise anything at all on damaged data; here it is known to be the pixels'.
            raise UnreadableImage(DAMAGED) from None

    def words(self, index: int, factor: int = 1) -> tuple[npt.NDArray[Any], Codestream | None]:
        """Return the pixel words of a frame as they are stored or encoded, and what its codestream says of itself."""
        if self._codec is None:
            return self._native(index), None
        frame = read_frame(self._header.file, self._frames[index])
        if self._codec == "packbits":
            return self._run_lengths(frame), None
        return self._decompressed(frame, factor)

    def _finished(self, words: npt.NDArray[Any], stream: Codestream | None) -> tuple[npt.NDArray[Any], str]:
        """Return stored values and photometric interpretation of pixel words."""
        layout = self.layout
        if layout.is_float:
            return words, layout.photometric
        bits, shift = layout.bits_stored, layout.high_bit + 1 - layout.bits_stored
        signed = layout.signed or (stream is not None and stream.signed)
        if stream is not None:
            # Encoders differ in what they are given: the stored bits alone, or the whole word. Of a word that is
            # narrower than Bits Stored every bit counts.
            precision = stream.precision or words.dtype.itemsize * 8
            shift = max(0, min(layout.high_bit + 1, precision) - bits)
            bits = min(bits, precision)
            if not stream.reversible and not shift:
                # What lossy coding moved past the end of the range belongs there, not at the other end.
                low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if stream.signed else (0, 2**bits - 1)
                words = np.clip(words, low, high, out=words if words.flags.writeable else None)
        values = samples.stored_values(words, shift=shift, bits=bits, signed=signed)
        photometric = layout.photometric
        if self._codec == "jpegxl" and values.ndim == 3:
            photometric = "RGB"  # XYB and YBR alike are undone by the decoder
        if stream is not None and stream.colour:
            photometric = "RGB" if stream.colour == "RGB" else "YBR_FULL" if photometric == "RGB" else photometric
        if photometric in _LUMINANCE_FIRST and values.ndim == 3:
            values = values.view(f"u{values.dtype.itemsize}")
            values = samples.to_rgb(values, bits, studio=photometric.startswith("YBR_PARTIAL"))
            photometric = "RGB"
        return values, photometric

    def _native(self, index: int) -> npt.NDArray[Any]:
        """Read the words of an uncompressed frame (PS3.5 8.1.1, D)."""
        layout, encoding = self.layout, self._header.encoding
        order = "<" if encoding.little_endian else ">"
        count = layout.frame_bits // layout.bits_allocated
        first_bit = index * layout.frame_bits
        # Words of 16 bits carry bytes and smaller cells as well, in the byte order of the file.
        swapped = not encoding.little_endian and self._pixels.vr == "OW" and layout.bits_allocated < 16
        start = first_bit // 16 * 2
        end = min(-(-(first_bit + layout.frame_bits) // 16) * 2, self._header.size - self._pixels.offset)
        self._header.file.seek(self._pixels.offset + start)
        data = np.frombuffer(self._header.file.read(end - start), np.uint8)
        if swapped:
            data = data[: data.size // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)
        if layout.bits_allocated in {8, 16, 32, 64}:
            kind = np.dtype(f"{order}{'f' if layout.is_float else 'u'}{layout.bits_allocated // 8}")
            begin = first_bit // 8 - start
            words = data[begin : begin + count * kind.itemsize].view(kind)
        else:
            words = samples.unpack(data, first_bit - 8 * start, count, layout.bits_allocated)
        if layout.photometric in _PAIRED:
            return samples.upsampled(words, layout.rows, layout.columns)
        if layout.samples == 1:
            return words.reshape(layout.rows, layout.columns)
        if layout.planar:
            return samples.interleaved(words.reshape(3, layout.rows, layout.columns))
        return words.reshape(layout.rows, layout.columns, 3)

    def _run_lengths(self, frame: bytes) -> npt.NDArray[Any]:
        """Decode an RLE frame (PS3.5 Annex G): the bytes of all samples in planes, the highest byte first."""
        layout = self.layout
        size = math.ceil(layout.bits_allocated / 8)
        pixels = layout.rows * layout.columns
        packed = layout.bits_allocated < 8
        count, *offsets = struct.unpack_from("<16I", frame)
        if count != layout.samples * size or not all(64 <= offset <= len(frame) for offset in offsets[:count]):
            raise UnreadableImage(DAMAGED)
        planes = np.empty((math.ceil(pixels / 8) if packed else pixels, layout.samples, size), np.uint8)
        ends = [*offsets[1:count], len(frame)]
        for number, (start, end) in enumerate(zip(offsets, ends, strict=False)):
            planes[:, number // size, number % size] = codecs.unpack_bytes(frame[start:end], len(planes))
        if packed:
            return samples.unpack(planes.reshape(-1), 0, pixels, layout.bits_allocated).reshape(
                layout.rows, layout.columns
            )
        shape = (layout.rows, layout.columns) + ((3,) if layout.samples == 3 else ())
        return planes.view(f">u{size}" if size > 1 else np.uint8).reshape(shape)

    def _decompressed(self, frame: bytes, factor: int) -> tuple[npt.NDArray[Any], Codestream]:
        assert self._codec is not None
        layout, stream = self.layout, self._codestream(frame)
        codec = codecs.choose(self._codec, stream)
        plain = stream.precision == layout.bits_stored == layout.high_bit + 1 and not layout.signed
        if factor > 1 and plain:
            times = halvings(codec, stream, factor)
            if times and (lower := decode_lower(codec, frame, stream, times)) is not None:
                return lower, stream
        options: dict[str, Any] = {"jpegxl": {"numthreads": 1}, "jpeg2k": {"numthreads": 1}}.get(codec, {})
        if codec == "jpeg8" and stream.components == 3:
            # As it is encoded: the header and the codestream together show which colours those are.
            options = {"colorspace": "RGB", "outcolorspace": "RGB"}
        array = _decode(codec, frame, options)
        if array.dtype.kind not in "ui" or array.ndim != (2 if layout.samples == 1 else 3):
            raise UnreadableImage(DAMAGED)
        if array.ndim == 3 and array.shape[2] != layout.samples:
            raise UnreadableImage(_OTHER_COLOURS)
        # Some encoders fill up the last block: what Rows and Columns name is the picture.
        array = array[: layout.rows, : layout.columns]
        if array.shape[:2] != (layout.rows, layout.columns):
            raise UnreadableImage(_SMALLER)
        return array, stream

    def _codestream(self, frame: bytes) -> Codestream:
        """Return what a codestream says of itself; refuse one that does not fit the header or costs too much."""
        try:
            stream = read_codestream(frame)
        except CodestreamError:
            raise UnreadableImage(DAMAGED) from None
        layout = self.layout
        if stream.rows < layout.rows or stream.columns < layout.columns:
            raise UnreadableImage(_SMALLER)
        if stream.components not in {0, layout.samples}:
            raise UnreadableImage(_OTHER_COLOURS)
        if stream.precision > max(layout.bits_allocated, 8):
            raise UnreadableImage("the compressed picture in it has more bits than its header says; export it again")
        check_size(stream.columns, stream.rows)
        pixels = stream.rows * stream.columns
        if pixels > _SUSPICIOUS and pixels > _MAX_RATIO * len(frame):
            raise UnreadableImage("its compressed data is far too small for the size in its header; export it again")
        if pixels * stream.scans > _MAX_SCANNED:
            raise UnreadableImage("too large: its compressed data goes over the picture too often; export it again")
        assert self._codec is not None
        each = _WORKING_BYTES[codecs.choose(self._codec, stream)] + math.ceil(stream.precision / 8)
        check_cost(self._header.held + len(frame) + pixels * (layout.samples * each + 3))
        return stream

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


def _decode(codec: str, frame: bytes, options: dict[str, Any]) -> npt.NDArray[Any]:
    """Decode a codestream, in a process of its own where the codec needs it."""
    if codec not in isolation.ISOLATED:
        return codecs.decode(codec, frame, options)
    try:
        array = isolation.decode(codec, frame, options)
    except isolation.WorkerFailed:
        # Some encoders of JPEG-LS fill up with zeros in front of the end marker, which CharLS takes for data.
        body = frame.rstrip(b"\0").removesuffix(_END_OF_IMAGE)
        if codec != "jpegls" or not body.endswith(b"\0"):
            raise
        frame = body.rstrip(b"\0") + _END_OF_IMAGE
        array = isolation.decode(codec, frame, options)
    return codecs.decode(codec, frame, options) if array is None else array


_END_OF_IMAGE = b"\xff\xd9"
_SMALLER = "the compressed picture in it is smaller than its header says; export it again"
_OTHER_COLOURS = "the compressed picture in it has another number of colours than its header says; export it again"


def _without_mislabelled_subsampling(layout: Layout, pixels: PixelElement) -> Layout:
    """Return `layout` as YBR_FULL if the native data is too long to be the YBR_FULL_422 it claims to be."""
    if layout.photometric != "YBR_FULL_422" or pixels.length is None:
        return layout
    full = replace(layout, photometric="YBR_FULL")
    return full if pixels.length * 8 >= full.frame_bits * full.frames else layout
