"""Bring a copy and its shared library together: pull what others changed, push what was changed here."""

import logging
import uuid
from collections.abc import Container, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from roco_search.errors import Busy, InputError, LibraryError, LibraryUnreachable, RocoError
from roco_search.library.directory import DATABASE, discard_caches, prepare, writer_lock
from roco_search.library.shared.comparing import Differences, compare
from roco_search.library.shared.documents import KINDS, Document, drop, name_of, named, put, with_vectors
from roco_search.library.shared.faults import absent
from roco_search.library.shared.origin import Origin
from roco_search.library.shared.table import ROWS_IN_COMMIT, Identity, Table
from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.store import Store
from roco_search.models.encoder import EncoderIdentity, RecordedEncoder
from roco_search.system.progress import unasked

AT_ONCE = 512  # documents in one transaction
logger = logging.getLogger("roco")


def bring_up_to_date(folder: Path, *, writing: bool) -> None:
    """Pull what is new; see `roco_search.library.shared.pull`."""
    origin = Origin.read(folder)
    try:
        if origin.version is not None and not (origin.pending or origin.traces):
            commits = origin.newest_commits()
            if commits is not None and commits == origin.commits:
                return
        table = Table(origin.address)
        identity = table.identity()
        if identity is None:
            if writing and origin.table is None:
                return
            raise absent(origin.address, pulled=origin.table is not None)
        prepare(folder)
        with writer_lock(folder), closing(Store.create_or_open(folder)) as store:
            synchronise(store, Origin.read(folder), table, identity)
    except Busy:
        # The process that writes here has pulled, and will push.
        if not (folder / DATABASE).exists():
            raise
    except RocoError as error:
        origin.give_up()
        # Somebody who may only read has nothing to do with what could not be sent.
        passing = isinstance(error, LibraryUnreachable) or (origin.pending and isinstance(error, LibraryError))
        if writing or origin.pulled is None or not passing:
            raise
        logger.warning("%s; answering from the copy of %s.", _first(error), origin.pulled)


def _first(error: Exception) -> str:
    return str(error).partition(";")[0].rstrip(".")


@contextmanager
def publishing(store: Store, encoder: EncoderIdentity | None, key: str | None, *, clean: bool) -> Iterator[None]:
    """Pull before something is changed in a copy, and push it afterwards; see `roco_search.library.shared`."""
    origin = Origin.read(store.directory)
    table = Table(origin.address)
    try:
        identity = table.identity()
        if identity is None:
            if encoder is None or origin.table is not None:
                raise absent(origin.address, pulled=origin.table is not None)
            if key is not None:
                store.take_key(key)
            identity = table.create(Identity(uuid.uuid4().hex, store.settings["salt"], RecordedEncoder.of(encoder)))
        origin = synchronise(store, origin, table, identity)
    except LibraryUnreachable as error:
        raise LibraryUnreachable(f"{_first(error)}; nothing was changed: try again when it can be reached.") from None
    origin = origin.note(pending=True, traces=clean)
    yield
    try:
        if (found := table.identity()) is None:
            raise absent(origin.address, pulled=True)
        synchronise(store, origin, table, found)
    except LibraryError as error:
        raise type(error)(
            f"{_first(error)}. What was done is kept in your copy; the next `roco index` sends it."
        ) from None


