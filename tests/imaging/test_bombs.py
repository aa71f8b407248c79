"""A picture costs at most 1 GB and 10 seconds: what would cost more is refused by what its header says."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

SIDE = 13_300  # Of 176.9 million pixels, as many as are read at all.


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def zeros(count: int) -> bytes:
    """Return so many zero bytes as a raw deflate stream: one flushed piece that is repeated, made in no time."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    pieces, rest = divmod(count, 10**6)
    piece = packer.compress(bytes(10**6)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * pieces + packer.compress(bytes(rest)) + packer.flush()


def png(path: Path, depth: int, colour: int, samples: int, side: int = SIDE, extra: bytes = b"") -> None:
    count = side * (1 + side * samples * depth // 8)
    rows = b"\x78\xda" + zeros(count) + struct.pack(">I", count % 65521 << 16 | 1)  # Adler-32 of zeros
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def dicom(
    path: Path, syntax: UID, data: bytes, *, samples: int = 1, bits: int = 8, rows: int = SIDE, columns: int = SIDE
) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID("1.2.3")
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PixelRepresentation = rows, columns, samples, 0
    dataset.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelData = data if syntax == ExplicitVRLittleEndian else encapsulate([data])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)


def run_lengths(segments: int, count: int) -> bytes:
    one = b"\x81\0" * (count // 128 + 1)
    offsets = [64 + len(one) * number for number in range(segments)]
    return struct.pack("<16I", segments, *offsets, *[0] * (15 - segments)) + one * segments


def jpeg_ls(path: Path) -> None:
    frame = struct.pack(">BBHBHHBBBB", 0xFF, 0xF7, 11, 8, SIDE, SIDE, 1, 1, 0x11, 0)
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0)
    dicom(path, JPEGLSLossless, b"\xff\xd8" + frame + scan + b"\xff\x7f" * 400 + b"\xff\xd9")


def deflated(path: Path) -> None:
    plain = path.with_suffix(".plain")
    dicom(plain, ExplicitVRLittleEndian, b"", rows=30_000, columns=30_000)
    data = plain.read_bytes()
    start = data.index(b"\x08\x00\x16\x00UI")
    uid = ExplicitVRLittleEndian.encode() + b"\0"
    meta = data[:start].replace(b"UI\x14\x00" + uid, b"UI\x16\x001.2.840.10008.1.2.1.99")
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(data[start:-4] + struct.pack("<I", 900 * 10**6)) + packer.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(meta + packed + zeros(900 * 10**6))
    plain.unlink()


def jpeg_2000(path: Path) -> None:
    size = struct.pack(">HHIIIIIIIIH", 41, 0, SIDE, SIDE, 0, 0, SIDE, SIDE, 0, 0, 1) + b"\x07\x01\x01"
    coding = b"\xff\x52" + struct.pack(">HBBHBBBBBB", 12, 0, 0, 1, 0, 5, 4, 4, 0, 1)
    dicom(path, JPEG2000Lossless, b"\xff\x4f\xff\x51" + size + coding + b"\xff\x90" + bytes(12) + b"\xff\xd9")


def progressive(path: Path) -> None:
    """Thousands of scans, each of which the decoder goes through the whole picture for."""
    from PIL import Image

    Image.fromarray(np.zeros((8000, 8000), np.uint8)).save(path, "JPEG", progressive=True)
    data = path.read_bytes()
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:-2] + data[last:-2] * 4000 + b"\xff\xd9")


def progressive_dicom(path: Path) -> None:
    progressive(path)
    dicom(path, JPEGBaseline8Bit, path.read_bytes(), rows=8000, columns=8000)


def tiff(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, np.zeros((16, SIDE), np.float64), compression="zlib", rowsperstrip=16)
    data = bytearray(path.read_bytes())
    lengths = (struct.pack("<HHI", 257, kind, 1) for kind in (3, 4))  # ImageLength, SHORT or LONG
    [entry] = [data.index(length) for length in lengths if length in data]
    data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, SIDE)
    path.write_bytes(data)


BOMBS: dict[str, Callable[[Path], object]] = {
    "png rgba": lambda path: png(path, 8, 6, 4),
    "png grey 16": lambda path: png(path, 16, 0, 1),
    "png rgb 16": lambda path: png(path, 16, 2, 3),
    "png grey": lambda path: png(path, 8, 0, 1),
    "rle rgb": lambda path: dicom(path, RLELossless, run_lengths(3, SIDE * SIDE), samples=3),
    "rle 32": lambda path: dicom(path, RLELossless, run_lengths(4, SIDE * SIDE), bits=32),
    "rle grey": lambda path: dicom(path, RLELossless, run_lengths(1, SIDE * SIDE)),
    "deflated": deflated,
    "jpeg-ls": jpeg_ls,
    "jpeg 2000": jpeg_2000,
    "progressive jpeg": progressive,
    "progressive jpeg in dicom": progressive_dicom,
    "tiff": tiff,
    "animated png": lambda path: png(path, 8, 0, 1, 64, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
}

PROGRAM = """
import json, sys, time
from pathlib import Path
from roco_search.imaging import open_image
from roco_search.imaging.dicom.decoding.isolation import pool
started = time.monotonic()
try:
    found = [list(frame.pixels.shape) for frame in open_image(sys.argv[1], frames="all")]
except Exception as error:
    found = f"{type(error).__name__}: {error}"
own = [worker._process.pid for worker in pool.idle.queue] + ["self"]
seconds = time.process_time()
status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in own)
peak = sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps([found, seconds, peak]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say how much memory was used")
@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_no_picture_costs_more_than_a_gigabyte_and_ten_seconds(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb"
    BOMBS[name](path)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
    found, seconds, peak = json.loads(done.stdout)
    assert done.stderr == ""
    assert peak < 1e9 and seconds < 10, f"{found}, {seconds:.1f} s, {peak / 1e9:.2f} GB"
    assert not isinstance(found, str) or (found.startswith("UnreadableImage: ") and "; " in found)
