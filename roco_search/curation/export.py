"""Export the rows and vectors of a library to other tools: Parquet, NumPy, JSON Lines.

Written a row at a time into a temporary file beside the target, which takes its place when it is whole.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from roco_search import __version__
from roco_search.errors import InputError
from roco_search.imaging.walk import is_below
from roco_search.library import Library
from roco_search.library.directory import real_path
from roco_search.library.outgoing import Outgoing, Record, Rows
from roco_search.system.files import replacing, sync, write_errors

Format = Literal["parquet", "npy", "jsonl"]

EXTENSIONS: dict[str, Format] = {".parquet": "parquet", ".npy": "npy", ".jsonl": "jsonl", ".ndjson": "jsonl"}
ROWS_AT_ONCE = 4096  # Of a Parquet row group: 8 MiB of vectors with 512 dimensions.


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, in which form, how many pictures, and the model that made the vectors."""

    files: list[str]
    format: Format
    images: int
    dim: int
    model: str
    fingerprint: str


def export(
    library: Library,
    target: str | os.PathLike[str],
    *,
    form: Format | None = None,
    vectors: bool = True,
    redact_paths: bool = False,
    under: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Exported:
    """Write the pictures of a library, one a row, ascending by id.

    Each row has `id`, `path`, `frame` (from 0) and `frames`, the stored attributes (`modality`, `body_part`, `view`,
    `laterality`, `rows`, `columns`, `series_number`, `instance_number`, `localizer`), `series` and `study` (keyed
    hashes), and `vector` (float32, unit norm). The model and its fingerprint are in the metadata of Parquet, under the
    key ``roco``, and in every row of JSON Lines, which has no other place for them.

    Parameters
    ----------
    library
        What to export; one state of it, whatever another process writes meanwhile.
    target
        The file. For ``npy``, the vectors as float32 ``(n, dim)``; the rows go into a ``.jsonl`` beside it, in the
        same order.
    form
        ``"parquet"`` (needs pyarrow), ``"npy"`` or ``"jsonl"``; None to go by the extension.
    vectors
        False to leave the vectors out.
    redact_paths
        Give keyed hashes for paths: equal for equal paths, and useless without this library.
    under
        Only what is at or below this folder.
    force
        Overwrite.

    Raises
    ------
    InputError
        If the target cannot be written, exists already, or belongs to the library; if there is nothing to export.
    LibraryEmpty, StorageFull, LibraryError
        Nothing half-written is left behind.
    """
    library.active()
    path = Path(target)
    chosen = form or _format(path)
    if chosen == "npy" and not vectors:
        raise InputError("An .npy file holds nothing but vectors; write .jsonl or .parquet to leave them out.")
    files = [path] if chosen != "npy" else [path.with_suffix(".jsonl"), path]
    for file in files:
        _refuse(library, file, force)
    with library.snapshot():
        source = Outgoing(library, redact_paths=redact_paths, under=under)
        source.refuse_nothing()
        with write_errors(path):
            if chosen == "npy":
                with replacing(path) as vectors_file, replacing(files[0]) as rows_file:
                    _write_pair(source, rows_file, vectors_file)
                    sync(vectors_file)  # when the rows appear, only a rename is left to do
            else:
                write = _write_parquet if chosen == "parquet" else _write_jsonl
                with replacing(path) as file:
                    write(source, file, vectors)
    return Exported([os.fspath(file) for file in files], chosen, source.count, source.dim, **source.model)


def _format(path: Path) -> Format:
    try:
        return EXTENSIONS[path.suffix.lower()]
    except KeyError:
        raise InputError(
            f"The name {path.name} does not show the format; end it in .parquet, .npy or .jsonl, or choose a `form`."
        ) from None


def checked_format(text: str | None) -> Format | None:
    """Read the name of a format.

    Raises
    ------
    InputError
        If it is none.
    """
    if text is not None and text not in get_args(Format):
        raise InputError(f"{text!r} is no format; choose parquet, npy or jsonl.")
    return cast("Format | None", text)


def _refuse(library: Library, file: Path, force: bool) -> None:
    real = real_path(file)
    if is_below(real, os.path.realpath(library.directory)):
        raise InputError(f"{file} is in the library's own folder; name a file elsewhere.")
    if file.is_dir():
        raise InputError(f"{file} is a folder; name a file in it.")
    if not file.absolute().parent.is_dir():
        raise InputError(f"There is no folder {file.absolute().parent}; make it first, or name a file elsewhere.")
    if file.exists() and library.frames.content_hash(real) is not None:
        raise InputError(f"{file} is an image that the library knows; name another file.")
    if file.exists() and not force:
        raise InputError(f"{file} exists already; use `force=True` to overwrite it.")


def _write_jsonl(source: Outgoing, target: Path, vectors: bool) -> None:
    with target.open("w", encoding="utf-8", newline="\n") as file:
        for row, vector in source.rows():
            if vectors:
                # float32 in the fewest digits that give it back.
                row["vector"] = [float(str(value)) for value in np.frombuffer(vector, "<f4")]
            file.write(json.dumps(row | source.model, ensure_ascii=False) + "\n")


def _write_pair(source: Outgoing, rows_file: Path, vectors_file: Path) -> None:
    with rows_file.open("w", encoding="utf-8", newline="\n") as rows, vectors_file.open("wb") as vectors:
        _write_header(vectors, 0, source.dim)
        for row, vector in source.rows():
            rows.write(json.dumps(row | source.model, ensure_ascii=False) + "\n")
            vectors.write(vector)
        vectors.seek(0)
        _write_header(vectors, source.count, source.dim)


def _write_header(file: Any, count: int, dim: int) -> None:
    """Write the header of an ``.npy`` file of version 1.0; NumPy leaves room in it for any count."""
    described = {"descr": "<f4", "fortran_order": False, "shape": (count, dim)}
    np.lib.format.write_array_header_1_0(file, described)


def _write_parquet(source: Outgoing, target: Path, vectors: bool) -> None:
    arrow, parquet = _pyarrow()
    numbers = {"frame": arrow.int32(), "frames": arrow.int32(), "rows": arrow.int32(), "columns": arrow.int32()}
    numbers |= {"id": arrow.int64(), "series_number": arrow.int64(), "instance_number": arrow.int64()}
    types = numbers | {"localizer": arrow.bool_()}
    fields: Callable[[Record], list[Any]] = lambda row: [(name, types.get(name, arrow.string())) for name in row]  # noqa: E731
    first = next(source.rows())[0]
    schema = arrow.schema(fields(first) + ([("vector", arrow.list_(arrow.float32(), source.dim))] if vectors else []))
    noted = source.model | {"dim": source.dim, "roco": __version__}
    with (
        target.open("wb") as file,
        parquet.ParquetWriter(file, schema.with_metadata({"roco": json.dumps(noted)})) as writer,
    ):
        for part in _parts(source.rows()):
            columns = [arrow.array([row[name] for row, _ in part], schema.field(name).type) for name in first]
            if vectors:
                flat = arrow.array(np.frombuffer(b"".join(vector for _, vector in part), "<f4"))
                columns.append(arrow.FixedSizeListArray.from_arrays(flat, source.dim))
            writer.write_batch(arrow.record_batch(columns, schema=schema))


def _parts(rows: Rows) -> Iterator[list[tuple[Record, bytes]]]:
    part = []
    for row in rows:
        part.append(row)
        if len(part) == ROWS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            "Parquet needs the package pyarrow, which is not installed; run `pip install 'roco-search[export]'`, or "
            "write .jsonl or .npy."
        ) from None
    return pyarrow, pyarrow.parquet
