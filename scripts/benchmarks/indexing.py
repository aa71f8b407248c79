"""How fast images are indexed, by stage and as a whole; beside rclip if it is asked for.

    scripts/bench index --against rclip

Stages are measured on one thread each: decoding and rendering, preparing for the model, embedding. A whole run overlaps
them. The DICOM files are made from generated pixels in real sizes: CR 2000 x 2500 of 16 bits, uncompressed for the
stages and in JPEG Lossless and HTJ2K for a whole run (`compressed`), CT 512 x 512, ultrasound of 100 frames.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import compressed
import numpy as np
from made import radiographs, write_pngs
from measuring import Runs, in_turn, machine, run

from roco_search.imaging import open_image
from roco_search.models import load_encoder
from roco_search.models.catalogue.registry import find
from roco_search.models.compiling.autotune import choose_exact
from roco_search.models.compiling.compiler import prepare
from roco_search.models.compiling.engines import processor_name
from roco_search.models.onnx_encoder import OnnxEncoder
from roco_search.system.process import cores

ROCO = [sys.executable, "-m", "roco_search"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", choices=("rclip",))
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--before", type=Path, default=None, help="another checkout, measured in turn with this one")
    parser.add_argument("--vit", action="store_true", help="also a ViT-B/32 of random weights, 256 pixels as rclip's")
    parser.add_argument("--engines", action="store_true", help="also each engine that is installed, by itself")
    parser.add_argument("--scratch", type=Path, default=Path("build/bench"), help="where files are made and kept")
    parser.add_argument("--json", type=Path, default=None, help="also write what was measured to this file")
    args = parser.parse_args()
    scratch = args.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    result = measure(
        scratch,
        args.images,
        args.rounds,
        args.against,
        vit=args.vit,
        each_engine=args.engines,
        before=args.before,
    )
    show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def measure(
    scratch: Path,
    images: int,
    rounds: int,
    against: str | None,
    *,
    vit: bool,
    each_engine: bool,
    before: Path | None,
) -> dict[str, Any]:
    pngs = scratch / f"png-{images}"
    write_pngs(pngs, images)
    prepare(find("roco-mini"))
    models = {"roco-mini": "roco-mini"}
    if vit:
        folder = scratch / "vit-b-32-256"
        if not folder.exists():
            write_vit(folder)
        prepare(find(folder))
        models["ViT-B/32"] = str(folder)
    library = scratch / "indexed"

    def index(model: str, into: Runs, engine: str = "auto") -> None:
        shutil.rmtree(library, ignore_errors=True)
        place = ["--library", str(library), "--model", model, "--engine", engine]
        run([*ROCO, "index", str(pngs), *place, "-q"], into)

    def index_before(into: Runs) -> None:
        shutil.rmtree(library, ignore_errors=True)
        environment = {"PYTHONPATH": str(before)}
        command = [*ROCO, "index", str(pngs), "--library", str(library), "--model", "roco-mini", "-q"]
        run(command, into, cwd=before, env=environment)  # Python looks into the current folder first

    kinds: dict[str, Any] = {f"roco, {name}": lambda into, m=model: index(m, into) for name, model in models.items()}
    measured = {name: engines(model) for name, model in models.items()}
    if each_engine:
        for name in measured["roco-mini"]["images_per_second"]:
            kinds[f"roco-mini, {name}"] = lambda into, e=name: index("roco-mini", into, e)
    if before:
        kinds["roco before"] = index_before
    if against:
        from peer import Rclip

        peer = Rclip(scratch / "rclip")
        kinds["rclip"] = lambda into: peer.index(pngs, into)
    found = in_turn(kinds, rounds)
    rates = {name: images / runs.median for name, runs in found.items()}
    return {
        "machine": machine(),
        "processor": processor_name(),
        "cores": cores(),
        "engines": measured,
        "images": images,
        "images_per_second": rates,
        "runs": {name: runs.as_json() for name, runs in found.items()},
        "stages_ms": stages(scratch, sorted(pngs.iterdir())[:48]),
        "compressed": compressed.measure(scratch, before),
    }


def engines(model: str) -> dict[str, Any]:
    """Return which engine embeds the images of a model here, and the rate of each in fp32, towers alone."""
    encoder = load_encoder(model, "cpu", "fast")
    assert isinstance(encoder, OnnxEncoder)
    measured = encoder.autotune.measured(fast=False)
    rates = {name: found.rate for name, found in measured.items()}
    differences = {name: found.difference for name, found in measured.items()}
    return {"chosen": choose_exact(measured), "images_per_second": rates, "difference_to_fp32": differences}


def stages(scratch: Path, pngs: list[Path]) -> dict[str, dict[str, float]]:
    """Return milliseconds an image, by kind of file and stage; one thread."""
    encoder: Any = load_encoder("roco-mini", "cpu", "fast")
    enough = 2 * encoder.image_size
    kinds = {"PNG 512-1024": pngs, **write_dicoms(scratch / "dicom")}
    found = {}
    for name, files in kinds.items():
        whole = _each(files, lambda path: next(open_image(path)))
        small = _each(files, lambda path: next(open_image(path, at_least=enough)))
        frames = [next(open_image(path, at_least=enough)).pixels for path in files]
        prepared = _each([frames], encoder._preprocessing) / len(frames)
        found[name] = {"every pixel": whole, "as indexed": small, "prepare": prepared}
    return found


def _each(items: list[Any], work: Any) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.thread_time()
        for item in items:
            work(item)
        best = min(best, time.thread_time() - started)
    return 1000 * best / len(items)


def write_dicoms(folder: Path) -> dict[str, list[Path]]:
    """Write DICOM files of real sizes."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder.mkdir(exist_ok=True)
    sizes = {
        "CR 2000x2500, 16 bit": (2500, 2000, 1, "CR"),
        "CT 512x512": (512, 512, 1, "CT"),
        "US 100 frames": (480, 640, 100, "US"),
    }
    found = {}
    for name, (rows, columns, frames, modality) in sizes.items():
        path = folder / f"{modality}.dcm"
        if not path.exists():
            (picture,) = radiographs(1, (max(rows, columns),))
            values = picture[:rows, :columns].astype(np.uint16) * 16
            deep = modality != "US"
            dataset = Dataset()
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", generate_uid()
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.Modality, dataset.Rows, dataset.Columns, dataset.NumberOfFrames = modality, rows, columns, frames
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = (
                1,
                "MONOCHROME2",
                0,
            )
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (16, 12, 11) if deep else (8, 8, 7)
            one = values.tobytes() if deep else picture[:rows, :columns].tobytes()
            dataset.PixelData = one * frames
            dataset.save_as(path, enforce_file_format=True)
        found[name] = [path] * (4 if modality == "CR" else 16)
    return found