def synchronise(store: Store, origin: Origin, table: Table, identity: Identity) -> Origin:
    """Bring a copy and its table, which is open, together. The caller holds the writer's lock.

    Raises
    ------
    InputError
        If it is another table than before.
    ModelMismatch
        If it has the vectors of another model.
    LibraryError
    """
    active = _adopt(store, origin, identity)
    version: int | None = table.version
    commits = origin.newest_commits()
    busy = origin.pending or origin.traces
    if origin.table == identity.table and version == origin.version and not busy:
        return origin.note(commits=commits, pulled=_now())
    theirs, base = table.listing(), origin.base()
    mine = _digests(store) if busy or origin.pulling or not base else base
    if origin.pulling and not busy:
        base = mine  # It broke off: what is here came from the table, which may hold something newer by now.
    plan = compare(base, mine, theirs)
    if not (plan.send or plan.delete or busy or origin.table is None or plan.take or plan.forget):
        return origin.note(version=version, commits=commits, pulled=_now(), pulling=False)
    left, traces = origin.traces, origin.traces or bool(plan.outdated)
    sends = bool(plan.send or plan.delete)
    origin = origin.note(table=identity.table, version=None, traces=traces, pending=origin.pending or sends)
    pushed = _push(store, active, table, plan, mine)
    if traces:
        table.forget_traces(None if left else pushed)
    elif plan.send:
        table.tidy()
    base = {name: digest for name, digest in base.items() if name not in plan.delete}
    base |= {name: mine[name] for name in plan.send}
    origin.keep_base(base)
    origin = origin.note(pending=False, traces=False, pulling=True)
    agreed = {name: digest for name, digest in theirs.items() if name not in plan.delete}
    agreed |= {name: mine[name] for name in plan.send}
    agreed |= _pull(store, active, table, plan, len(theirs), known=mine)
    origin.keep_base(agreed)
    if sends or traces:
        commits = origin.newest_commits()
        table.refresh()
        # What others committed meanwhile is for the next pull.
        version = table.version if table.listing() == agreed else None
    return origin.note(version=version, commits=commits, pulled=_now(), pulling=False)


def _digests(store: Store) -> dict[bytes, bytes]:
    return {name: document.digest() for name, document, _ in named(store)}


def _adopt(store: Store, origin: Origin, identity: Identity) -> EmbeddingSet:
    """Make sure that a copy is of a table, with its key and its model."""
    store.take_key(identity.salt)
    if origin.table not in {None, identity.table} or store.settings["salt"] != identity.salt:
        raise InputError(
            f"The library at {origin.address} is another than the one that {store.directory} is a copy of; move that "
            "folder away, and the next command makes a new copy."
        )
    active = store.embeddings.active()
    if active is None:
        return store.embeddings.begin(identity.encoder, "active")
    active.check_model(identity.encoder)
    active.check_arithmetic(identity.encoder)
    return active


def _pull(
    store: Store, active: EmbeddingSet, table: Table, plan: Differences, total: int, known: Container[bytes]
) -> dict[bytes, bytes]:
    """Bring the copy, which holds the documents `known`, up to date; return the digests of what was stored in part."""
    if not plan.take and not plan.forget:
        return {}
    partial: dict[bytes, bytes] = {}
    replaces = bool(plan.forget) or any(name in known for name in plan.take)
    if plan.forget:
        with store.transaction():
            drop(store, plan.forget)
    with unasked("Pulling the shared library", len(plan.take)) as progress:
        for kind in KINDS:
            documents = table.documents(plan.take, total, kind)
            while batch := list(islice(documents, AT_ONCE)):
                with store.transaction():
                    stored = put(store, active, batch)
                for document in stored:
                    partial[name_of(store.settings["salt"], document.kind, document.path)] = document.digest()
                progress.advance(len(batch))
    if replaces:
        with store.transaction():
            store.captions.forget_traces()
        # What was dropped or replaced may be in the caches too; what is only new is added to them.
        discard_caches(store.directory)
    store.empty_journal()
    return partial


def _push(store: Store, active: EmbeddingSet, table: Table, plan: Differences, mine: dict[bytes, bytes]) -> set[int]:
    """Send what has changed in the copy, in commits of whole documents: roots, files, texts, in order.

    Return the numbers of the files of the table in which is what was deleted or replaced.
    """
    traces = table.fragments(sorted(plan.outdated))
    gone = sorted(plan.delete)
    for start in range(0, len(gone), AT_ONCE):
        table.commit([], gone[start : start + AT_ONCE])
    batch: list[tuple[bytes, bytes, Document]] = []
    rows = 0
    if not plan.send:
        return traces
    with unasked("Sending to the shared library", len(plan.send)) as progress:

        def flush() -> None:
            if batch:
                table.commit(batch, [name for name, *_ in batch if name in plan.outdated])
                progress.advance(len(batch))
                batch.clear()

        for name, document, file_id in named(store):
            if name in plan.send:
                batch.append((name, mine[name], with_vectors(store, active, document, file_id)))
                rows += len(document.rows)
                if rows >= ROWS_IN_COMMIT:
                    flush()
                    rows = 0
        flush()
    return traces


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
