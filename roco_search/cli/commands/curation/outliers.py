"""``roco outliers``: what does not look like the rest of its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roco_search.cli.options import JsonOption, LibraryOption, UnderOption
from roco_search.cli.output import path_cell, print_json, print_rows, say, short_path
from roco_search.cli.terminal import Waiting

if TYPE_CHECKING:
    from roco_search.curation import Outlier


def outliers(
    under: UnderOption = None,
    top: Annotated[int, typer.Option("--top", "-n", min=1, metavar="N", help="The maximum number of outliers.")] = 20,
    deviation: Annotated[
        float | None,
        typer.Option(
            metavar="D",
            help="Minimum deviation from the folder's median, in units of its spread [default: 6].",
            show_default=False,
        ),
    ] = None,
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Find images that do not look like the rest of their folder.

    The score is the distance (1 − cosine similarity) to the five nearest images of the folder; "off" is how far that is
    above the folder's median, in units of its spread. A folder with fewer than 12 different files is judged together
    with its parent. An outlier deserves a look; it is not necessarily wrong.

    Example: `roco outliers`
    """
    with Waiting("Comparing images"):
        from roco_search.curation import find_outliers
        from roco_search.curation.outliers import LEAST_DEVIATION
        from roco_search.library import Library, default_library_path

        with Library.open(library or default_library_path()) as opened:
            found = find_outliers(
                opened, under=under, n=top, least_deviation=LEAST_DEVIATION if deviation is None else deviation
            )
    if json:
        print_json(found)
        return
    if found.found:
        rows = [
            (f"{o.score:.3f}", f"{o.deviation:.1f}", why(o), path_cell(o.folder), path_cell(o.path))
            for o in found.found
        ]
        print_rows(("score", "off", "why", "folder", "image"), rows, right=("score", "off"))
    few = f"; {found.unjudged:,} are among too few to be judged" if found.unjudged else ""
    say(f"{len(found.found):,} outliers among {found.judged:,} images{few}.")


def why(outlier: Outlier) -> str:
    """Return what the image looks like instead."""
    frame = f"frame {outlier.frame + 1}: " if outlier.frames > 1 else ""
    if outlier.elsewhere is None or outlier.elsewhere_score is None:
        return f"{frame}unlike any other folder"
    return f"{frame}more like {short_path(outlier.elsewhere)} ({outlier.elsewhere_score:.3f})"
