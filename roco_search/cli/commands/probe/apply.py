"""``roco probe apply`` and ``next``: what a probe says of the library, and which images to label next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roco_search.cli.options import (
    CsvOption,
    JsonlOption,
    JsonOption,
    LibraryOption,
    PathsOption,
    UnderOption,
    one_format,
)
from roco_search.cli.output import (
    path_cell,
    print_csv,
    print_json,
    print_jsonl,
    print_paths,
    print_rows,
    say,
    short_path,
)
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from roco_search.cli.tables import Cell
    from roco_search.library import Library

Name = Annotated[str, typer.Argument(metavar="NAME", help="The probe.", show_default=False)]


def apply(
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the probabilities of every image: .csv, .jsonl, or .npz (ids and numbers alone).",
            show_default=False,
        ),
    ] = None,
    under: UnderOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Apply a probe to the whole library: how many images it rules in and out, and all probabilities in a file.

    Example: `roco probe apply sign --output probabilities.csv`
    """
    from roco_search.library import Library, default_library_path
    from roco_search.probe import applying, shelf

    if output is not None:
        if output.suffix.lower() not in applying.FORMATS:
            refuse(f"--output: {output.name!r} ends in none of {', '.join(applying.FORMATS)}.")
        if output.exists() and not overwrite:
            refuse(f"{output} exists, and is kept; choose another name, or use --overwrite.")
    with Waiting("Applying the probe"), Library.open(library or default_library_path()) as opened:
        probe = shelf.read_probe(opened, name)
        with opened.snapshot():
            said = applying.apply(opened, probe, _under(opened, under))
            if output is not None:
                applying.write(opened, probe, said, output)
    entries = [
        {
            "label": label,
            "images": len(said.ids),
            "ruled_in": int((column >= limits.rule_in).sum()),
            "ruled_out": int((column < limits.rule_out).sum()),
            "given": int((column >= limits.best).sum()),
            "rule_in": limits.rule_in,
            "rule_out": limits.rule_out,
            "threshold": limits.best,
        }
        for label, limits, column in zip(probe.labels, probe.limits, said.probabilities.T, strict=True)
    ]
    if json:
        print_json(entries)
        return
    rows: list[list[Cell]] = [
        [
            str(entry["label"]),
            *(f"{entry[key]:,}" for key in ("ruled_in", "given", "ruled_out")),
            f"{len(said.ids) - int(str(entry['ruled_in'])) - int(str(entry['ruled_out'])):,}",
        ]
        for entry in entries
    ]
    columns = ("label", "ruled in", "above Youden", "ruled out", "open")
    print_rows(columns, rows, right=columns[1:])
    say(f"{len(said.ids):,} images; thresholds were measured on the images of the labels, and hold for such images.")
    if output is not None:
        say(f"{short_path(output)} has the probability of each.")


def next_(
    name: Annotated[
        str, typer.Argument(metavar="NAME[:LABEL]", help="The probe, and which of its labels.", show_default=False)
    ],
    top: Annotated[int, typer.Option("--top", "-n", min=1, metavar="N", help="The number of images.")] = 10,
    under: UnderOption = None,
    library: LibraryOption = None,
    json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    paths: PathsOption = False,
) -> None:
    """List the images that are most worth labelling: the probe is unsure of them, and they differ from one another.

    Images that the probe was taught with are left out.

    Example: `roco probe next sign --top 5`
    """
    from roco_search.library import Library, default_library_path
    from roco_search.probe import applying

    shape = one_format(json=json, jsonl=jsonl, csv=csv, paths=paths)
    with Waiting("Looking for images"), Library.open(library or default_library_path()) as opened:
        probe, place = applying.find(opened, name)
        with opened.snapshot():
            said = applying.worth_labelling(opened, probe, place, top, ids=_under(opened, under))
            frames = opened.frames.get(said.ids.tolist())
    entries = [
        {"path": frame.path, "frame": frame.frame, "label": probe.labels[place], "probability": float(row[place])}
        for frame, row in zip(frames.values(), said.probabilities, strict=True)
    ]
    match shape:
        case "json":
            print_json(entries)
        case "jsonl":
            for entry in entries:
                print_jsonl(entry)
        case "csv":
            print_csv(("path", "frame", "label", "probability"), [list(entry.values()) for entry in entries])
        case "paths":
            print_paths(frame.path for frame in frames.values())
        case _ if entries:
            rows: list[list[Cell]] = [
                [f"{row[place]:.3f}", str(frame.frame + 1) if frame.frames > 1 else "", path_cell(frame.path)]
                for frame, row in zip(frames.values(), said.probabilities, strict=True)
            ]
            print_rows((probe.labels[place], "frame", "image"), rows, right=(probe.labels[place], "frame"))
        case _:
            say("Every image here was labelled already.")


def _under(opened: Library, folder: Path | None) -> npt.NDArray[np.int64] | None:
    from roco_search.search.filters import Filters, resolve

    return resolve(opened, Filters(under=() if folder is None else (folder,)))
