"""What was indexed: the folders and files that were given, every file found in them, and the frames of each.

This is the side that writes. Everything that writes runs inside the caller's `Store.transaction`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from roco_search.library.truth.connection import Connection, at_or_below, raw
from roco_search.library.truth.embeddings import EmbeddingSet

if TYPE_CHECKING:
    from roco_search.imaging import Tags

Status = Literal["indexed", "unreadable", "not_image"]

_KNOWN = "files.id, path, root_id, size, mtime_ns, content_hash, files.frames, status"
_FRAME = (
    "number, count, modality, body_part, view, laterality, rows, columns, photometric, sop_class, transfer_syntax, "
    "burned_in, instance_number, series_number, localizer, series, study"
)
# A file has vectors in a set. The parameter is the id of the set.
_EMBEDDED = """
    (status = 'indexed' AND EXISTS (
        SELECT 1 FROM frames JOIN vectors ON frame_id = frames.id WHERE file_id = files.id AND set_id = ?))
"""


@dataclass(frozen=True, slots=True, order=True)
class Skipped:
    """A file, or a folder, that could not be used, and why."""

    path: str
    reason: str


class Root(NamedTuple):
    """A folder or file that was given to `roco index`, by its real path, and the choice of frames for it."""

    id: int
    path: str
    frames: str


class KnownFile(NamedTuple):
    """A file that the library remembers; `frames` is None where every choice of frames gives the same."""

    id: int
    path: str
    root_id: int | None
    size: int
    mtime_ns: int
    content_hash: bytes | None
    frames: str | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """What is stored of a file. `content_hash` is SHA-256, None where the bytes could not be read."""

    path: str
    root_id: int | None
    size: int
    mtime_ns: int
    content_hash: bytes | None
    frames: str | None
    status: Status
    reason: str | None


class Files:
    """The roots of a library, and every file that was found in them."""

    def __init__(self, connection: Connection, keyed_hash: Callable[[str | None, str], str | None]) -> None:
        self._connection = connection
        self._keyed_hash = keyed_hash

    # Roots.

    def roots(self) -> list[Root]:
        """Return all roots, ascending by path."""
        return [Root(*row) for row in self._connection.read("SELECT id, path, frames FROM roots ORDER BY path")]

    def record_roots(self, choices: Mapping[str, str]) -> None:
        """Store roots by their real paths, each with its choice of frames, which replaces an earlier one."""
        sql = """
            INSERT INTO roots (path, frames) VALUES (CAST(? AS TEXT), ?)
            ON CONFLICT (path) DO UPDATE SET frames = excluded.frames
        """
        self._connection.write_many(sql, [(raw(path), frames) for path, frames in choices.items()])

    def forget_roots(self, paths: Iterable[str]) -> None:
        """Delete roots; their files stay."""
        self._connection.write_many("DELETE FROM roots WHERE path = CAST(? AS TEXT)", [(raw(path),) for path in paths])

    # What is known of files.

    def below(self, folder: str) -> list[KnownFile]:
        """Return the files at or below a folder, and those to which a link in this root led."""
        condition, parameters = at_or_below(folder, links=True)
        rows = self._connection.read(f"SELECT {_KNOWN} FROM files WHERE {condition}", parameters)
        return [KnownFile(*row) for row in rows]

    def at(self, path: str) -> KnownFile | None:
        """Return the file at a real path; None if it is not known."""
        rows = self._connection.read(f"SELECT {_KNOWN} FROM files WHERE path = CAST(? AS TEXT)", [raw(path)])
        return KnownFile(*rows[0]) if rows else None

    def any_below(self, folder: str) -> bool:
        """Whether `below` would return anything."""
        condition, parameters = at_or_below(folder, links=True)
        return bool(self._connection.read(f"SELECT 1 FROM files WHERE {condition} LIMIT 1", parameters))

    def count(self, status: Status | None = None, folder: str | None = None) -> int:
        """Return the number of files, all or those of one status, everywhere or as in `below`."""
        conditions, parameters = ["1"], list[bytes | str]()
        if status is not None:
            conditions.append("status = ?")
            parameters.append(status)
        if folder is not None:
            condition, below = at_or_below(folder, links=True)
            conditions.append(condition)
            parameters += below
        sql = f"SELECT COUNT(*) FROM files WHERE {' AND '.join(conditions)}"
        return int(self._connection.read(sql, parameters)[0][0])

    def refused(self, status: Status, folders: Iterable[str] | None = None) -> list[Skipped]:
        """Return the files of a status with the reasons, all or only those at or below `folders`, ascending."""
        everywhere: tuple[str, list[bytes]] = ("1", [])
        places = [everywhere] if folders is None else [at_or_below(folder, links=True) for folder in folders]
        found: set[Skipped] = set()
        for condition, parameters in places:
            sql = f"SELECT path, reason FROM files WHERE status = ? AND {condition}"
            found.update(Skipped(*row) for row in self._connection.read(sql, [status, *parameters]))
        return sorted(found)

    def embedded(self, chosen: EmbeddingSet) -> Iterator[tuple[int, bytes | None, str | None]]:
        """Yield (id, content hash, choice of frames) of each file that has vectors in a set."""
        sql = f"SELECT id, content_hash, frames FROM files WHERE {_EMBEDDED}"
        return self._connection.stream(sql, [chosen.id])

    def equal_to(
        self, content_hash: bytes | None, frames: str, chosen: EmbeddingSet, other_than: int | None
    ) -> tuple[int, str | None]:
        """Return id and choice of frames of the first file with a content, read under a choice, that has vectors."""
        sql = f"""
            SELECT id, frames FROM files
            WHERE content_hash = ? AND (frames IS NULL OR frames = ?) AND id IS NOT ? AND {_EMBEDDED}
            ORDER BY id LIMIT 1
        """
        [(file_id, choice)] = self._connection.read(sql, [content_hash, frames, other_than, chosen.id])
        return file_id, choice

    def lacking(self, chosen: EmbeddingSet) -> list[KnownFile]:
        """Return the files of which any frame has no vector in a set, ascending by path."""
        sql = f"""
            SELECT {_KNOWN} FROM files
            WHERE status = 'indexed' AND EXISTS (
                SELECT 1 FROM frames WHERE file_id = files.id
                AND NOT EXISTS (SELECT 1 FROM vectors WHERE set_id = ? AND frame_id = frames.id))
            ORDER BY path
        """
        return [KnownFile(*row) for row in self._connection.read(sql, [chosen.id])]

    def without_series(self, folder: str) -> list[tuple[int, str, str | None]]:
        """Return id, path and case (a keyed hash) of the files as in `below` of which a picture is of no series."""
        condition, parameters = at_or_below(folder, links=True)
        sql = f"""
            SELECT id, path, case_key FROM files WHERE status = 'indexed' AND {condition}
            AND EXISTS (SELECT 1 FROM frames WHERE file_id = files.id AND series IS NULL)
        """
        return self._connection.read(sql, parameters)

    def everything(self) -> Iterator[tuple[Any, ...]]:
        """Yield id, path, path of the root, size, mtime_ns, content hash, choice of frames, status, reason and case."""
        sql = """
            SELECT files.id, files.path, roots.path, size, mtime_ns, content_hash, files.frames, status, reason,
            case_key FROM files LEFT JOIN roots ON roots.id = root_id ORDER BY files.id
        """
        return self._connection.stream(sql)

    def pictures(self) -> Iterator[tuple[Any, ...]]:
        """Yield of each frame its file's id and what `content` returns but for the vector, ascending by file."""
        return self._connection.stream(f"SELECT file_id, {_FRAME} FROM frames ORDER BY file_id, number")

    # Writing files.

    def set_cases(self, cases: Iterable[tuple[str | None, int]]) -> None:
        """Note the case, a keyed hash, of files: pairs of that and the file's id."""
        self._connection.write_many("UPDATE files SET case_key = ? WHERE id = ?", cases)

    def add(self, record: FileRecord) -> int:
        """Store a file without frames; return its id."""
        sql = """
            INSERT INTO files (path, root_id, size, mtime_ns, content_hash, frames, status, reason)
            VALUES (CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?)
        """
        return self._connection.write(sql, _values(record))

    def replace(self, file_id: int, record: FileRecord) -> None:
        """Store a file in the place of what was known of it, and delete its frames."""
        sql = """
            UPDATE files SET path = CAST(? AS TEXT), root_id = ?, size = ?, mtime_ns = ?, content_hash = ?, frames = ?,
            status = ?, reason = ? WHERE id = ?
        """
        self._connection.write(sql, [*_values(record), file_id])
        self._connection.write("DELETE FROM frames WHERE file_id = ?", [file_id])

    def touch(self, file_id: int, path: str, root_id: int | None, size: int, mtime_ns: int) -> None:
        """Note where a file is now and its new stat; its content is what it was."""
        sql = "UPDATE files SET path = CAST(? AS TEXT), root_id = ?, size = ?, mtime_ns = ? WHERE id = ?"
        self._connection.write(sql, [raw(path), root_id, size, mtime_ns, file_id])

    def delete(self, file_ids: Iterable[int]) -> None:
        """Delete files with their frames and vectors."""
        self._connection.write_many("DELETE FROM files WHERE id = ?", [(file_id,) for file_id in file_ids])

    def forget(self, folder: str) -> None:
        """Delete all files and roots at or below a folder, and the files to which a link in it led."""
        condition, parameters = at_or_below(folder, links=True)
        self._connection.write(f"DELETE FROM files WHERE {condition}", parameters)
        condition, parameters = at_or_below(folder)
        self._connection.write(f"DELETE FROM roots WHERE {condition}", parameters)

    def rename(self, old: str, new: str) -> None:
        """Replace `old` by `new` at the beginning of the path of every file and root at or below `old`."""
        condition, parameters = at_or_below(old)
        for table in ("files", "roots"):
            rows = self._connection.read(f"SELECT id, path FROM {table} WHERE {condition}", parameters)
            renamed = [(raw(new + path[len(old) :]), row_id) for row_id, path in rows]
            self._connection.write_many(f"UPDATE {table} SET path = CAST(? AS TEXT) WHERE id = ?", renamed)

    # Writing frames.

    def frame_ids(self, file_id: int) -> dict[int, int]:
        """Return the ids of the frames of a file by their numbers, ascending."""
        sql = "SELECT number, id FROM frames WHERE file_id = ? ORDER BY number"
        return dict(self._connection.read(sql, [file_id]))

    def add_frame(self, file_id: int, number: int, count: int, tags: "Tags", *, keyed: bool = False) -> int:
        """Store a frame, the `number`-th of `count`, from 0; return its id.

        Series and study become keyed hashes, unless they are `keyed`.
        """
        values: list[str | int | None] = [file_id, number, count]
        values += [tags.modality, tags.body_part, tags.view, tags.laterality, tags.rows, tags.columns]
        values += [tags.photometric, tags.sop_class, tags.transfer_syntax, tags.burned_in]
        values += [tags.instance_number, tags.series_number, tags.localizer]
        groups = {"series": tags.series_uid, "study": tags.study_uid}
        values += [uid if keyed else self._keyed_hash(uid, kind) for kind, uid in groups.items()]
        marks = ", ".join("?" * len(values))
        return self._connection.write(f"INSERT INTO frames (file_id, {_FRAME}) VALUES ({marks})", values)

    def content(self, file_id: int, chosen: EmbeddingSet) -> list[tuple[Any, ...]]:
        """Return of each frame with a vector in a set its number, the number of frames, what is stored, and the vector.

        What is stored has the order of `Tags`, with keyed hashes for the UIDs.
        """
        sql = f"""
            SELECT {_FRAME}, vector FROM frames JOIN vectors ON frame_id = frames.id
            WHERE file_id = ? AND set_id = ? ORDER BY number
        """
        return self._connection.read(sql, [file_id, chosen.id])

    def copy_frame(self, source: int, file_id: int) -> int:
        """Store for a file what is stored of the frame `source`; return the id of the new frame."""
        sql = f"INSERT INTO frames (file_id, {_FRAME}) SELECT ?, {_FRAME} FROM frames WHERE id = ?"
        return self._connection.write(sql, [file_id, source])


def _values(record: FileRecord) -> list[bytes | str | int | None]:
    return [
        raw(record.path),
        record.root_id,
        record.size,
        record.mtime_ns,
        record.content_hash,
        record.frames,
        record.status,
        record.reason,
    ]
