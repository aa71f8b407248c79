"""Writing finished files as Parquet parts, and reading them again; `manifest` says what a folder of parts is."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from roco_search.datasets.tables import parquet_errors, parquet_module
from roco_search.errors import InputError
from roco_search.imaging import Tags
from roco_search.library.ingest.manifest import FORMAT, Manifest, part_names
from roco_search.library.ingest.pipeline import FinishedFile, FrameRecord
from roco_search.library.ingest.reading import Outcome
from roco_search.library.truth.store import keyed_hash
from roco_search.system.files import replacing, write_errors

FRAMES_IN_PART = 4096  # A minute or two of one processor: what a machine that is lost has to do again.
ROWS_AT_ONCE = 256  # Of a row group: parts of many shards are read side by side.
GROUPS_HELD = 4  # Row groups that a shard's reader remembers: its files are asked for in the order of its parts.
_TEXTS = ("modality", "body_part", "view", "laterality", "photometric", "sop_class", "transfer_syntax")
_FLAGS = ("burned_in", "localizer")
_STATES = frozenset({"indexed", "unreadable", "not_image", "gone"})
_TAGS = tuple(tag.name for tag in fields(Tags))
_GROUPS = {"series_uid": "series", "study_uid": "study"}  # what is stored of them: a keyed hash
_REPEATED = (*_TEXTS, *_GROUPS.values(), "choice", "status", "reason")


class PartWriter:
    """Collects the files of a shard and writes them as parts; a sink of the same files as a library's writer."""

    def __init__(self, folder: Path, manifest: Manifest, key: str, roots: Sequence[str]) -> None:
        parquet_module()  # before anything is embedded
        self._folder = folder
        self._manifest = manifest
        self._key = key
        self._roots = list(roots)
        names = part_names(folder, manifest.shard)
        self._next = 1 + int(names[-1].split(".")[1]) if names else 0
        self._rows: list[dict[str, Any]] = []

    def put(self, file: FinishedFile, status: str, choice: str | None) -> None:
        """Add a file, with its frames if its `status` is "indexed"; "gone" is one that is no longer there."""
        outcome, candidate = file.outcome, file.candidate
        about: dict[str, Any] = {
            "root": self._roots.index(candidate.root),
            "path": relative(candidate.path, candidate.root),
            "size": outcome.size,
            "mtime_ns": outcome.mtime_ns,
            "content_hash": outcome.content_hash,
            "choice": choice,
            "status": status,
            "reason": outcome.reason,
        }
        for frame, vector in zip(file.frames, file.vectors, strict=True):
            said = {name: getattr(frame.tags, name) for name in _TAGS}
            for name, kind in _GROUPS.items():
                uid = said.pop(name)
                said[kind] = uid if frame.keyed else keyed_hash(self._key, uid, kind)
            self._rows.append({**about, "frame": frame.index, "frames": frame.count, **said, "vector": vector})
        if not file.frames:
            self._rows.append(about)
        if len(self._rows) >= FRAMES_IN_PART:
            self.flush()

    def flush(self) -> None:
        """Write what was collected. Raises StorageFull and InputError."""
        if not self._rows:
            return
        parquet = parquet_module()
        table = _table(self._rows, self._manifest)
        path = self._folder / f"{self._manifest.shard.stem}.{self._next:05}.parquet"
        with write_errors(path), replacing(path) as temporary:
            # A dictionary of numbers that are all different would only be stored beside them.
            parquet.write_table(
                table, temporary, row_group_size=ROWS_AT_ONCE, use_dictionary=[*_REPEATED], write_page_checksum=True
            )
        self._rows, self._next = [], self._next + 1


def relative(path: str, root: str) -> bytes:
    """Return the path of a file as it is on every machine that has the folder `root`, wherever it is mounted."""
    base = root.rstrip("/") + "/"
    if path == root:
        return b"."
    if path.startswith(base):
        return os.fsencode(path.removeprefix(base))
    # A member of an archive that was given itself, or what a link led to.
    return os.fsencode(path.removeprefix(root) if path.startswith(f"{root}!/") else os.path.relpath(path, root))


def absolute(path: bytes, root: str) -> str:
    """Return where a file is whose path was given by `relative`, with its folder at `root` now."""
    text = os.fsdecode(path)
    if text.startswith("!/"):
        return root + text
    if text == ".":
        return root
    return os.path.normpath(f"{root}/{text}") if text.startswith("../") else f"{root.rstrip('/')}/{text}"


def _table(rows: list[dict[str, Any]], manifest: Manifest) -> Any:
    import pyarrow as arrow

    integers = {"root": arrow.int32(), "frame": arrow.int32(), "frames": arrow.int32(), "rows": arrow.int32()}
    types = {name: arrow.int64() for name in ("size", "mtime_ns", "columns", "instance_number", "series_number")}
    types |= integers | dict.fromkeys(("path", "content_hash"), arrow.binary()) | dict.fromkeys(_FLAGS, arrow.bool_())
    order = ("root", "path", "size", "mtime_ns", "content_hash", "choice", "status", "reason", "frame", "frames")
    names = (*order, *(_GROUPS.get(name, name) for name in _TAGS))
    columns = [arrow.array([row.get(name) for row in rows], types.get(name, arrow.string())) for name in names]
    dim = manifest.encoder.dim
    vectors = [row.get("vector") for row in rows]
    blank = np.zeros(dim, np.float32)
    flat = np.concatenate([blank if vector is None else vector for vector in vectors]).astype("<f4")
    missing = arrow.array([vector is None for vector in vectors])
    columns.append(arrow.FixedSizeListArray.from_arrays(arrow.array(flat), dim, mask=missing))
    noted = {"format": FORMAT, "shard": str(manifest.shard), **asdict(manifest.encoder)}
    return arrow.table(columns, names=[*names, "vector"], metadata={"roco": json.dumps(noted)})


