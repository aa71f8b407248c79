"""``roco doctor``: what this installation can do, and whether the library is sound."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roco_search.cli.options import JsonOption, LibraryOption, installed_models
from roco_search.cli.output import FAILED, print_json, print_line, print_rows, say_error, with_flags
from roco_search.cli.terminal import Waiting
from roco_search.errors import LibraryNotFound, RocoError

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = (
    "roco-search",
    "torch",
    "transformers",
    "onnxruntime",
    "openvino",
    "tokenizers",
    "pydicom",
    "imagecodecs",
    "tifffile",
    "pillow",
    "numpy",
    "hnswlib",
    "sqlite-utils",
)
OPTIONAL = frozenset({"openvino"})  # It has no wheels for some machines.


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check: its name, what was found, and, if something is wrong, the sentence to act on."""

    name: str
    found: str
    problem: str | None = None


def doctor(
    library: LibraryOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR", help="The model to check.", show_default=False, autocompletion=installed_models
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check this installation: versions, decoders, device, model, and the library's health.

    The exit code is 1 if something is wrong.

    Example: `roco doctor`
    """
    with Waiting("Looking at what is installed") as waiting:
        from roco_search.imaging.dicom.decoding.codecs import decoder_table
        from roco_search.library import default_library_path
        from roco_search.models.catalogue.registry import default

        decoders = decoder_table()
        checks = [
            Check("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
            *(check_package(name) for name in PACKAGES),
        ]
        waiting.now("Looking for a device")
        checks.append(check_device())
        waiting.now("Loading the model")
        checks.append(check_model(model or default()))
        waiting.now("Measuring what embeds images fastest")
        checks.append(check_engines(model or default()))
        waiting.now("Verifying the library")
        checks.append(check_library(library or default_library_path()))
    problems = [check.problem for check in checks if check.problem]
    if json:
        print_json({"checks": checks, "decoders": [asdict(decoder) for decoder in decoders], "problems": problems})
    else:
        print_rows(("", "found"), [(check.name, check.found) for check in checks])
        print_line()
        rows = [(d.name, ", ".join(d.by) if d.available else f"missing: {d.remedy}") for d in decoders]
        print_rows(("transfer syntax", "decoder"), rows)
        for problem in problems:
            say_error(problem)
    if problems:
        raise typer.Exit(FAILED)


def check_package(name: str) -> Check:
    """Return the installed version."""
    try:
        return Check(name, version(name))
    except PackageNotFoundError:
        if name in OPTIONAL:
            return Check(name, "missing; nothing needs it, though images are embedded faster with it")
        return Check(name, "missing", f"{name} is not installed; run 'pip install {name}'.")


def check_device() -> Check:
    """Return where models run."""
    import torch

    if torch.cuda.is_available():
        return Check("device", f"cuda ({torch.cuda.get_device_name()})")
    if torch.backends.mps.is_available():
        return Check("device", "mps")
    return Check("device", f"cpu ({torch.get_num_threads()} thread{'' if torch.get_num_threads() == 1 else 's'})")


def check_model(name: str) -> Check:
    """Load the model and embed a word."""
    from roco_search.models import load_encoder

    try:
        encoder = load_encoder(name)
        encoder.encode_texts(["chest"])
    except RocoError as error:
        return Check("model", f"{name} does not load", with_flags(str(error)))
    return Check("model", f"{name}, {encoder.dim} dimensions, {encoder.image_size} px, {encoder.fingerprint[:12]}")


def check_engines(name: str) -> Check:
    """Return the rate at which each engine embeds images on the processor in fp32, and which one is used."""
    from roco_search.models import load_encoder
    from roco_search.models.compiling.autotune import choose_exact
    from roco_search.models.compiling.towers import has_image_tower
    from roco_search.models.onnx_encoder import OnnxEncoder

    try:
        encoder = load_encoder(name, "cpu", "fast")
        if not isinstance(encoder, OnnxEncoder) or not has_image_tower(encoder.checkpoint):
            return Check("image engine", "torch; the model is not compiled yet, which `roco index` does")
        measured = encoder.autotune.measured(fast=False)
    except RocoError as error:
        return Check("image engine", f"{name} does not load", with_flags(str(error)))
    rates = [f"{engine} {found.rate:.0f} images/s" for engine, found in measured.items()]
    return Check("image engine", f"{choose_exact(measured)}; in fp32: {', '.join(rates)}")


def check_library(directory: Path) -> Check:
    """Verify the library, caches included."""
    from roco_search.library import Library

    try:
        with Library.open(directory) as opened:
            health: Any = opened.verify()
            shared = opened.status().shared
    except LibraryNotFound:
        return Check("library", f"none yet at {directory}")
    except RocoError as error:
        return Check("library", f"{directory} cannot be used", with_flags(str(error)))
    found = f"{directory}: {health.frames:,} images, matrix {health.matrix}, graph {health.graph}"
    if shared is not None:
        found += f", copy of {shared.address}, pulled {shared.pulled}"
    return Check("library", found, " ".join(health.problems) or None)
