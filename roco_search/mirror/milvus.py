"""A mirror in Milvus: one collection behind an alias.

Milvus has no transactions. Where anything differs, all rows go into a second collection, and the alias is moved to it
when it is whole and compared; the first is dropped then. What is there is read back and digested here.
"""

import json
import logging
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from roco_search.errors import InputError, MirrorError, RocoError
from roco_search.mirror.engine import NARROW, Identity, Row, Vectors, Where, digest

TEXTS = ("path", "modality", "body_part", "view", "laterality", "series", "study", "case")
NUMBERS = ("frame", "frames", "rows", "columns", "series_number", "instance_number")
ORDER = (
    "id", "path", "frame", "frames", "modality", "body_part", "view", "laterality", "rows", "columns", "series",
    "study", "series_number", "instance_number", "localizer", "case",
)  # fmt: skip
LONGEST = 65_535  # bytes of a text
PART = "part"  # The id modulo `NARROW`: milvus-lite's filters know no arithmetic, and that one has to be tried.
FLAT_UP_TO = 100_000  # rows; a graph finds too few under narrow filters in milvus-lite
GRAPH = {"M": 16, "efConstruction": 200}
AT_ONCE = 1000
NOTE, CHECKED = "roco", "roco.checked"


@contextmanager
def connect(address: str, table: str) -> Generator["Milvus"]:
    """Connect to a server, or open a file with milvus-lite. The token comes from MILVUS_TOKEN, as USER:PASSWORD.

    Raises
    ------
    InputError
        If pymilvus is not installed, or the address holds a password or cannot be read.
    MirrorError
        If it cannot be reached.
    """
    try:
        from pymilvus import MilvusClient
    except ImportError:
        raise InputError(
            "Milvus needs the package pymilvus, which is not installed; run `pip install 'roco-search[mirror]'`."
        ) from None
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it prints tracebacks
    named = urlsplit(address)
    if named.password or named.username:
        raise InputError(
            "The address holds a user or a password, which others on this machine could read; leave it out, and put "
            "USER:PASSWORD into MILVUS_TOKEN."
        )
    with explaining(address):
        if named.netloc:
            scheme = "https" if named.scheme == "milvus+https" else "http"
            database = named.path.strip("/")
            client = MilvusClient(
                f"{scheme}://{named.netloc}", token=os.environ.get("MILVUS_TOKEN", ""), db_name=database, timeout=60
            )
        elif named.path.endswith(".db"):
            client = MilvusClient(named.path)
        else:
            raise InputError("The address cannot be read; write it as milvus://HOST:PORT, or milvus:///FOLDER/FILE.db.")
    try:
        with explaining(address):
            yield Milvus(client, table)
    finally:
        with suppress(Exception):
            client.close()


@contextmanager
def explaining(address: str) -> Iterator[None]:
    """Turn what pymilvus raises into one sentence with the remedy. No value of a row is in it."""
    try:
        yield
    except (RocoError, OSError):
        raise
    except Exception as error:
        code = getattr(error, "code", None)
        if type(error).__module__.partition(".")[0] not in ("pymilvus", "grpc", "milvus_lite"):
            raise
        if "onnect" in str(error) or "UNAVAILABLE" in str(error):
            raise MirrorError(
                f"Milvus cannot be reached at {address}; check the address and that the server runs. The mirror is as "
                "it was."
            ) from None
        raise MirrorError(
            f"Milvus at {address} refused ({type(error).__name__}, code {code}), and the mirror is as it was; look "
            "into its log, and whether MILVUS_TOKEN may write there."
        ) from None


