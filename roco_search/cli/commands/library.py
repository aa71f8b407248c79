"""``roco library``: manage libraries."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roco_search.cli.options import JsonOption, LibraryOption, QuietOption
from roco_search.cli.output import FAILED, path_cell, print_json, print_rows, say, say_error, short_path, with_flags
from roco_search.cli.tables import Cell, Unbroken
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse
from roco_search.system.text import size

if TYPE_CHECKING:
    from roco_search.library import Library
    from roco_search.library.upkeep import GraphRecall

app = typer.Typer(
    no_args_is_help=True, help="Manage libraries: list, verify, merge, copy, move, shrink; forget images."
)


@app.command("list")
def list_(library: LibraryOption = None, json: JsonOption = False) -> None:
    """List the libraries: the one in use, and all in your data directory.

    Example: `roco library list`
    """
    from roco_search.library.directory import default_library_path, known_libraries

    used = (library or default_library_path()).absolute()
    entries = [described(place, place == used) for place in dict.fromkeys([used, *known_libraries()])]
    entries = [entry for entry in entries if entry["problem"] is None or Path(entry["library"]).exists()]
    if json:
        print_json(entries)
        return
    rows: list[tuple[Cell, ...]] = [
        (
            "*" if entry["in_use"] else "",
            f"{entry['images']:,}",
            Unbroken(size(entry["bytes"])),
            entry["model"] or "–",
            path_cell(entry["library"], f"({entry['problem']})" if entry["problem"] else ""),
        )
        for entry in entries
    ]
    if rows:
        print_rows(("", "images", "size", "model", "library"), rows, right=("images", "size"))
    else:
        say("There is no library yet; create one with 'roco index PATH'.")


def described(place: Path, in_use: bool) -> dict[str, Any]:
    """Return what a library contains, or why it cannot be opened."""
    from roco_search.errors import RocoError
    from roco_search.library import Library

    entry: dict[str, Any] = {"library": os.fspath(place), "in_use": in_use, "images": 0, "bytes": 0}
    try:
        with Library.open(place) as opened:
            found = opened.status()
    except RocoError as error:
        return {**entry, "model": None, "problem": with_flags(str(error))}
    sizes = {"images": found.frames, "bytes": found.database_bytes + found.cache_bytes}
    return {**entry, **sizes, "model": found.model.model if found.model else None, "problem": None}


@app.command()
def remove(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A folder or file to forget, also of captions.", show_default=False)
    ],
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Forget a folder or a file: its rows, its paths and its vectors. The files themselves are not touched.

    Example: `roco library remove ./scans/knee.dcm`
    """
    from roco_search.imaging.walk import is_below
    from roco_search.library import Library, default_library_path
    from roco_search.library.directory import real_path

    with Library.open(library or default_library_path()) as opened:
        count = opened.remove(path)
        holding = [root for root in opened.roots() if is_below(real_path(path), root)]
    if json:
        print_json({"path": real_path(path), "removed": count, "indexed_again_with": holding})
        return
    what = "image file is" if count == 1 else "image files are"
    forgotten = f"{count:,} {what}" if count else "What was read there is"
    say(f"{forgotten} forgotten; 'roco library vacuum' makes the library smaller.")
    if holding:
        say(f"Note: it is in {short_path(holding[0])}, so 'roco index' will add it again as long as it exists.")


@app.command()
def verify(library: LibraryOption = None, json: JsonOption = False) -> None:
    """Check every table, count and cache, and the recall of the graph. The exit code is 1 if there are problems.

    Example: `roco library verify`
    """
    from roco_search.library import Library, default_library_path

    with Waiting("Checking the library"), Library.open(library or default_library_path()) as opened:
        health = opened.verify()
        problems = list(health.problems)
        recall = None if problems else measured_recall(opened)
    if recall is not None and not recall.good:
        problems.append(
            f"The graph found {shares(recall)} of the ten nearest, even with {recall.ef:,} candidates; so it was "
            "removed; searches compare with every vector until it is built again."
        )
    if json:
        figures = {
            "recall_at_10": recall and recall.images,
            "recall_at_10_texts": recall and recall.texts,
            "ef": recall and recall.ef,
        }
        print_json({**asdict(health), "problems": problems, **figures})
    else:
        facts: list[tuple[str, Cell]] = [
            ("library", path_cell(health.library)),
            ("images", f"{health.frames:,} from {health.files:,} files, {health.vectors:,} vectors"),
            ("matrix", health.matrix),
            ("graph", health.graph),
            *(
                []
                if recall is None
                else [("recall@10", f"{shares(recall)} (against the exact search, ef {recall.ef})")]
            ),
            ("problems", str(len(problems)) if problems else "none"),
        ]
        print_rows(("", "found"), facts)
        for problem in problems:
            say_error(problem)
    if problems:
        raise typer.Exit(FAILED)


def measured_recall(opened: Library) -> GraphRecall | None:
    """Measure a graph by images and by texts; by images alone where the library's model cannot be had."""
    from roco_search.errors import RocoError
    from roco_search.library.upkeep import typical_texts

    try:
        return opened.recall(lambda: typical_texts(opened.active()))
    except RocoError as error:
        say(f"Note: the graph was measured with images only. {with_flags(str(error))}")
        return opened.recall()


