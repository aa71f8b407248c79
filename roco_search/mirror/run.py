"""Bring a mirror up to date with a library, and see whether it is good."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass

from roco_search.errors import InputError, MirrorError
from roco_search.library import Library
from roco_search.library.outgoing import Outgoing
from roco_search.mirror.check import GOOD, Check, check
from roco_search.mirror.engine import Changes, Engine, Identity, Row, Vectors, differences, encoded

TABLE = "roco"


@dataclass(frozen=True, slots=True)
class Mirrored:
    """Where a mirror is, what was done to it, and how its answers compare with the exact ones."""

    address: str
    table: str
    images: int
    dim: int
    model: str
    fingerprint: str
    written: int
    removed: int
    unchanged: int
    check: Check


def mirror(
    library: Library,
    address: str,
    texts: Callable[[], Vectors],
    *,
    table: str = TABLE,
    redact_paths: bool = False,
    under: str | os.PathLike[str] | None = None,
) -> Mirrored:
    """Write a library into an engine: what is new or changed is written, what went is removed, and all is compared.

    Parameters
    ----------
    library
        The library.
    address
        ``postgresql://USER@HOST/DATABASE`` (pgvector), ``milvus://HOST:PORT``, ``milvus+https://HOST:PORT``, or
        ``milvus:///FOLDER/FILE.db`` for milvus-lite, without a password.
    texts
        Returns embeddings of texts by the library's model, float32 ``(n, dim)`` of unit norm.
    table
        The table or collection: lower-case letters, digits and ``_``. It is made if there is none.
    redact_paths, under
        As in `roco_search.curation.export.export`. The mirror is of these pictures and no others.

    Raises
    ------
    InputError
        If the address or the name cannot be used, or a package is missing.
    MirrorError
        If the engine cannot be reached or does not allow it, the table is something else, or the mirror is not good.
    Busy
        If another process is writing the same mirror.
    LibraryEmpty, LibraryError
    """
    with library.snapshot(), connected(address, table) as engine:
        source = Outgoing(library, redact_paths=redact_paths, under=under)
        source.refuse_nothing()
        queries = texts()
        active = source.active
        known = library.vectors().generation.library
        identity = Identity(known, source.model["model"], active.fingerprint, active.arithmetic, active.dim)
        counted = Changes()
        with engine.writing(identity):
            with _steps(source, engine, counted) as steps:
                if engine.whole:
                    _exhaust(steps)
                else:
                    engine.write(steps)
            if engine.whole and (counted.written or counted.removed):
                with closing(source.rows()) as rows:
                    engine.write(encoded(rows, engine))
            wrong = Changes()
            with _steps(source, engine, wrong) as steps:
                _exhaust(steps)
            if wrong.written or wrong.removed:
                raise MirrorError(
                    f"{wrong.written + wrong.removed:,} rows of {table} are not what was written, so nothing was "
                    "changed there; look for triggers, rules or other programs that write to it, or choose another "
                    "`table`."
                )
        found = check(engine, library, queries, source.ids())
        engine.note({"good": found.good, **asdict(found)})
        if not found.good:
            raise MirrorError(_verdict(found, table, engine))
        return Mirrored(
            address, table, source.count, source.dim, source.model["model"], active.fingerprint,
            counted.written, counted.removed, counted.unchanged, found,
        )  # fmt: skip


@contextmanager
def _steps(source: Outgoing, engine: Engine, counted: Changes) -> Iterator[Iterator[Row | int]]:
    """Compare, and close what was being read, whatever happens: later, the library and the engine are closed."""
    with closing(source.rows()) as rows, closing(engine.digests()) as there:
        yield differences(encoded(rows, engine), there, counted)


def _exhaust(steps: Iterator[Row | int]) -> None:
    for _ in steps:
        pass


def _verdict(found: Check, table: str, engine: Engine) -> str:
    said = "; ".join(
        f"under {under.where}, {under.counted:,} of {under.matching:,} rows were counted and as few as {under.fewest} "
        f"of ten came, recall@10 {under.images:.3f} for images and {under.texts:.3f} for texts"
        for under in found.filters
        if not under.good
    )
    whole = f"recall@10 is {found.images:.3f} for images and {found.texts:.3f} for texts, and {GOOD} is needed"
    return (
        f"{table} holds every row and is not a good mirror: {whole}{'; ' if said else ''}{said}. "
        f"{engine.denser()}, and run the same command again."
    )


def connected(address: str, table: str) -> AbstractContextManager[Engine]:
    """Connect to the engine that an address names."""
    if not _is_name(table):
        raise InputError(f"{table!r} is no name for a `table`; use up to 48 lower-case letters, digits and _.")
    scheme = address.partition(":")[0]
    if scheme in ("postgresql", "postgres"):
        from roco_search.mirror.postgresql import connect

        return connect(address, table)
    if scheme in ("milvus", "milvus+https"):
        from roco_search.mirror import milvus

        return milvus.connect(address, table)
    raise InputError("The address names no engine that roco writes to; begin it with postgresql:// or milvus://.")


def _is_name(text: str) -> bool:
    plain = text.isascii() and text.replace("_", "a").isalnum() and text == text.lower()
    return plain and not text[0].isdigit() and len(text) <= 48