class Milvus:
    """See `Engine`."""

    whole = True

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table
        self._staged: str | None = None

    def encode(self, vector: bytes) -> bytes:
        """See `Engine`."""
        return vector

    @property
    def efforts(self) -> Sequence[int]:
        """See `Engine`: ef of the graph; one number where every vector is compared."""
        return (100, 200, 400, 800, 1600) if self._has_graph() else (0,)

    def _has_graph(self) -> bool:
        return bool(self._client.describe_index(self._live(), "vector")["index_type"] == "HNSW")

    def _live(self) -> str | None:
        """Return the collection behind the alias."""
        if not self._client.has_collection(self._table):
            return None
        return str(self._client.describe_collection(self._table)["collection_name"])

    def _noted(self, collection: str) -> dict[str, Any] | None:
        properties = self._client.describe_collection(collection).get("properties") or {}
        try:
            noted = json.loads(properties.get(NOTE, ""))
        except ValueError:
            return None
        return noted if isinstance(noted, dict) else None

    @contextmanager
    def writing(self, identity: Identity) -> Iterator[None]:
        """See `Engine`."""
        live = self._live()
        if live is not None:
            identity.check(None if live == self._table else self._noted(live), self._table)
            self._client.load_collection(live)  # milvus-lite forgets that when it is started again
        staged = next(name for name in (f"{self._table}_0", f"{self._table}_1") if name != live)
        if self._client.has_collection(staged):  # of a run that was broken off
            identity.check(self._noted(staged), staged)
            self._client.drop_collection(staged)
        self._identity, self._free = identity, staged
        try:
            yield
        except BaseException:
            if self._staged is not None:
                with suppress(Exception):
                    self._client.drop_collection(self._staged)
            raise
        if self._staged is None:
            return
        if live is None:
            self._client.create_alias(self._staged, self._table)
        else:
            self._client.alter_alias(self._staged, self._table)
            self._client.drop_collection(live)
        self._staged = None

    def digests(self) -> Generator[tuple[int, bytes]]:
        """See `Engine`."""
        place = self._staged or self._live()
        if place is None:
            return
        rows = self._client.query_iterator(place, batch_size=AT_ONCE, output_fields=[*ORDER, "vector"])
        try:
            while batch := rows.next():
                for row in sorted(batch, key=lambda row: int(row["id"])):
                    vector = np.asarray(row["vector"], "<f4").tobytes()
                    yield int(row["id"]), digest({name: row.get(name) for name in ORDER}, vector)
        finally:
            rows.close()

    def write(self, changes: Iterable[Row | int]) -> None:
        """See `Engine`: these are all rows."""
        note = {NOTE: json.dumps(asdict(self._identity))}  # from the first moment: a broken-off run leaves it behind
        self._client.create_collection(self._free, schema=self._schema(), consistency_level="Strong", properties=note)
        self._staged = self._free
        count, rows = 0, (row for row in changes if isinstance(row, Row))
        while batch := list(islice(rows, AT_ONCE)):
            self._client.insert(self._staged, [self._document(row) for row in batch])
            count += len(batch)
        self._client.flush(self._staged)
        index = self._client.prepare_index_params()
        graph = count > FLAT_UP_TO
        index.add_index(
            "vector", index_type="HNSW" if graph else "FLAT", metric_type="IP", params=GRAPH if graph else {}
        )
        self._client.create_index(self._staged, index)
        self._client.load_collection(self._staged)

    def _schema(self) -> Any:
        from pymilvus import DataType

        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        for name in TEXTS:
            schema.add_field(name, DataType.VARCHAR, max_length=LONGEST, nullable=True)
        for name in NUMBERS:
            schema.add_field(name, DataType.INT64, nullable=True)
        schema.add_field("localizer", DataType.BOOL, nullable=True)
        schema.add_field(PART, DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self._identity.dim)
        return schema

    @staticmethod
    def _document(row: Row) -> dict[str, Any]:
        return {**row.record, PART: row.id % NARROW, "vector": np.frombuffer(row.vector, "<f4")}

    def nearest(self, query: Vectors, k: int, where: Where | None, effort: int) -> list[int]:
        """See `Engine`."""
        found = self._client.search(
            self._table, data=[query.tolist()], limit=k, filter=_condition(where), output_fields=[],
            search_params={"metric_type": "IP", "params": {"ef": effort} if effort else {}},
        )  # fmt: skip
        return [int(hit["id"]) for hit in found[0]]

    def count(self, where: Where | None) -> int:
        """See `Engine`."""
        return int(self._client.query(self._table, filter=_condition(where), output_fields=["count(*)"])[0]["count(*)"])

    def settings(self, effort: int) -> list[str]:
        """See `Engine`."""
        return [f"ef = {effort}"] if effort else []

    def denser(self) -> str:
        """See `Engine`."""
        return "Build its index anew there, as FLAT or with M = 32 and efConstruction = 400"

    def note(self, found: dict[str, Any]) -> None:
        """See `Engine`."""
        self._client.alter_collection_properties(self._live(), {CHECKED: json.dumps(found)})


def _condition(where: Where | None) -> str:
    if where is None:
        return ""
    if where.every > 1:
        return f"{PART} in {[part for part in range(NARROW) if part % where.every == where.value]}"
    return f"{where.column} == {json.dumps(where.value)}"
