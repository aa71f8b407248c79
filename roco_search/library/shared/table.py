"""The LanceDB table of a shared library: what is in it, and each change as one commit.

Every commit also writes the row `_HEAD`, so that of two commits at once the later one is tried again upon the first:
LanceDB compares rows that both change, but would let both insert the same new row.
"""

import json
import os
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roco_search.errors import InputError, LibraryTooNew
from roco_search.library.shared.documents import Document, Kind
from roco_search.library.shared.faults import missing_table, shared_faults
from roco_search.library.truth.connection import raw
from roco_search.models.encoder import RecordedEncoder
from roco_search.system.files import locked
from roco_search.system.folders import SHARED

if TYPE_CHECKING:
    import pyarrow as arrow

NAME = "library"
FORMAT = 1
ROWS_AT_ONCE = 4_096
ROWS_IN_COMMIT = 20_000  # 30 MB of vectors of 384 dimensions
NAMES_AT_ONCE = 1_000  # in one condition
WHOLE = 0.2  # Of a table of which more has changed everything is read, which is faster than to look for it.
SETTLED = 1.0  # seconds between two makers' looking for a table and making one, at most
_HEAD = bytes(20)
_TEXTS = (
    "kind", "choice", "status", "reason", "case_key", "asked", "modality", "body_part", "view", "laterality",
    "photometric", "sop_class", "transfer_syntax", "series", "study", "text", "affirmed",
)  # fmt: skip
_NUMBERS = ("place", "of_rows", "size", "mtime_ns", "number", "count", "rows", "columns", "instance_number")
_BYTES = ("doc", "digest", "path", "root", "content_hash", "of", "named")
_FLAGS = ("burned_in", "localizer")
_OF_KIND = {
    "root": frozenset({"choice", "asked"}),
    "text": frozenset({"size", "mtime_ns", "of", "study", "named", "text", "affirmed"}),
}
_ABOUT_FILE = frozenset({"root", "size", "mtime_ns", "content_hash", "choice", "status", "reason", "case_key"})
_OF_FRAME = frozenset({*_TEXTS, *_NUMBERS, *_BYTES, *_FLAGS, "series_number"}) - {
    "doc", "digest", "kind", "path", "place", "of_rows", "asked", "of", "named", "text", "affirmed",
}  # fmt: skip
# Seconds and attempts after which a server counts as out of reach; LanceDB's own are minutes.
_PATIENCE = {
    "connect_timeout": "5s", "timeout": "60s", "client_max_retries": "2", "client_retry_timeout": "10",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """What a table says of itself: which one it is, the key of its hashes, and the encoder of its vectors."""

    table: str
    salt: str
    encoder: RecordedEncoder


class Table:
    """The table at an address. Whatever its storage refuses is one sentence: see `faults`."""

    def __init__(self, address: str) -> None:
        self.address = address
        uri = address.removeprefix(SHARED)
        self.uri = uri.removeprefix("file://")
        self.local = uri.startswith("file://")
        self._table: Any = None

    @cached_property
    def _database(self) -> Any:
        try:
            import lancedb
        except ImportError:
            raise InputError(
                "A shared library needs the package lancedb, which is not installed; run pip install "
                "'roco-search[cluster]'."
            ) from None
        if not (self.local or _by_amazon()):
            # Without keys, LanceDB would ask 169.254.169.254 for some, where nobody but Amazon has any to give.
            os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        return lancedb.connect(self.uri, storage_options=None if self.local else _PATIENCE)

    def identity(self) -> Identity | None:
        """Open the table as it is now; return what it says of itself, None if there is none.

        Raises
        ------
        LibraryTooNew
            If a newer roco made it.
        LibraryUnreachable, LibraryError
        """
        with shared_faults(self.address):
            if self.local and missing_table(self.uri, NAME):
                return None
            try:
                self._table = self._database.open_table(NAME)
            except ValueError as error:
                if "was not found" in str(error):
                    return None
                raise
            noted = json.loads((self._table.schema.metadata or {}).get(b"roco", b"{}"))
        if not isinstance(noted, dict) or "format" not in noted:
            raise InputError(f"{self.address} holds a table that roco did not make; choose another address.")
        if noted["format"] > FORMAT:
            raise LibraryTooNew(
                f"The shared library {self.address} was written by a newer roco (its format is {noted['format']}, this "
                f"roco knows {FORMAT}); update with `pip install --upgrade roco-search`."
            )
        return Identity(noted["table"], noted["salt"], RecordedEncoder(**noted["encoder"]))

    def create(self, identity: Identity) -> Identity:
        """Make the table; return its identity, which is another's if somebody made it at the same time.

        LanceDB looks whether there is a table, then writes one over whatever has come there meanwhile. In a folder a
        lock prevents that; elsewhere the later maker restores the earlier one's table, which was the version before
        its own, and the earlier maker goes on after a moment.
        """
        import pyarrow as arrow

        key = arrow.field("key", arrow.binary(), nullable=False)
        columns = [key.with_metadata({"lance-schema:unenforced-primary-key": "true"})]
        columns += [arrow.field(name, arrow.binary()) for name in _BYTES]
        columns += [arrow.field(name, arrow.string()) for name in _TEXTS]
        columns += [arrow.field(name, arrow.int64()) for name in (*_NUMBERS, "series_number")]
        columns += [arrow.field(name, arrow.bool_()) for name in _FLAGS]
        columns += [arrow.field("vector", arrow.list_(arrow.float32(), identity.encoder.dim))]
        noted = {
            "format": FORMAT, "table": identity.table, "salt": identity.salt, "encoder": asdict(identity.encoder)
        }  # fmt: skip
        schema = arrow.schema(columns, metadata={"roco": json.dumps(noted)})
        head = self._rows(schema, [{"key": _HEAD, "kind": "head", "place": -1}])
        with ExitStack() as alone, shared_faults(self.address, writing=True):
            if self.local:
                Path(self.uri).mkdir(exist_ok=True)
                alone.enter_context(locked(Path(self.uri) / f"{NAME}.lock", wait=None))
            if (made := self.identity()) is not None:
                return made
            try:
                created = self._database.create_table(NAME, data=head, schema=schema, on_bad_vectors="null")
                if created.version > 1:
                    created.checkout(created.version - 1)
                    created.restore()
            except (ValueError, RuntimeError):
                if (made := self.identity()) is None:
                    raise
                return made
            if not self.local:
                time.sleep(SETTLED)
            made = self.identity()
        assert made is not None
        return made

    # Reading.

    @property
    def version(self) -> int:
        """The number of the commit that is read."""
        return int(self._table.version)

    def refresh(self) -> None:
        """Read the newest commit from here on."""
        with shared_faults(self.address):
            self._table.checkout_latest()

    def count(self) -> int:
        """Return the number of rows of documents."""
        with shared_faults(self.address):
            return int(self._table.count_rows("place >= 0"))

    def listing(self) -> dict[bytes, bytes]:
        """Return the digest of every document."""
        with shared_faults(self.address):
            found = self._table.search().where("place = 0").select(["doc", "digest"]).to_arrow()
        return dict(zip(found["doc"].to_pylist(), found["digest"].to_pylist(), strict=True))

    def documents(self, names: Collection[bytes], total: int, kind: Kind) -> Iterator[Document]:
        """Yield the documents of a kind that some names stand for, in no order; `total` is the number of all."""
        listed, wanted = list(names), frozenset(names)
        if len(listed) > WHOLE * total or kind == "root":
            yield from self._gathered(f"kind = '{kind}'", wanted)
            return
        for start in range(0, len(listed), NAMES_AT_ONCE):
            some = _one_of(listed[start : start + NAMES_AT_ONCE])
            yield from self._gathered(f"kind = '{kind}' AND {some}", wanted)

    def _gathered(self, condition: str, wanted: frozenset[bytes]) -> Iterator[Document]:
        begun: dict[bytes, list[dict[str, Any]]] = {}
        with shared_faults(self.address):
            for batch in self._table.search().where(condition).to_batches(ROWS_AT_ONCE):
                vectors = _vectors(batch.column("vector"))
                for row, vector in zip(batch.drop_columns(["vector"]).to_pylist(), vectors, strict=True):
                    if row["doc"] not in wanted:
                        continue
                    rows = begun.setdefault(row["doc"], [])
                    rows.append({**row, "vector": vector})
                    if len(rows) == row["of_rows"]:
                        yield _document(begun.pop(row["doc"]))

    # Writing.

    def commit(self, documents: Iterable[tuple[bytes, bytes, Document]], gone: Sequence[bytes] = ()) -> None:
        """Store documents in the place of what is there of them, and delete the `gone`; all in one commit.

        Each comes with what stands for it and with its digest.

        Every document of `documents` that is there already is also in `gone`.
        """
        rows: list[dict[str, Any]] = [{"key": _HEAD, "kind": "head", "place": -1}]
        for name, digest, document in documents:
            for place, row in enumerate(document.rows):
                key = name + place.to_bytes(4, "big")
                own = {"key": key, "doc": name, "digest": digest, "place": place, "of_rows": len(document.rows)}
                rows.append({**row, **own, "kind": document.kind, "path": raw(document.path)})
        with shared_faults(self.address, writing=True):
            change = self._table.merge_insert("key").when_matched_update_all().when_not_matched_insert_all()
            if gone:
                change = change.when_not_matched_by_source_delete(_one_of(gone))
            with warnings.catch_warnings(action="ignore"):
                # A row without a vector, such as that of a root, counts as bad there; it is what it should be.
                change.execute(self._rows(self._table.schema, rows), on_bad_vectors="null")

    def fragments(self, names: Sequence[bytes]) -> set[int]:
        """Return the numbers of the files of the table that rows of documents are in."""
        found: set[int] = set()
        with shared_faults(self.address):
            for start in range(0, len(names), NAMES_AT_ONCE):
                condition = _one_of(names[start : start + NAMES_AT_ONCE])
                rows = self._table.search().where(condition).select(["place"]).with_row_id(True).to_arrow()
                found |= {row >> 32 for row in rows["_rowid"].to_pylist()}
        return found

    def forget_traces(self, fragments: Iterable[int] | None) -> None:
        """Leave nothing of what was deleted or replaced: it stays in older commits, and in the files it was in.

        `fragments` are those files; None for all. LanceDB only writes files anew that are small or have lost a tenth,
        so what is left in them is moved away first. Whoever reads an older commit meanwhile reads again.
        """
        with shared_faults(self.address, writing=True), warnings.catch_warnings(action="ignore"):
            if fragments is None:
                self._table.update(where="true", values_sql={"kind": "kind"})
            for number in fragments or ():
                condition = f"_rowid >= {number << 32} AND _rowid < {(number + 1) << 32}"
                self._table.update(where=condition, values_sql={"kind": "kind"})
            self._table.optimize(cleanup_older_than=timedelta(0))

    def tidy(self) -> None:
        """Bring many small files into few, if there are many."""
        with shared_faults(self.address, writing=True):
            if self._table.stats()["fragment_stats"]["num_small_fragments"] > 64:
                self._table.optimize()

    @staticmethod
    def _rows(schema: "arrow.Schema", rows: Sequence[dict[str, Any]]) -> "arrow.Table":
        import pyarrow as arrow

        columns = [
            arrow.array([row.get(field.name) for row in rows], field.type) for field in schema if field.name != "vector"
        ]
        kind = schema.field("vector").type
        vectors = [row.get("vector") for row in rows]
        blank = np.zeros(kind.list_size, np.float32)
        flat = np.concatenate([blank if vector is None else vector for vector in vectors]).astype("<f4")
        missing = arrow.array([vector is None for vector in vectors])
        columns.append(arrow.FixedSizeListArray.from_arrays(arrow.array(flat), kind.list_size, mask=missing))
        return arrow.table(columns, schema=schema)


def _by_amazon() -> bool:
    """Whether this machine is Amazon's, by what its board says of itself."""
    said = [_read(f"/sys/class/dmi/id/{name}") for name in ("sys_vendor", "board_vendor")]
    return any(text.startswith("Amazon") for text in [*said, _read("/sys/hypervisor/uuid").replace("ec2", "Amazon")])


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def _document(rows: list[dict[str, Any]]) -> Document:
    rows.sort(key=lambda row: row["place"])
    kind = rows[0]["kind"]
    kept = []
    for row in rows:
        vector = row.pop("vector")
        if kind != "file":
            kept.append({name: row[name] for name in _OF_KIND[kind]})
        elif vector is None:
            kept.append({name: row[name] for name in _ABOUT_FILE})
        else:
            kept.append({name: row[name] for name in _OF_FRAME} | {"vector": vector})
    return Document(kind, os.fsdecode(rows[0]["path"]), kept)


def _vectors(column: Any) -> list[np.ndarray | None]:
    width = column.type.list_size
    start = column.offset * width
    values = np.asarray(column.values, np.float32)[start : start + len(column) * width].reshape(-1, width)
    return [vector if valid else None for vector, valid in zip(values, column.is_valid().to_pylist(), strict=True)]


def _one_of(names: Sequence[bytes]) -> str:
    listed = ", ".join(f"X'{name.hex()}'" for name in names)
    return f"doc IN ({listed})"
