"""``roco index``: read folders of images into the library."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast, get_args

import typer

from roco_search.cli.commands.sharing import Asked, embed_on, embed_share, image_arithmetic, refuse_with_shard
from roco_search.cli.options import (
    DeviceOption,
    JsonOption,
    LibraryOption,
    QuietOption,
    checked_device,
    frame_choice,
    installed_models,
    one_of,
)
from roco_search.cli.output import PARTIAL, path_cell, print_json, print_rows, say
from roco_search.cli.progress import ProgressBar
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse
from roco_search.errors import LibraryNotFound, RocoError
from roco_search.models.encoder import Engine
from roco_search.system import process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roco_search.imaging import Slices
    from roco_search.library.reports import IndexReport, ReembedReport
    from roco_search.library.truth.files import Skipped

SHOWN = 10  # unreadable files named on the screen; `roco status` and --json name all


def index(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]…",
            help="Folders or files [default: everything that was indexed before].",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="The model of a new library; its default is set by 'roco model use'.",
            show_default=False,
            autocompletion=installed_models,
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            metavar="middle|all|N",
            help="The frames to index of a multi-frame file: the middle one (default), all, or N evenly spaced.",
            show_default=False,
        ),
    ] = None,
    slices: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="How many slices of a volume, evenly spaced in each plane (9).", show_default=False
        ),
    ] = None,
    planes: Annotated[
        str | None,
        typer.Option(
            metavar="PLANES",
            help="Planes of a volume: axial,coronal,sagittal; without it the one with the best resolution.",
            show_default=False,
        ),
    ] = None,
    reembed: Annotated[
        bool,
        typer.Option("--reembed", help="Embed the whole library again with --model; queries keep working meanwhile."),
    ] = False,
    prune_missing: Annotated[
        bool, typer.Option("--prune-missing", help="Drop the images of a folder that has vanished or is empty.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Read unreadable files again even if they have not changed.")
    ] = False,
    rehash: Annotated[
        bool,
        typer.Option("--rehash", help="Look for changes in the content of every file."),
    ] = False,
    captions: Annotated[
        bool | None,
        typer.Option(
            "--captions/--no-captions",
            help="Read captions: tables that name images, texts beside them, folders named after a class.",
            show_default=False,
        ),
    ] = None,
    reports: Annotated[
        bool | None,
        typer.Option(
            "--reports/--no-reports",
            help="Read structured reports and encapsulated PDFs of the same studies. They name patients.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    engine: Annotated[
        str,
        typer.Option(
            metavar="auto|onnxruntime|openvino|torch",
            help="What embeds images on a processor; auto is the fastest here. The embeddings are the same.",
        ),
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="exact|fast",
            help="Precision of image embeddings: exact (default) is fp32, fast may be bf16 or int8.",
            show_default=False,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Embed one of N shares of the images, counted from 0, and write it into --parts.",
            show_default=False,
        ),
    ] = None,
    parts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where shards are written, for 'roco library merge', not a library.", show_default=False
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Embed on a Ray cluster (HOST:PORT, auto or local) through --parts, then merge into the library.",
            show_default=False,
        ),
    ] = None,
    library: LibraryOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Read folders of images, volumes and archives of them into the library.

    Images are DICOM, PNG, JPEG, TIFF, WebP, BMP, AVIF and HEIC; volumes are NIfTI, Analyze, NRRD and MetaImage.
    Archives (zip, tar) are read in place, without being unpacked.

    The second time, only what is new or changed is read. Images stay where they are, and nothing about patients is
    kept. The exit code is 3 when some images could not be read.

    Example: `roco index ./scans`
    """
    checked = checked_device(device)
    one_of("--engine", engine, get_args(Engine))
    one_of("--precision", precision or "exact", ("exact", "fast"))
    choice, sliced = frame_choice(frames), slice_choice(slices, planes)
    if shard is not None or parts is not None or ray is not None:
        chosen = {"frames": choice, "slices": sliced, "prune_missing": prune_missing, "retry_failed": retry_failed}
        refuse_with_shard(reembed=reembed, texts=captions or reports)
        asked = Asked(paths, parts, model, precision, checked, cast("Engine", engine), {**chosen, "rehash": rehash})
        finish(embed_share(asked, shard, quiet) if ray is None else embed_on(asked, ray, shard, library, quiet),
               json, quiet)  # fmt: skip
        return
    with Waiting("Loading the model", quiet=quiet) as waiting:
        from roco_search.library import Library, default_library_path
        from roco_search.models import load_encoder
        from roco_search.models.catalogue.registry import default, find
        from roco_search.models.compiling.compiler import prepare
        from roco_search.search.weighing import make_facts

        process.prepare()
        place = library or default_library_path()
        if not paths and not reembed:
            require_library(place)
        with Library.create_or_open(place) as opened:
            name = model or (opened.model.model if opened.model else default())
            prepare(find(name), say)
            recorded = opened.model.arithmetic if opened.model else None
            images = image_arithmetic(precision, recorded, reembed=reembed)
            encoder = load_encoder(name, checked, "fast", images=images, engine=cast("Engine", engine))
            progress = ProgressBar("Indexing", quiet)
            waiting.now("Looking for images")
            report = opened.index(
                paths or None,
                encoder,
                reembed=reembed,
                frames=choice,
                slices=sliced,
                prune_missing=prune_missing,
                retry_failed=retry_failed,
                rehash=rehash,
                captions=captions,
                reports=reports,
                progress=progress,
            )
            if report.reembedding is None or report.reembedding.complete:
                waiting.now("Preparing searches")
                make_facts(opened, encoder)
    if report.reembedding is not None and not report.reembedding.complete:
        unfinished(report, report.reembedding, json)
    finish(report, json, quiet)


