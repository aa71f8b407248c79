"""``roco export``: rows and vectors for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roco_search.cli.options import JsonOption, LibraryOption, UnderOption
from roco_search.cli.output import print_json, say
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="parquet|npy|jsonl",
            help="The format; by default, the file's extension decides.",
            show_default=False,
        ),
    ] = None,
    vectors: Annotated[bool, typer.Option("--vectors/--no-vectors", help="Include the embeddings.")] = True,
    redact_paths: Annotated[
        bool, typer.Option("--redact-paths", help="Write keyed hashes instead of paths, which may name patients.")
    ] = False,
    under: UnderOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Write rows and vectors as Parquet, NumPy or JSON Lines.

    Each image is one row: id, path, frame, the stored attributes, keyed hashes of series and study, the vector, and the
    model that made it. For .npy, the rows are written to a .jsonl file beside it. Only you can read the files.

    Example: `roco export embeddings.npy`
    """
    from roco_search.curation.export import checked_format
    from roco_search.curation.export import export as write
    from roco_search.errors import InputError
    from roco_search.library import Library, default_library_path

    try:
        chosen = checked_format(form)
    except InputError as error:
        refuse(f"--format: {error}")
    with Waiting("Writing the file"), Library.open(library or default_library_path()) as opened:
        done = write(opened, file, form=chosen, vectors=vectors, redact_paths=redact_paths, under=under, force=force)
    if json:
        print_json(done)
    else:
        say(
            f"{done.images:,} images with {done.dim} dimensions ({done.model}) were written to "
            f"{' and '.join(done.files)}."
        )
