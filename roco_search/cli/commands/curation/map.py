"""``roco map``: the library as a map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from roco_search.cli.options import DeviceOption, GuessOption, LibraryOption, RedactPathsOption, checked_device
from roco_search.cli.output import say
from roco_search.cli.progress import ProgressBar
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse

if TYPE_CHECKING:
    from roco_search.embedding_map import Color, Method


def embedding_map(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write, .html or .png.")] = Path(
        "map.html"
    ),
    color: Annotated[
        str, typer.Option(metavar="modality|body_part|folder", help="What the colours show.")
    ] = "modality",
    method: Annotated[
        str | None,
        typer.Option(metavar="umap|pca", help="The projection [default: umap if it is installed].", show_default=False),
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option("--pictures", help="Put small pictures into the page, shown when you point at a point."),
    ] = False,
    guess: GuessOption = False,
    redact_paths: RedactPathsOption = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing picture.")] = False,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
) -> None:
    """Draw a map of the library: every image is a point, and similar images are close together.

    An .html page shows what a point is when you point at it, zooms, is self-contained, and can be printed; with
    --pictures it contains the images themselves, made small. UMAP keeps neighbours together (`pip install
    'roco-search[map]'`); PCA is always available and fast.

    Example: `roco map --out map.html --method pca`
    """
    checked = checked_device(device)
    if pictures and out.suffix.lower() not in {".html", ".htm"}:
        refuse("--pictures are shown on a page; name an .html file with --out.")
    with Waiting("Laying out the map") as waiting:
        from roco_search.classify.guesses import Guesses
        from roco_search.embedding_map import make_map, small_pictures, write_map
        from roco_search.library import Library, default_library_path
        from roco_search.models import load_encoder

        with Library.open(library or default_library_path()) as opened:
            guesses = Guesses(load_encoder(opened.model.model, checked)) if guess and opened.model else None
            rounds = ProgressBar("Laying out the map")
            found = make_map(opened, cast("Method | None", method), guesses=guesses, progress=rounds)
        waiting.now("Drawing the map")
        small = small_pictures(found, ProgressBar("Reading pictures")) if pictures else ()
        title, chosen = "Map of the library", cast("Color", color)
        write_map(out, found, chosen, title, redact_paths=redact_paths, force=force, pictures=small)
    part = f" of {found.total:,}, chosen at random" if found.total > len(found.ids) else ""
    by = found.projection.method.upper()
    say(f"{out} shows {len(found.ids):,} images{part}, laid out by {by}; protect it as you protect the images.")