@dataclass(frozen=True, slots=True)
class Place:
    """A file as a part describes it, and the rows where its frames are. `root` is the number of its root."""

    part: str
    first: int
    count: int
    root: int
    path: bytes
    size: int
    mtime_ns: int
    content_hash: bytes | None
    choice: str | None
    status: str
    reason: str | None


class PartReader:
    """The files of a shard, as its parts describe them in the order in which they were written."""

    def __init__(self, folder: Path, manifest: Manifest, names: Iterable[str]) -> None:
        self._folder = folder
        self._manifest = manifest
        self._group = lru_cache(GROUPS_HELD)(self._read_group)
        self.rows: dict[str, int] = {}
        self.places: dict[tuple[int, bytes], Place] = {}
        for name in names:
            for place in self._places(name):
                if place.status == "gone":
                    self.places.pop((place.root, place.path), None)
                else:
                    self.places[place.root, place.path] = place

    def _places(self, name: str) -> Iterator[Place]:
        columns = ["root", "path", "size", "mtime_ns", "content_hash", "choice", "status", "reason"]
        with self._opened(name) as file:
            rows = file.read(columns=columns).to_pylist()
            if rows and (set(rows[0]) != {*columns} or not all(self._is_sound(row) for row in rows)):
                raise ValueError  # written by another program, or of other folders
        self.rows[name] = len(rows)
        first = 0
        for number, row in enumerate(rows):
            if number + 1 == len(rows) or (rows[number + 1]["root"], rows[number + 1]["path"]) != (
                row["root"],
                row["path"],
            ):
                yield Place(name, first, number + 1 - first, **row)
                first = number + 1

    def _is_sound(self, row: dict[str, Any]) -> bool:
        digest = row["content_hash"]
        return (
            0 <= row["root"] < len(self._manifest.roots)
            and row["status"] in _STATES
            and (digest is None or len(digest) == 32)
            and isinstance(row["path"], bytes)
            and b"\0" not in row["path"]
        )

    def _opened(self, name: str) -> "_Opened":
        return _Opened(self._folder / name, self._manifest)

    def _read_group(self, name: str, number: int) -> list[dict[str, Any]]:
        with self._opened(name) as file:
            table = file.read_row_group(number)
        vectors = table.column("vector").combine_chunks()
        values = np.asarray(vectors.values if hasattr(vectors, "values") else vectors, np.float32)
        rows: list[dict[str, Any]] = table.drop_columns(["vector"]).to_pylist()
        dim = self._manifest.encoder.dim
        for row, vector in zip(rows, values.reshape(-1, dim), strict=True):
            row["vector"] = vector
        return rows

    def frames(self, place: Place, *, keyed: bool) -> tuple[list[FrameRecord], list[Any]]:
        """Return the frames of a file and their vectors; `keyed` tells whether their hashes are the library's own."""
        frames, vectors = [], []
        for number in range(place.first, place.first + place.count):
            row = self._group(place.part, number // ROWS_AT_ONCE)[number % ROWS_AT_ONCE]
            said = {name: row[_GROUPS.get(name, name)] for name in _TAGS}
            frames.append(FrameRecord(row["frame"], row["frames"], Tags(**said), keyed))
            vectors.append(row["vector"])
        return frames, vectors

    def outcome(self, place: Place) -> Outcome:
        """Return how reading a file ended."""
        kind = "image" if place.status == "indexed" else "not_image" if place.status == "not_image" else "unreadable"
        return Outcome(kind, place.size, place.mtime_ns, place.content_hash, place.reason)  # type: ignore[arg-type]


class _Opened:
    """A part, opened and compared with its manifest; what pyarrow finds wrong with it is one sentence."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._path = path
        self._manifest = manifest

    def __enter__(self) -> Any:
        parquet = parquet_module()
        try:
            with parquet_errors(self._path):
                self._file = parquet.ParquetFile(self._path, page_checksum_verification=True)
                noted = json.loads((self._file.schema_arrow.metadata or {}).get(b"roco", b"{}"))
        except InputError:
            raise self._damaged() from None
        shard, encoder = self._manifest.shard, self._manifest.encoder
        if noted.get("format") != FORMAT or noted.get("shard") != str(shard):
            raise self._damaged()
        if (noted.get("fingerprint"), noted.get("image_arithmetic")) != (encoder.fingerprint, encoder.image_arithmetic):
            raise InputError(
                f"{self._path} was embedded by another model or in another precision than shard {shard} says; delete "
                f"it and run shard {shard} again."
            )
        return self._file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._file.close()
        if isinstance(error, OSError | ValueError | TypeError) or (error is not None and "arrow" in str(kind).lower()):
            raise self._damaged() from None

    def _damaged(self) -> InputError:
        return InputError(
            f"{self._path} is damaged, or is no part of shard {self._manifest.shard}; delete it and run that shard "
            "again."
        )
