"""How fast compressed radiographs are indexed: 2000 x 2500 pixels, 12 of 16 bits, in JPEG Lossless and in HTJ2K.

Each run is a process of its own, so that another checkout can be measured in turn with this one, with the decoders of
its own time; the best of several rounds counts. A decoder's own time on one thread, spread over all cores, is what
indexing can at best come down to.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

COUNT = 96  # enough for the engine that long runs take
ROUNDS = 3
SYNTAXES = {"JPEG Lossless": "1.2.840.10008.1.2.4.70", "HTJ2K": "1.2.840.10008.1.2.4.201"}


def measure(scratch: Path, before: Path | None = None) -> dict[str, dict[str, float]]:
    """Return milliseconds an image by kind and by what was measured.

    Parameters
    ----------
    scratch
        Where files are made and kept.
    before
        Another checkout to be measured in turn with this one.
    """
    here = Path(__file__).parents[2]
    checkouts = {"index_ms": here} | ({"before_ms": before} if before else {})
    found: dict[str, dict[str, float]] = {}
    for kind, syntax in SYNTAXES.items():
        folder = scratch / kind.lower().replace(" ", "-")
        write(folder, syntax)
        times: dict[str, list[float]] = {name: [] for name in checkouts}
        for _ in range(ROUNDS):
            for name, checkout in checkouts.items():
                times[name].append(run(checkout, folder, scratch / "compressed-library"))
        found[kind] = {name: min(each) for name, each in times.items()} | {"decode_ms": decoding(folder)}
    return found


def run(checkout: Path, folder: Path, library: Path) -> float:
    """Return milliseconds an image of indexing a folder with the code of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, __file__, str(folder), str(library)]
    done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    if Path(told["code"]).resolve() != checkout.resolve():
        raise SystemExit(f"the code of {told['code']} was measured, not that of {checkout}")
    return float(told["ms"])


def index(folder: Path, place: Path) -> None:
    """Index a folder once, in this process; print what it took."""
    import roco_search
    from roco_search.library import Library
    from roco_search.models import load_encoder

    encoder = load_encoder("roco-mini", "cpu", "fast")
    encoder.encode_images([np.zeros((300, 300, 3), np.uint8)])  # what is loaded once belongs to no image
    shutil.rmtree(place, ignore_errors=True)
    with Library.create_or_open(place) as opened:
        started = time.perf_counter()
        report = opened.index([folder], encoder)
        seconds = time.perf_counter() - started
    if report.indexed != COUNT:
        raise SystemExit(f"{report.indexed} of {COUNT} were indexed")
    code = Path(roco_search.__file__).parents[1]
    print(json.dumps({"ms": 1000 * seconds / COUNT, "code": str(code)}))


def decoding(folder: Path) -> float:
    """Return milliseconds an image of decoding alone, as this checkout does it, on one thread."""
    from pydicom import dcmread
    from pydicom.encaps import get_frame

    from roco_search.imaging.dicom.decoding.codecs import codec_of, decode

    best = float("inf")
    for _ in range(ROUNDS):
        total = 0.0
        for file in sorted(folder.iterdir()):
            dataset = dcmread(file)
            frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
            codec = codec_of(str(dataset.file_meta.TransferSyntaxUID))
            assert codec is not None
            started = time.perf_counter()
            decode(codec, frame, {})
            total += time.perf_counter() - started
        best = min(best, total)
    return 1000 * best / COUNT


def write(folder: Path, syntax: str) -> None:
    """Write the radiographs."""
    import imagecodecs
    from made import radiographs
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, generate_uid

    encoders: dict[str, Callable[[Any], Any]] = {
        SYNTAXES["JPEG Lossless"]: lambda a: imagecodecs.jpeg8_encode(a, lossless=True, predictor=1, bitspersample=12),
        SYNTAXES["HTJ2K"]: lambda a: imagecodecs.htj2k_encode(a, reversible=True),
    }
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for number, picture in enumerate(radiographs(COUNT, (2500,))):
        path = folder / f"{number:02}.dcm"
        if path.exists():
            continue
        values = picture[:, :2000].astype(np.uint16) * 16 + random.integers(0, 8, (2500, 2000), np.uint16)
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.SOPClassUID, dataset.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.Modality, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = "DX", 2500, 2000, 1
        dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelData = encapsulate([bytes(encoders[syntax](values))])
        dataset.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    index(Path(sys.argv[1]), Path(sys.argv[2]))
