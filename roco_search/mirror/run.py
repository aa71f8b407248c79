"""Bring a mirror up to date with a library, and see whether it is good."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from roco_search.errors import InputError, MirrorError
from roco_search.library import Library
from roco_search.library.outgoing import Outgoing
from roco_search.mirror.check import GOOD, Check, check
from roco_search.mirror.engine import Changes, Engine, Identity, Vectors, differences, encoded

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
        ``postgresql://USER@HOST/DATABASE`` (pgvector), without a password.
    texts
        Returns embeddings of texts by the library's model, float32 ``(n, dim)`` of unit norm.
    table
        The table: lower-case letters, digits and ``_``. It is made if there is none.
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
            engine.write(differences(encoded(source.rows(), engine), engine.digests(), counted))
            wrong = Changes()
            for _ in differences(encoded(source.rows(), engine), engine.digests(), wrong):
                pass
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
    raise InputError("The address names no engine that roco writes to; begin it with postgresql://.")


def _is_name(text: str) -> bool:
    plain = text.isascii() and text.replace("_", "a").isalnum() and text == text.lower()
    return plain and not text[0].isdigit() and len(text) <= 48
