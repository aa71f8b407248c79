"""Volumes in files: NIfTI, Analyze, NRRD and MetaImage, their headers read into one form, their voxels when needed.

Headers are read by nibabel and pynrrd, which are pure Python and small, rather than by SimpleITK, whose one wheel reads
all four but in native code that a damaged file could bring down, and whose readers write to the error stream.
MetaImage, a page of "key = value", is read here. Voxels are a block of numbers in each of them, also read here, so that
what they will cost is known before.
"""

import bz2
import gzip
import io
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from roco_search.errors import NotAnImage, UnreadableImage
from roco_search.imaging.costs import check_cost
from roco_search.imaging.frame import Source

MISSING = "a volume, for which a package is missing; pip install 'roco-search[volumes]'"
_DAMAGED = "its header is damaged; copy or export it again"
_CUT_SHORT = "cut short: it ends before its voxels do; copy or export it again"
_HEADER = 2**20  # Bytes in which the header of a volume ends.
_VECTORS = "a field of vectors, not a picture"
_NOT_BESIDE = "its voxels are in another file that is not beside it; copy both into one folder"
_LABEL_INTENT = 1002  # NIFTI_INTENT_LABEL
_MET_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_NRRD_TYPES = {
    **dict.fromkeys(["signed char", "int8", "int8_t"], "i1"),
    **dict.fromkeys(["uchar", "unsigned char", "uint8", "uint8_t"], "u1"),
    **dict.fromkeys(["short", "short int", "signed short", "signed short int", "int16", "int16_t"], "i2"),
    **dict.fromkeys(["ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"], "u2"),
    **dict.fromkeys(["int", "signed int", "int32", "int32_t"], "i4"),
    **dict.fromkeys(["uint", "unsigned int", "uint32", "uint32_t"], "u4"),
    **dict.fromkeys(["longlong", "long long", "long long int", "signed long long", "int64", "int64_t"], "i8"),
    **dict.fromkeys(["ulonglong", "unsigned long long", "uint64", "uint64_t"], "u8"),
    "float": "f4",
    "double": "f8",
}
_LPS = np.diag([-1.0, -1.0, 1.0])  # DICOM's, ITK's and NRRD's axes, in those of NIfTI


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A volume whose header has been read.

    Attributes
    ----------
    shape
        Voxels along the first three axes, the fastest first.
    directions
        ``(3, 3)``: each column how far, in millimetres to the right, to the front and upwards, a step along that axis
        leads.
    slope, intercept
        What makes values of the numbers.
    labels
        Whether the header says that the voxels are labels.
    """

    shape: tuple[int, int, int]
    directions: npt.NDArray[np.float64]
    dtype: "np.dtype[Any]"
    slope: float
    intercept: float
    labels: bool
    _read: Callable[[int], npt.NDArray[Any]]

    def voxels(self) -> npt.NDArray[Any]:
        """Return the numbers of the first volume of the file, ``shape``.

        Raises
        ------
        UnreadableImage
            If they are cut short, damaged, or more than a picture may cost.
        """
        count = prod(self.shape)
        return self._read(count).reshape(self.shape, order="F")


def read_volume(source: Source) -> Volume:
    """Read the header of a volume.

    Raises
    ------
    NotAnImage
        If its voxels are vectors.
    UnreadableImage
        If it is damaged, of a kind that is not read, or a package is missing.
    """
    with source.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        head = gzip.GzipFile(fileobj=file).read(_HEADER) if packed else file.read(_HEADER)
    try:
        if head.startswith(b"NRRD"):
            return _read_nrrd(source, head)
        if head.lstrip().startswith((b"ObjectType", b"NDims", b"Comment")):
            return _read_meta_image(source, head)
        return _read_nifti(source, head, packed=packed)
    except ImportError:
        raise UnreadableImage(MISSING) from None


def _read_nifti(source: Source, head: bytes, *, packed: bool) -> Volume:
    import nibabel  # noqa: F401 - all of it first: see `read_header`
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError
    from nibabel.spm2analyze import Spm2AnalyzeHeader

    kind: Any = Nifti2Header if head[4:7] in {b"n+2", b"ni2"} else Nifti1Header
    if kind is Nifti1Header and head[344:347] not in {b"n+1", b"ni1"}:
        kind = Spm2AnalyzeHeader
    try:
        header = kind.from_fileobj(io.BytesIO(head), check=False)
        shape, dtype = header.get_data_shape(), header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
        affine = header.get_best_affine() if kind is not Spm2AnalyzeHeader else header.get_base_affine()
    except (HeaderDataError, ValueError, KeyError, TypeError, OverflowError):
        raise UnreadableImage(_DAMAGED) from None
    if len(shape) > 4 and shape[4] > 1:
        raise NotAnImage(_VECTORS)
    single = kind is not Spm2AnalyzeHeader and header["magic"].item()[:2] != b"ni"
    data = source if single else _beside(source, ".img")
    return Volume(
        shape=_three(shape),
        directions=np.asarray(affine, np.float64)[:3, :3],
        dtype=_real(np.dtype(dtype)),
        slope=_number(slope, 1.0),
        intercept=_number(intercept, 0.0),
        labels=kind is not Spm2AnalyzeHeader and int(header["intent_code"]) == _LABEL_INTENT,
        _read=_block(data, int(header["vox_offset"]), np.dtype(dtype), "gzip" if packed else "raw"),
    )


def _number(value: float | None, otherwise: float) -> float:
    return otherwise if value is None or not np.isfinite(value) else float(value)


def _read_nrrd(source: Source, head: bytes) -> Volume:
    import nrrd

    file = io.BytesIO(head)
    try:
        header = nrrd.read_header(file)
        sizes = [int(size) for size in header["sizes"]]
        dtype = np.dtype((">" if header.get("endian") == "big" else "<") + _NRRD_TYPES[header["type"]])
    except Exception:  # pynrrd raises nearly anything on a damaged header
        raise UnreadableImage(_DAMAGED) from None
    kinds = [str(kind) for kind in header.get("kinds", ["domain"] * len(sizes))]
    spatial = [n for n, kind in enumerate(kinds) if kind in {"domain", "space", "none", "???"}]
    if spatial[:1] != [0]:
        raise NotAnImage(_VECTORS)
    directions = _nrrd_directions(header, spatial)
    offset = file.tell()
    data = source
    if (name := header.get("data file", header.get("datafile"))) is not None:
        data, offset = _beside(source, str(name)), 0
    offset += int(str(header.get("byte skip", header.get("byteskip", 0))))
    encoding = {"gz": "gzip", "bz2": "bzip2"}.get(header["encoding"], header["encoding"])
    if encoding not in {"raw", "gzip", "bzip2"} or int(str(header.get("line skip", 0))) or offset < 0:
        raise UnreadableImage("its voxels are written in a way that roco does not read; export it as raw or gzip")
    return Volume(
        shape=_three(tuple(sizes)),
        directions=directions,
        dtype=dtype,
        slope=1.0,
        intercept=0.0,
        labels=any(str(key).startswith("Segment") for key in header),
        _read=_block(data, offset, dtype, encoding),
    )


def _nrrd_directions(header: dict[str, Any], spatial: list[int]) -> npt.NDArray[np.float64]:
    found = np.eye(3)
    stated = header.get("space directions")
    if stated is not None and len(spatial) >= 3:
        rows = np.asarray(stated, np.float64)[spatial[:3]]
        if rows.shape == (3, 3) and np.isfinite(rows).all():
            found = rows.T
    elif "spacings" in header:
        spacings = np.nan_to_num(np.asarray(header["spacings"], np.float64)[:3], nan=1.0)
        found = np.diag(np.append(spacings, np.ones(3 - len(spacings))))
    space = str(header.get("space", "left-posterior-superior")).lower()
    signs = {"right-anterior-superior": (1, 1), "ras": (1, 1), "left-anterior-superior": (-1, 1), "las": (-1, 1)}
    return np.diag([*signs.get(space, (-1, -1)), 1.0]) @ found


def _read_meta_image(source: Source, head: bytes) -> Volume:
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields:
        line, end, _ = head[position:].partition(b"\n")
        key, separator, value = line.decode("ascii", "replace").partition("=")
        if not separator or not end:
            raise UnreadableImage(_DAMAGED)
        fields[key.strip()] = value.strip()
        position += len(line) + 1
    try:
        sizes = tuple(int(size) for size in fields["DimSize"].split())
        order = ">" if fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB")) == "True" else "<"
        dtype = np.dtype(order + _MET_TYPES[fields["ElementType"]])
        spacing = [float(one) for one in fields.get("ElementSpacing", fields.get("ElementSize", "")).split()]
        matrix = [float(one) for one in fields.get("TransformMatrix", fields.get("Rotation", "")).split()]
        skip = int(fields.get("HeaderSize", "0"))
    except (KeyError, ValueError):
        raise UnreadableImage(_DAMAGED) from None
    if int(fields.get("ElementNumberOfChannels", "1")) != 1:
        raise NotAnImage(_VECTORS)
    axes = np.array(matrix).reshape(3, 3) if len(matrix) == 9 else np.eye(3)
    directions = _LPS @ axes.T @ np.diag([*spacing, 1.0, 1.0, 1.0][:3])
    name = fields["ElementDataFile"]
    data, offset = (source, position) if name.upper() == "LOCAL" else (_beside(source, name), max(0, skip))
    if skip < 0:
        offset = -prod(sizes) * dtype.itemsize  # counted from the end
    encoding = "zlib" if fields.get("CompressedData", "False").lower() == "true" else "raw"
    return Volume(_three(sizes), directions, dtype, 1.0, 0.0, False, _block(data, offset, dtype, encoding))


def _three(sizes: tuple[int, ...]) -> tuple[int, int, int]:
    first, second, third = (*(int(size) for size in sizes[:3]), 1, 1, 1)[:3]
    if not sizes or min(first, second, third) < 1:
        raise UnreadableImage("its header declares a volume without voxels; export it again")
    return first, second, third


def _real(dtype: "np.dtype[Any]") -> "np.dtype[Any]":
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise UnreadableImage("its voxels are no real numbers; export it as integers or real numbers")
    return dtype


def _beside(source: Source, name: str) -> Source:
    """Return the file in which the voxels are: `name`, or the source's own with another ending.

    A name in a header that leads anywhere else than into the same folder is refused.
    """
    named = getattr(source, "name", None)
    if named is None:
        raise UnreadableImage(_NOT_BESIDE)
    name = Path(named).stem + name if name.startswith(".") else name.removeprefix("./")
    if name in {"", "..", "LIST"} or "/" in name or "\\" in name or "%" in name:
        raise UnreadableImage(_NOT_BESIDE)
    found = source.with_name(name)  # type: ignore[attr-defined]
    if not found.exists():
        raise UnreadableImage(_NOT_BESIDE)
    return found  # type: ignore[no-any-return]


def _block(source: Source, offset: int, dtype: "np.dtype[Any]", encoding: str) -> Callable[[int], npt.NDArray[Any]]:
    """Return what reads the first `count` numbers of a block of voxels."""

    def read(count: int) -> npt.NDArray[Any]:
        if encoding == "raw" and isinstance(source, Path):
            size = source.stat().st_size
            start = size + offset if offset < 0 else offset
            if start < 0 or start + count * dtype.itemsize > size:
                raise UnreadableImage(_CUT_SHORT)
            return np.memmap(source, dtype, "r", start, (count,))
        check_cost(count * dtype.itemsize)
        with source.open("rb") as file:
            return np.frombuffer(_bytes(file, offset, count * dtype.itemsize, encoding), dtype)

    return read


def _bytes(file: BinaryIO, offset: int, count: int, encoding: str) -> bytes:
    if offset < 0 and encoding == "raw":
        offset += file.seek(0, os.SEEK_END)
    try:
        match encoding:
            case "gzip" if file.read(2) == b"\x1f\x8b":
                # The whole file is packed, its header included, as of `.nii.gz`.
                file.seek(0)
                stream: BinaryIO = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
                stream.seek(offset)
            case "gzip":
                file.seek(offset)
                stream = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
            case "bzip2":
                file.seek(offset)
                stream = bz2.BZ2File(file)  # type: ignore[assignment]
            case _:
                file.seek(max(0, offset))
                stream = file
        found = _inflated(stream, count) if encoding == "zlib" else stream.read(count)
    except (EOFError, zlib.error, OSError):
        raise UnreadableImage("its voxels are damaged; copy or export it again") from None
    if len(found) < count:
        raise UnreadableImage(_CUT_SHORT)
    return found


def _inflated(file: BinaryIO, count: int) -> bytes:
    inflater, found = zlib.decompressobj(), bytearray()
    while len(found) < count and not inflater.eof and (packed := inflater.unconsumed_tail or file.read(2**18)):
        found += inflater.decompress(packed, count - len(found))
    return bytes(found)