def shares(recall: GraphRecall) -> str:
    """Return both figures in words."""
    texts = "not measured" if recall.texts is None else f"{recall.texts:.3f}"
    return f"{recall.images:.3f} for images and {texts} for texts"


@app.command()
def merge(
    sources: Annotated[
        list[Path], typer.Argument(metavar="DIR…", help="Folders of parts, or other libraries.", show_default=False)
    ],
    images: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Where a folder of images of the parts is on this machine; once for each, in the same order.",
            show_default=False,
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Take what is there of shards that are missing; drop nothing.")
    ] = False,
    library: LibraryOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put what other machines embedded into the library: what is new, changed, moved or gone, as 'roco index' does.

    Images need not be on this machine. All sources must be of the library's model and precision.

    Example: `roco library merge ./parts`
    """
    from roco_search.cli.commands.index import finish
    from roco_search.cli.progress import ProgressBar
    from roco_search.errors import RocoError
    from roco_search.library import Library, default_library_path
    from roco_search.library.ingest import merging
    from roco_search.models import load_encoder
    from roco_search.search.weighing import make_facts

    with Waiting("Reading what was embedded", quiet=quiet) as waiting:
        place = library or default_library_path()
        report = merging.merge(place, sources, images=images, partial=partial, progress=ProgressBar("Merging", quiet))
        waiting.now("Preparing searches")
        # Where its model is not installed, a query says so.
        with suppress(RocoError), Library.open(place) as opened:
            make_facts(opened, load_encoder(opened.active().model, "cpu"))
    finish(report, json, quiet)


@app.command()
def vacuum(library: LibraryOption = None, json: JsonOption = False) -> None:
    """Shrink the library: rewrite the database without gaps, and remove caches that no longer match.

    Example: `roco library vacuum`
    """
    from roco_search.library import Library, default_library_path

    with Waiting("Rewriting the database"), Library.open(library or default_library_path()) as opened:
        done = opened.vacuum()
    freed = done.before - done.after
    if json:
        print_json({**asdict(done), "freed": freed})
        return
    say(f"{size(max(freed, 0))} were freed; the library now takes {size(done.after)}.")
    if not done.complete:
        say("Note: another program is reading the library; run this again when it has finished.")


@app.command()
def move(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Move the library itself, also to another disk: the copy is verified before the original is removed.

    Example: `roco library move ./elsewhere`
    """
    from roco_search.library.directory import default_library_path
    from roco_search.library.moving import move_library

    with Waiting("Copying and verifying the library"):
        done = move_library(library or default_library_path(), target)
    if json:
        print_json(done)
    else:
        say(f"The library is now at {done.target}; use it with --library, or set ROCO_LIBRARY={done.target}.")


@app.command()
def copy(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="The library, or a shared one's address.", show_default=False)
    ],
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="A new or empty folder, or a new address.", show_default=False)
    ],
    json: JsonOption = False,
) -> None:
    """Copy a library, also to another disk, to or from a shared one, and verify the copy.

    Run it again if it was broken off. A copy that is there already is verified.

    Example: `roco library copy ./library ./copied`
    """
    from roco_search.library.moving import copy_library

    with Waiting("Copying and verifying the library"):
        done = copy_library(source, target)
    if json:
        print_json(done)
    elif done.copied:
        say(f"The copy is at {done.target}; use it with --library, or set ROCO_LIBRARY={done.target}.")
    else:
        say(f"{done.target} is a copy of it already; it was verified.")


@app.command()
def relocate(
    old: Annotated[
        str | None, typer.Argument(metavar="OLD", help="The folder as it was indexed.", show_default=False)
    ] = None,
    new: Annotated[
        str | None, typer.Argument(metavar="NEW", help="The folder as it is now.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The model of the library, where it is now.", show_default=False),
    ] = None,
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Record that a folder of images has moved, such as a disk with another mount point, or the library's model.

    Nothing is read again; every file must exist there with its old size. A model must have the fingerprint that the
    library recorded.

    Example: `roco library relocate ./scans ./archive`
    """
    from roco_search.library import Library, default_library_path

    if (model is None) == (old is None) or (old is None) != (new is None):
        refuse("Give OLD and NEW, the folder as it was and as it is, or --model with the place of the library's model.")
    if model is not None:
        from roco_search.library.moving import relocate_model
        from roco_search.models import load_encoder

        with Library.open(library or default_library_path()) as opened, opened.writing() as store:
            found = relocate_model(store, load_encoder(model, "cpu"))
        if json:
            print_json({"model": found.model, "fingerprint": found.fingerprint})
        else:
            say(f"The model of the library is now recorded as {found.model}.")
        return
    assert old is not None and new is not None
    with Library.open(library or default_library_path()) as opened, Waiting("Looking for the files"):
        count = opened.relocate(old, new)
    if json:
        print_json({"old": old, "new": new, "files": count})
    else:
        say(f"{count:,} files are now recorded at {new}.")
