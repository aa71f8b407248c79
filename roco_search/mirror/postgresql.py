"""A mirror in PostgreSQL with pgvector: one table of halfvec with an HNSW index.

One transaction writes it all, so that whatever breaks it off leaves the table as it was. What is there is compared by
digests that the server computes from the rows themselves; a row that somebody else changed is found, too.
"""

import json
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from roco_search.errors import Busy, InputError, MirrorError, RocoError
from roco_search.mirror.engine import NOTHING, SEPARATOR, Identity, Row, Vectors, Where

COLUMNS = {
    "id": "bigint",
    "path": "text",
    "frame": "integer",
    "frames": "integer",
    "modality": "text",
    "body_part": "text",
    "view": "text",
    "laterality": "text",
    "rows": "integer",
    "columns": "integer",
    "series": "text",
    "study": "text",
    "series_number": "bigint",
    "instance_number": "bigint",
    "localizer": "boolean",
    "case": "text",
}
TYPES = [{"bigint": "int8", "integer": "int4", "boolean": "bool"}.get(kind, kind) for kind in COLUMNS.values()]
INDEXED = (
    "modality",
    "body_part",
    "view",
    "study",
    "series",
)  # for narrow filters, without the graph
LINKS, CANDIDATES = 16, 200  # Of the graph: m and ef_construction.
MOST_DIM = 4000  # pgvector indexes no longer halfvec
AT_ONCE = 2000
NEEDED = (0, 8)  # pgvector's first version with iterative scans, without which narrow filters get too few hits
WORK_MEM = 4 * 2**20  # PostgreSQL's default, of which scan_mem_multiplier is a multiple
BYTES_SCANNED = 200  # that a scan remembers of a row


@contextmanager
def connect(address: str, table: str) -> Generator["PostgreSQL"]:
    """Connect to a server. Passwords come from libpq: PGPASSWORD, ~/.pgpass or a service file.

    Raises
    ------
    InputError
        If psycopg is not installed, or the address holds a password or cannot be read.
    MirrorError
        If the server cannot be reached, lets nobody in, or has no pgvector.
    """
    try:
        import psycopg
    except ImportError:
        raise InputError(
            "PostgreSQL needs the package psycopg, which is not installed; run `pip install 'roco-search[mirror]'`."
        ) from None
    try:
        named = psycopg.conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        raise InputError("The address cannot be read; write it as postgresql://USER@HOST/DATABASE.") from None
    if named.get("password"):
        raise InputError(
            "The address holds a password, which other users of this machine could read; leave it out, and put it into "
            "PGPASSWORD or ~/.pgpass."
        )
    place = address.partition("?")[0]
    try:
        connection = psycopg.connect(address, autocommit=True, prepare_threshold=None, connect_timeout=15)
    except psycopg.Error as error:
        raise MirrorError(f"PostgreSQL cannot be used at {place}: {_reason(error)}; check the address, that the server "
                          "runs, and that it lets you in.") from None  # fmt: skip
    try:
        made = PostgreSQL(connection, table, place)
        with made.explaining():
            made.check_server()
            yield made
    finally:
        with suppress(psycopg.Error):
            connection.close()


def _reason(error: Exception) -> str:
    """Return what libpq says, in a few words: it names hosts, users and databases, never a password or a row."""
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return re.sub(r"^.*failed: ", "", line).removeprefix("FATAL:").strip().rstrip(".")


