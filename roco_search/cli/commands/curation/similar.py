"""``roco similar``: images like one of the library."""

from __future__ import annotations

from typing import Annotated

import typer

from roco_search.cli.options import (
    CsvOption,
    JsonlOption,
    JsonOption,
    LibraryOption,
    PathsOption,
    Print0Option,
    one_format,
)
from roco_search.cli.output import print_json, say
from roco_search.cli.render.hits import show


def similar(
    image: Annotated[str, typer.Argument(metavar="PATH", help="An image of the library.", show_default=False)],
    top: Annotated[int, typer.Option("--top", "-n", min=1, metavar="N", help="The number of images.")] = 10,
    frame: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="The frame of the file, counted from 1 [default: the middle one].",
            show_default=False,
        ),
    ] = None,
    other_series: Annotated[
        bool, typer.Option("--other-series", help="Leave out the image's own series, whose slices are all similar.")
    ] = False,
    space: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Compare in a space of your labels (roco probe space).", show_default=False),
    ] = None,
    library: LibraryOption = None,
    json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    paths: PathsOption = False,
    print0: Print0Option = False,
) -> None:
    """Find the images most similar to one in the library.

    No model is loaded, and the file is not read: its stored embedding is compared. The image itself and copies of its
    file are left out. For any other image: roco query PATH.

    Example: `roco similar ./scans/head.dcm`
    """
    from roco_search.curation import find_similar
    from roco_search.library import Library, default_library_path

    shape = one_format(json=json, jsonl=jsonl, csv=csv, paths=paths, print0=print0)
    with Library.open(library or default_library_path()) as opened:
        taught = None
        if space is not None:
            from roco_search.probe.shelf import read_space

            taught = read_space(opened, space)
        number = None if frame is None else frame - 1
        hits = find_similar(opened, image, n=top, frame=number, other_series=other_series, space=taught)
    if hits:
        show(hits, shape)
    else:
        if json:
            print_json(hits)
        say("The library contains no other image than this one.")