def write_vit(folder: Path) -> None:
    """Write CLIP's ViT-B/32 at 256 pixels with random weights."""
    import torch
    from training import write_clip
    from transformers import AutoModel, CLIPConfig, CLIPVisionConfig

    torch.manual_seed(0)
    write_clip(folder)
    config = CLIPConfig.from_pretrained(folder)
    assert isinstance(config.vision_config, CLIPVisionConfig)
    config.vision_config.image_size = 256
    AutoModel.from_config(config).save_pretrained(folder)
    told = json.loads((folder / "preprocessor_config.json").read_text())
    told |= {"size": {"shortest_edge": 256}, "crop_size": {"height": 256, "width": 256}}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))


def show(result: dict[str, Any]) -> None:
    print(f"{result['machine']}; {result['images']} PNGs of 512 to 1024 pixels, whole runs")
    for model, engines in result["engines"].items():
        rates = ", ".join(f"{name} {rate:.0f}" for name, rate in engines["images_per_second"].items())
        print(f"image tower of {model}: {engines['chosen']} is used; images/s in fp32: {rates}")
    rates = result["images_per_second"]
    for name, rate in rates.items():
        peak = result["runs"][name]["peak_bytes"] / 2**20
        beside = f"  {rate / rates['rclip']:.1f} times rclip's rate" if "rclip" in rates else ""
        print(f"{name:18} {rate:7.1f} images/s  {peak:6.0f} MiB{beside}")
    print("milliseconds an image on one thread:")
    for name, found in result["stages_ms"].items():
        print(f"{name:22} " + "  ".join(f"{stage} {value:.1f}" for stage, value in found.items()))
    for kind, found in result["compressed"].items():
        line = f"CR in {kind}: decoding {found['decode_ms']:.0f} ms on one thread, indexing {found['index_ms']:.0f}"
        if "before_ms" in found:
            line += f", before {found['before_ms']:.0f}: {found['before_ms'] / found['index_ms']:.1f} times as fast"
        print(line)


if __name__ == "__main__":
    main()