def finish(report: IndexReport, json: bool, quiet: bool) -> None:
    """Print what a run did; exit with 3 if some images could not be read."""
    if json:
        print_json({key: value for key, value in asdict(report).items() if key not in ("warnings", "reembedding")})
    for warning in report.warnings:
        say(f"Note: {warning}")
    if not (json or quiet):
        show(report)
    if report.skipped:
        raise typer.Exit(PARTIAL)


def require_library(place: Path) -> None:
    """Refuse to update a library that does not exist."""
    from roco_search.library import Library

    try:
        Library.open(place).close()
    except LibraryNotFound:
        refuse("There is no library yet; give a folder of images, such as ./scans.")


def unfinished(report: IndexReport, again: ReembedReport, json: bool) -> NoReturn:
    """Print why the library still answers with its old model."""
    if json:
        print_json(again)
    print_skipped("not readable now", again.unavailable, json)
    raise RocoError(" ".join(report.warnings))


def slice_choice(count: int | None, planes: str | None) -> Slices | None:
    """Read ``--slices`` and ``--planes``."""
    from roco_search.imaging import Slices
    from roco_search.imaging.volumes import parse_planes

    if count is None and planes is None:
        return None
    usual = Slices()
    return Slices(count or usual.count, parse_planes(planes) if planes else usual.planes)


def show(report: IndexReport) -> None:
    """Print what the run did."""
    print_skipped("not readable", report.skipped)
    counts = [
        f"{report.indexed:,} indexed",
        *(
            f"{count:,} {what}"
            for what, count in (
                ("unchanged", report.unchanged),
                ("moved", report.moved),
                ("removed", report.removed),
                ("captions read", report.captions),
                ("not readable", len(report.skipped)),
                ("without a picture", len(report.not_images)),
            )
            if count
        ),
    ]
    rate = f" ({report.images_per_second:.1f} images/s)" if report.frames else ""
    say(f"{', '.join(counts)} in {report.seconds:.1f} s{rate}.")


def print_skipped(title: str, skipped: Sequence[Skipped], quiet: bool = False) -> None:
    """Print the first files that could not be read, and how to see the rest."""
    if not skipped or quiet:
        return
    print_rows((title, "reason"), [(path_cell(entry.path), entry.reason) for entry in skipped[:SHOWN]])
    if len(skipped) > SHOWN:
        say(f"… and {len(skipped) - SHOWN:,} more; 'roco status' lists them all.")
