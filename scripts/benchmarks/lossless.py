"""Is indexing JPEG Lossless radiographs bound by their decoder? Its own time, spread over all cores, is the measure."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import gdcm
import numpy as np
from made import radiographs
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.system.process import cores

COUNT = 24
ROUNDS = 3


def measure(scratch: Path) -> dict[str, float]:
    """Return milliseconds an image, the best of several rounds in turn: decoding alone, on one thread, and indexing."""
    folder = scratch / "lossless"
    write(folder)
    files = sorted(folder.iterdir())
    encoder = load_encoder("roco-mini", "cpu", "fast")
    encoder.encode_images([np.zeros((300, 300, 3), np.uint8)])  # what is loaded once belongs to no image
    library = scratch / "lossless-library"
    decoded, indexed = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for file in files:
            decode(file)
        decoded.append(time.perf_counter() - started)
        shutil.rmtree(library, ignore_errors=True)
        with Library.create_or_open(library) as opened:
            started = time.perf_counter()
            opened.index([folder], encoder)
            indexed.append(time.perf_counter() - started)
    alone, whole = 1000 * min(decoded) / COUNT, 1000 * min(indexed) / COUNT
    return {"decode_ms": alone, "index_ms": whole, "times_the_decoder": whole / (alone / cores())}


def decode(file: Path) -> None:
    """Decode as roco does, by GDCM, and nothing else."""
    dataset = dcmread(file)
    get_decoder(dataset.file_meta.TransferSyntaxUID).as_array(dataset, raw=True, decoding_plugin="gdcm")


def write(folder: Path) -> None:
    """Write radiographs of 2000 x 2500 pixels, 12 of 16 bits, in JPEG Lossless."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for number, picture in enumerate(radiographs(COUNT, (2500,))):
        path, plain = folder / f"{number:02}.dcm", folder.parent / "plain.dcm"
        if path.exists():
            continue
        values = picture[:, :2000].astype(np.uint16) * 16 + random.integers(0, 8, (2500, 2000), np.uint16)
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.Modality, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = "DX", 2500, 2000, 1
        dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelData = values.tobytes()
        dataset.save_as(plain, enforce_file_format=True)
        _compress(plain, path)
        plain.unlink()


def _compress(plain: Path, path: Path) -> None:
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(plain))
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    done = reader.Read()
    change.SetInput(reader.GetImage())
    done = done and change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    if not (done and writer.Write()):
        raise SystemExit("GDCM could not compress a radiograph")
