"""Small sound files of every kind that is read: what the mutations begin with."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import imagecodecs
import nibabel
import numpy as np
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGLSLossless

ROWS, COLUMNS = 80, 96


def values(bits: int) -> np.ndarray:
    """Return a picture with edges, slopes and noise."""
    y, x = np.mgrid[0:ROWS, 0:COLUMNS]
    shade = (x / COLUMNS + (y // 16) / 10 + np.random.default_rng(bits).random((ROWS, COLUMNS)) / 10) / 1.7
    return np.asarray(shade * (2**bits - 1), np.uint8 if bits <= 8 else np.uint16)


def colour(bits: int = 8) -> np.ndarray:
    shade = values(bits)
    return np.ascontiguousarray(np.dstack([shade, shade[::-1], shade[:, ::-1]]))


def dicom(uid: str, array: np.ndarray, frames: list[bytes] | None = None, **attributes: Any) -> bytes:
    """Return a DICOM file."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless if frames else UID(uid)
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Modality, dataset.Rows, dataset.Columns = "OT", *array.shape[:2]
    dataset.SamplesPerPixel = 3 if array.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if array.ndim == 3 else "MONOCHROME2"
    if array.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = 8 * array.itemsize
    dataset.BitsStored = dataset.BitsAllocated if array.itemsize == 1 else 12
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    dataset.WindowCenter, dataset.WindowWidth = 2000, 3000
    dataset.NumberOfFrames = max(1, len(frames or [b""]))
    big = uid == "1.2.840.10008.1.2.2"
    dataset.PixelData = encapsulate(frames) if frames else (array.byteswap() if big else array).tobytes()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    file = io.BytesIO()
    if frames:
        dataset["PixelData"].VR = "OB"
        dataset.save_as(file, enforce_file_format=True)
        old, new = (one.encode() + b"\0" * (len(one) % 2) for one in (str(JPEGLSLossless), uid))
        heads = [b"UI" + len(one).to_bytes(2, "little") + one for one in (old, new)]
        return file.getvalue().replace(heads[0], heads[1], 1)
    dataset.save_as(file, enforce_file_format=True, implicit_vr=uid == "1.2.840.10008.1.2", little_endian=not big)
    return file.getvalue()


def deflated() -> bytes:
    plain = dicom("1.2.840.10008.1.2.1", values(12))
    start = plain.index(b"\x08\x00\x16\x00UI")
    meta = plain[:start].replace(b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x16\x001.2.840.10008.1.2.1.99")
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return meta + packer.compress(plain[start:]) + packer.flush()


def run_lengths(array: np.ndarray) -> bytes:
    planes = array.astype(array.dtype.newbyteorder(">")).view(np.uint8).reshape(ROWS * COLUMNS, -1)
    segments = [bytes(imagecodecs.packbits_encode(plane.tobytes())) for plane in planes.T]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    offsets = [64 + sum(map(len, segments[:n])) for n in range(len(segments))]
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


def lossless(array: np.ndarray, predictor: int) -> bytes:
    bits = 8 * array.itemsize
    return bytes(imagecodecs.jpeg8_encode(array, lossless=True, predictor=predictor, bitspersample=bits))


CODESTREAMS: dict[str, tuple[str, Callable[[np.ndarray], Any]]] = {
    "jpeg baseline": ("50", lambda a: imagecodecs.jpeg8_encode(a, level=90)),
    "jpeg extended": ("51", lambda a: imagecodecs.jpeg8_encode(a, level=90, bitspersample=12)),
    "jpeg lossless 57": ("57", lambda a: lossless(a, 4)),
    "jpeg lossless 70": ("70", lambda a: lossless(a, 1)),
    "jpeg-ls": ("80", imagecodecs.jpegls_encode),
    "jpeg-ls near": ("81", lambda a: imagecodecs.jpegls_encode(a, level=2)),
    "jpeg 2000": ("90", lambda a: imagecodecs.jpeg2k_encode(a, reversible=True, codecformat="j2k")),
    "jpeg 2000 lossy": ("91", lambda a: imagecodecs.jpeg2k_encode(a, level=40, codecformat="jp2")),
    "htj2k": ("201", lambda a: imagecodecs.htj2k_encode(a, reversible=True)),
    "htj2k rpcl": ("202", lambda a: imagecodecs.htj2k_encode(a, reversible=True, resolutions=3)),
    "htj2k lossy": ("203", lambda a: imagecodecs.htj2k_encode(a, reversible=False)),
    "jpeg xl": ("110", lambda a: imagecodecs.jpegxl_encode(a, lossless=True)),
    "jpeg xl lossy": ("112", lambda a: imagecodecs.jpegxl_encode(a, level=85)),
}


def corpus() -> dict[str, tuple[str, bytes]]:
    """Return by name the ending of a file and its content."""
    found: dict[str, tuple[str, bytes]] = {
        "implicit": (".dcm", dicom("1.2.840.10008.1.2", values(12))),
        "explicit": (".dcm", dicom("1.2.840.10008.1.2.1", values(12))),
        "explicit colour": (".dcm", dicom("1.2.840.10008.1.2.1", colour())),
        "big endian": (".dcm", dicom("1.2.840.10008.1.2.2", values(12))),
        "deflated": (".dcm", deflated()),
        "rle": (".dcm", dicom("1.2.840.10008.1.2.5", values(12), [run_lengths(values(12))])),
        "rle colour": (".dcm", dicom("1.2.840.10008.1.2.5", colour(), [run_lengths(colour())] * 2)),
    }
    for name, (ending, encode) in CODESTREAMS.items():
        uid = f"1.2.840.10008.1.2.4.{ending}"
        deep = values(8 if ending == "50" else 12)
        if ending == "51":
            found[name] = (".dcm", dicom(uid, deep, [bytes(encode(deep))]))
            continue
        found[name] = (".dcm", dicom(uid, deep, [bytes(encode(deep))]))
        found[f"{name} colour"] = (".dcm", dicom(uid, colour(), [bytes(encode(colour()))] * 2))
    found |= {**rasters(), **tiffs(), **volumes()}
    return found | archives(found)


def rasters() -> dict[str, tuple[str, bytes]]:
    def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    grey, rgb = Image.fromarray(values(8)), Image.fromarray(colour())
    alpha = Image.merge("RGBA", [*rgb.split(), grey])
    found = {
        "png": (".png", saved(grey, "PNG")),
        "png palette": (".png", saved(rgb.quantize(32), "PNG")),
        "png rgba": (".png", saved(alpha, "PNG")),
        "png 16": (".png", bytes(imagecodecs.png_encode(values(16)))),
        "png rgb 16": (".png", bytes(imagecodecs.png_encode(colour(16)))),
        "png animated": (".png", saved(grey, "PNG", save_all=True, append_images=[grey.rotate(9), grey.rotate(90)])),
        "jpeg": (".jpg", saved(rgb, "JPEG")),
        "jpeg progressive": (".jpg", saved(rgb, "JPEG", progressive=True)),
        "jpeg cmyk": (".jpg", saved(rgb.convert("CMYK"), "JPEG")),
        "webp": (".webp", saved(rgb, "WEBP")),
        "webp animated": (".webp", saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(9)])),
        "bmp": (".bmp", saved(rgb, "BMP")),
    }
    try:
        found["avif"] = (".avif", saved(rgb, "AVIF"))
    except (KeyError, OSError):
        print("this Pillow writes no AVIF")
    return found