class PostgreSQL:
    """See `Engine`."""

    whole = False
    efforts: Sequence[int] = (100, 200, 400, 800, 1000)  # hnsw.ef_search, of which pgvector allows up to 1000

    def __init__(self, connection: Any, table: str, place: str) -> None:
        self._connection = connection
        self._table = table
        self._place = place
        self._rows: int | None = None

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn what psycopg raises into one sentence with the remedy. No value of a row is in it."""
        import psycopg
        from psycopg import errors

        try:
            yield
        except RocoError:
            raise
        except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction) as error:
            said = "is read-only" if isinstance(error, errors.ReadOnlySqlTransaction) else "may not write"
            raise MirrorError(
                f"The connection to {self._place} {said}, and {self._table} has to be written (tables, temporary ones "
                "too); connect as a role that may, or have the right granted. The mirror is as it was."
            ) from None
        except errors.LockNotAvailable:
            raise self._busy() from None
        except (errors.DiskFull, errors.OutOfMemory) as error:
            lacks = "disk space" if isinstance(error, errors.DiskFull) else "memory"
            raise MirrorError(
                f"The server at {self._place} is out of {lacks}, and the mirror is as it was; have that freed there, "
                "and run the same command again."
            ) from None
        except psycopg.OperationalError:
            raise MirrorError(
                f"The connection to {self._place} was lost; what was not committed is undone, and the mirror is as it "
                "was. Run the same command again when the server is back."
            ) from None
        except psycopg.Error as error:
            raise MirrorError(
                f"The server at {self._place} refused ({error.sqlstate or 'no code'}, {type(error).__name__}), and the "
                "mirror is as it was; look into the server's log."
            ) from None

    def check_server(self) -> None:
        """Refuse a database that cannot hold a mirror."""
        if (encoding := self._one("SHOW server_encoding")) != "UTF8":
            raise MirrorError(f"The database at {self._place} is in {encoding}, in which not every path can be "
                              "written; make one in UTF8.")  # fmt: skip
        version = self._one("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        if version is None:
            raise MirrorError(f"The database at {self._place} has no pgvector; have its owner run CREATE EXTENSION "
                              "vector there.")  # fmt: skip
        if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < NEEDED:
            raise MirrorError(f"pgvector {version} at {self._place} finds too few rows under narrow filters; update it "
                              "to 0.8 or later.")  # fmt: skip

    def _one(self, sql: str, *parameters: object) -> Any:
        row = self._connection.execute(sql, parameters).fetchone()
        return None if row is None else row[0]

    def _busy(self) -> Busy:
        return Busy(f"Another process is writing {self._table} at {self._place}; wait until it is done.")

    # Writing.

    def encode(self, vector: bytes) -> bytes:
        """See `Engine`: as pgvector sends halfvec, dimension, two unused bytes and values, all big-endian."""
        values = np.frombuffer(vector, "<f4")
        return len(values).to_bytes(2, "big") + b"\0\0" + values.astype(">f2").tobytes()

    @contextmanager
    def writing(self, identity: Identity) -> Iterator[None]:
        """See `Engine`."""
        if identity.dim > MOST_DIM:
            raise MirrorError(f"pgvector indexes up to {MOST_DIM} dimensions, and this model has {identity.dim}.")
        with self.explaining(), self._connection.transaction():
            if not self._one("SELECT pg_try_advisory_xact_lock(hashtext('roco'), hashtext(%s))", self._table):
                raise self._busy()
            self._new = self._one("SELECT to_regclass(%s)", f'"{self._table}"') is None
            if self._new:
                columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
                self._connection.execute(
                    f'CREATE TABLE "{self._table}" ({columns}, vector halfvec({identity.dim}) NOT NULL, '
                    "PRIMARY KEY (id))"
                )
                self._comment({"roco": 1, **asdict(identity)})
            else:
                identity.check(self._noted(), self._table)
            yield
            self._index()
        with self.explaining():
            self._connection.execute(f'ANALYZE "{self._table}"')

    def _noted(self) -> dict[str, Any] | None:
        text = self._one("SELECT obj_description(to_regclass(%s), 'pg_class')", f'"{self._table}"')
        try:
            noted = json.loads(text or "")
        except ValueError:
            return None
        return noted if isinstance(noted, dict) and noted.get("roco") == 1 else None

    def _comment(self, noted: dict[str, Any]) -> None:
        literal = json.dumps(noted).replace("'", "''").replace("\\", "\\\\")
        self._connection.execute(f"COMMENT ON TABLE \"{self._table}\" IS E'{literal}'")

    def _index(self) -> None:
        """Make the indexes that are missing; a graph is built much faster when all rows are there."""
        options = f"WITH (m = {LINKS}, ef_construction = {CANDIDATES})"
        self._connection.execute(
            f'CREATE INDEX IF NOT EXISTS "{self._table}_vector" ON "{self._table}" USING hnsw '
            f"(vector halfvec_cosine_ops) {options}"
        )
        for name in INDEXED:
            self._connection.execute(f'CREATE INDEX IF NOT EXISTS "{self._table}_{name}" ON "{self._table}" ("{name}")')

    def digests(self) -> Generator[tuple[int, bytes]]:
        """See `Engine`."""
        absent, between = (f"E'\\x{ord(mark):02x}'" for mark in (NOTHING, SEPARATOR))
        values = ", ".join(f'coalesce("{name}"::text, {absent})' for name in COLUMNS)
        sql = (
            f"SELECT id, sha256(halfvec_send(vector) || convert_to(concat_ws({between}, {values}), 'UTF8')) "
            f'FROM "{self._table}" ORDER BY id'
        )
        with self.explaining(), self._connection.cursor(name="roco_rows", binary=True) as cursor:
            cursor.itersize = AT_ONCE
            yield from cursor.execute(sql)

    def write(self, changes: Iterable[Row | int]) -> None:
        """See `Engine`."""
        target = self._table if self._new else "roco_staged"
        if not self._new:
            self._connection.execute(
                f'CREATE TEMPORARY TABLE roco_staged (LIKE "{self._table}") ON COMMIT DROP; '
                "CREATE TEMPORARY TABLE roco_gone (id bigint) ON COMMIT DROP"
            )
        names = ", ".join(f'"{name}"' for name in COLUMNS)
        changes = iter(changes)
        while batch := list(islice(changes, AT_ONCE)):
            with self._connection.cursor() as cursor:
                rows = [row for row in batch if isinstance(row, Row)]
                with cursor.copy(f'COPY "{target}" ({names}, vector) FROM STDIN (FORMAT BINARY)') as copy:
                    copy.set_types([*TYPES, "bytea"])
                    for row in rows:
                        copy.write_row([*(row.record[name] for name in COLUMNS), row.vector])
                gone = [[number] for number in batch if isinstance(number, int)]
                if gone:
                    cursor.executemany("INSERT INTO roco_gone VALUES (%s)", gone)
        if self._new:
            return
        updated = ", ".join(f'"{name}" = excluded."{name}"' for name in [*COLUMNS, "vector"] if name != "id")
        self._connection.execute(f'DELETE FROM "{self._table}" WHERE id IN (SELECT id FROM roco_gone)')
        self._connection.execute(
            f'INSERT INTO "{self._table}" ({names}, vector) SELECT {names}, vector FROM roco_staged '
            f"ON CONFLICT (id) DO UPDATE SET {updated}"
        )

    # Searching, as any client would.

    def settings(self, effort: int) -> list[str]:
        """See `Engine`: the iterative scan may look at every row and remember all of them."""
        if self._rows is None:
            self._rows = self.count(None)
        memory = min(1000, max(1, -(-self._rows * BYTES_SCANNED // WORK_MEM)))
        return [
            f"hnsw.ef_search = {effort}",
            "hnsw.iterative_scan = strict_order",
            f"hnsw.max_scan_tuples = {max(20_000, self._rows)}",
            f"hnsw.scan_mem_multiplier = {memory}",
        ]

    def nearest(self, query: Vectors, k: int, where: Where | None, effort: int) -> list[int]:
        """See `Engine`."""
        condition, parameters = _condition(where)
        literal = "[" + ",".join(f"{value:.7g}" for value in query.tolist()) + "]"
        with self.explaining(), self._connection.transaction():
            self._connection.execute("; ".join(f"SET LOCAL {setting}" for setting in self.settings(effort)))
            sql = f'SELECT id FROM "{self._table}" WHERE {condition} ORDER BY vector <=> %s::halfvec LIMIT %s'
            return [row[0] for row in self._connection.execute(sql, [*parameters, literal, k])]

    def count(self, where: Where | None) -> int:
        """See `Engine`."""
        condition, parameters = _condition(where)
        with self.explaining():
            return int(self._one(f'SELECT count(*) FROM "{self._table}" WHERE {condition}', *parameters))

    def denser(self) -> str:
        """See `Engine`."""
        index = f"{self._table}_vector"
        return (
            f"Build a denser graph there, ALTER INDEX {index} SET (m = 32, ef_construction = 400) and REINDEX INDEX "
            f"{index}"
        )

    def note(self, found: dict[str, Any]) -> None:
        """See `Engine`."""
        with self.explaining():
            self._comment({**(self._noted() or {}), "checked": found})


def _condition(where: Where | None) -> tuple[str, list[object]]:
    if where is None:
        return "true", []
    if where.every > 1:
        return f'"{where.column}" %% {int(where.every)} = %s', [where.value]
    return f'"{where.column}" = %s', [where.value]
