"""``roco duplicates``: images that the library contains more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roco_search.cli.options import CsvOption, JsonOption, LibraryOption, QuietOption, UnderOption, one_format
from roco_search.cli.output import path_cell, print_csv, print_json, print_rows, say, short_path
from roco_search.cli.progress import ProgressBar
from roco_search.cli.terminal import Waiting

if TYPE_CHECKING:
    from roco_search.curation import Duplicates


def duplicates(
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Minimum cosine similarity for comparing two pictures [default: 0.97].",
            show_default=False,
        ),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Find identical files and identical pixels only.")] = False,
    under: UnderOption = None,
    within_series: Annotated[
        bool, typer.Option("--within-series", help="Also compare the slices of a series and the frames of a file.")
    ] = False,
    embedding_only: Annotated[
        bool,
        typer.Option(
            "--embedding-only", help="Compare embeddings only: fast, but finds mostly look-alikes, not copies."
        ),
    ] = False,
    library: LibraryOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find images that occur more than once in the library.

    There are three kinds: identical files; the same pixels in another file, whatever its format; and nearly the same
    picture, such as a JPEG copy. The embeddings propose candidates and the pictures decide. Nothing is deleted.

    Example: `roco duplicates`
    """
    form = one_format(json=json, csv=csv)
    with Waiting("Comparing embeddings", quiet=quiet):
        from roco_search.curation import find_duplicates
        from roco_search.curation.duplicates import THRESHOLD
        from roco_search.library import Library, default_library_path

        with Library.open(library or default_library_path()) as opened:
            found = find_duplicates(
                opened,
                under=under,
                threshold=THRESHOLD if threshold is None else threshold,
                exact=exact,
                within_series=within_series,
                compare_pictures=not embedding_only,
                progress=ProgressBar("Comparing", quiet),
            )
    if form == "json":
        print_json(found)
    elif form == "csv":
        write_csv(found)
    elif found.groups:
        show(found)
    if not (json or quiet):
        summarise(found)


def show(found: Duplicates) -> None:
    """Print one line per image; the first of each group has the group's number."""
    rows = []
    for number, group in enumerate(found.groups, start=1):
        for image in group.images:
            first = image.relation == "first"
            frame = f"{image.frame + 1}/{image.frames}" if image.frames > 1 and image.frame is not None else ""
            rows.append(
                (
                    str(number) if first else "",
                    "" if first else image.relation,
                    "" if first else f"{image.score:.3f}",
                    frame,
                    path_cell(image.path),
                )
            )
    print_rows(("#", "relation to the first", "score", "frame", "image"), rows, right=("#", "score", "frame"))


def write_csv(found: Duplicates) -> None:
    """Print one row per image."""
    columns = ("group", "kind", "relation", "score", "agreement", "frame", "frames", "path")
    rows = (
        (number, group.kind, image.relation, image.score, image.agreement, image.frame, image.frames, image.path)
        for number, group in enumerate(found.groups, start=1)
        for image in group.images
    )
    print_csv(columns, rows)


def summarise(found: Duplicates) -> None:
    """Print how many there are, and what could not be compared."""
    more = sum(len(group.images) - 1 for group in found.groups)
    say(f"{more:,} images occur again, in {len(found.groups):,} groups; {found.images:,} images compared.")
    if found.unreadable:
        first = found.unreadable[0]
        others = f" and {len(found.unreadable) - 1:,} more" if len(found.unreadable) > 1 else ""
        say(f"Not compared: {short_path(first.path)}{others}: {first.reason}. --json lists all of them.")
