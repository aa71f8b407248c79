"""``roco export``: rows and vectors for other tools, as a file or as a mirror in an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roco_search.cli.options import JsonOption, LibraryOption, UnderOption
from roco_search.cli.output import print_json, say
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse

if TYPE_CHECKING:
    from roco_search.mirror import Mirrored


def export(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="ADDRESS",
            help="An engine to mirror the library in, instead of a file: postgresql://USER@HOST/DATABASE (pgvector) or "
            "milvus://HOST:PORT.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --to, the table or collection [default: roco].", show_default=False),
    ] = None,
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
    """Write rows and vectors as Parquet, NumPy or JSON Lines, or into PostgreSQL or Milvus.

    Each image is one row: id, path, frame, the stored attributes, keyed hashes of series and study, the vector, and the
    model that made it. For .npy, the rows are written to a .jsonl file beside it. Only you can read the files.

    With --to, what is new or changed is written to the engine, what went is removed there, and the answers of the
    engine are compared with the exact ones; the exit code is 1 if it is not a good mirror. Passwords come from
    PGPASSWORD or ~/.pgpass, or from MILVUS_TOKEN. Roco itself never searches there.

    Example: `roco export embeddings.npy`
    """
    from roco_search.curation.export import checked_format
    from roco_search.curation.export import export as write
    from roco_search.errors import InputError
    from roco_search.library import Library, default_library_path

    place = library or default_library_path()
    if to is not None:
        if file is not None or form is not None or not vectors or force:
            refuse("--to writes into an engine; leave FILE, --format, --no-vectors and --force out.")
        done = write_mirror(place, to, table, redact_paths, under)
        if json:
            print_json(done)
        else:
            show_mirror(done)
        return
    if file is None:
        refuse("FILE is missing; name the file to write, such as embeddings.npy, or an engine with --to.")
    if table is not None:
        refuse("--table belongs to --to.")
    try:
        chosen = checked_format(form)
    except InputError as error:
        refuse(f"--format: {error}")
    with Waiting("Writing the file"), Library.open(place) as opened:
        written = write(opened, file, form=chosen, vectors=vectors, redact_paths=redact_paths, under=under, force=force)
    if json:
        print_json(written)
    else:
        say(
            f"{written.images:,} images with {written.dim} dimensions ({written.model}) were written to "
            f"{' and '.join(written.files)}."
        )


def write_mirror(place: Path, to: str, table: str | None, redact_paths: bool, under: Path | None) -> Mirrored:
    """Bring the mirror up to date, and compare it."""
    from roco_search.library import Library
    from roco_search.library.upkeep import typical_texts
    from roco_search.mirror import mirror
    from roco_search.mirror.run import TABLE

    with Waiting("Writing the mirror and comparing it"), Library.open(place) as opened:
        return mirror(
            opened,
            to,
            lambda: typical_texts(opened.active()),
            table=TABLE if table is None else table,
            redact_paths=redact_paths,
            under=under,
        )


def show_mirror(done: Mirrored) -> None:
    """Say what was done, how good it is, and what a client has to set."""
    found = done.check
    say(
        f"{done.images:,} images with {done.dim} dimensions ({done.model}) are in {done.table}: {done.written:,} "
        f"written, {done.removed:,} removed, {done.unchanged:,} unchanged."
    )
    filters = "".join(
        f"; {under.where} ({under.matching:,}): {under.images:.3f} and {under.texts:.3f}" for under in found.filters
    )
    say(f"recall@10 against the exact search: {found.images:.3f} for images and {found.texts:.3f} for texts{filters}.")
    if found.settings:
        say(f"Search it with these settings: {'; '.join(found.settings)}.")