def tiffs() -> dict[str, tuple[str, bytes]]:
    def written(array: np.ndarray, **options: Any) -> tuple[str, bytes]:
        file = io.BytesIO()
        tifffile.imwrite(file, array, **options)
        return ".tif", file.getvalue()

    grey, rgb = values(12), colour()
    found = {
        f"tiff {name}": written(grey, compression=name, rowsperstrip=32)
        for name in (None, "lzw", "zlib", "packbits", "lzma", "zstd", "jpeg2000")
    }
    found |= {
        "tiff jpeg": written(rgb, compression="jpeg", photometric="rgb"),
        "tiff tiles": written(rgb, compression="zlib", photometric="rgb", tile=(32, 32), predictor=True),
        "tiff big": written(grey.astype(np.float64), bigtiff=True, byteorder=">"),
        "tiff pages": written(np.stack([grey, grey[::-1]]), photometric="minisblack"),
        "tiff bilevel": written(values(8) > 100, photometric="minisblack"),
    }
    file = io.BytesIO()
    Image.fromarray(values(8) > 100).save(file, "TIFF", compression="group4")
    return found | {"tiff fax": (".tif", file.getvalue())}


def volumes() -> dict[str, tuple[str, bytes]]:
    voxels = np.random.default_rng(0).integers(-900, 900, (20, 24, 9)).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0]))
    plain = image.to_bytes()
    sizes = "20 24 9"
    nrrd = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: " + sizes + "\n"
        "space directions: (1,0,0) (0,1,0) (0,0,3)\nkinds: domain domain domain\nendian: little\nencoding: "
    )
    meta = f"ObjectType = Image\nNDims = 3\nDimSize = {sizes}\nElementSpacing = 1 1 3\nElementType = MET_SHORT\n"
    meta_packed = (meta + "CompressedData = True\nElementDataFile = LOCAL\n").encode()
    data = voxels.tobytes(order="F")
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    packed = packer.compress(data) + packer.flush()
    whole = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return {
        "nifti": (".nii", plain),
        "nifti gz": (".nii.gz", whole.compress(plain) + whole.flush()),
        "nifti 2": (".nii", nibabel.Nifti2Image(voxels, np.eye(4)).to_bytes()),
        "nrrd": (".nrrd", (nrrd + "raw\n\n").encode() + data),
        "nrrd gz": (".nrrd", (nrrd + "gzip\n\n").encode() + packed),
        "metaimage": (".mha", (meta + "ElementDataFile = LOCAL\n").encode() + data),
        "metaimage z": (
            ".mha",
            meta_packed + zlib.compress(data),
        ),
    }


def archives(found: dict[str, tuple[str, bytes]]) -> dict[str, tuple[str, bytes]]:
    """Return a zip and tars of some of the files."""
    chosen = ["explicit", "png", "jpeg lossless 70", "nifti"]
    members = {f"DICOM/IM{n:04}{found[name][0]}": found[name][1] for n, name in enumerate(chosen)}
    result = {}
    for name, method in (("zip", zipfile.ZIP_DEFLATED), ("zip stored", zipfile.ZIP_STORED)):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        result[name] = (".zip", file.getvalue())
    for ending in ("", "gz", "bz2", "xz"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=f"w:{ending}") as tar:  # type: ignore[call-overload]
            for member, content in members.items():
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        result[f"tar {ending}".strip()] = (f".tar.{ending}".rstrip("."), file.getvalue())
    return result
