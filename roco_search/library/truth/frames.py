"""The pictures of a library as they are asked for: by id, by what is stored of them, or all of them in turn."""

import fnmatch
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from roco_search.library.faults import corrupt
from roco_search.library.truth.connection import Connection, at_or_below, raw
from roco_search.library.truth.embeddings import EmbeddingSet

Ids = npt.NDArray[np.int64]
Attribute = Literal["modality", "body_part", "view"]
Belonging = Literal["series", "study", "case", "file"]

_COLUMNS = (
    "frames.id, files.path, number, count, modality, body_part, view, laterality, rows, columns, series, study, "
    "series_number, instance_number, localizer"
)
_CASES_SINCE = 3  # the version of the schema
_FROM = "FROM frames JOIN files ON files.id = file_id"
_EMBEDDED = "FROM vectors JOIN frames ON frames.id = frame_id JOIN files ON files.id = file_id"


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """One picture as the library knows it; `frame` counts from 0; `series`, `study` and `case` are keyed hashes."""

    id: int
    path: str
    frame: int
    frames: int
    modality: str | None
    body_part: str | None
    view: str | None
    laterality: str | None
    rows: int | None
    columns: int | None
    series: str | None
    study: str | None
    series_number: int | None
    instance_number: int | None
    localizer: bool | None
    case: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Conditions on pictures. Values of one attribute are alternatives; all attributes that have any must hold.

    Attributes
    ----------
    modality, body_part, view
        Terms as they are stored; None stands for pictures of which the header says nothing.
    under
        Real paths of folders and files.
    path
        Patterns of the whole path as a shell's, with upper and lower case distinguished; ``*`` stands for ``/`` too.
    """

    modality: tuple[str | None, ...] = ()
    body_part: tuple[str | None, ...] = ()
    view: tuple[str | None, ...] = ()
    under: tuple[str, ...] = ()
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as it was when it was indexed; `root` is the folder through which it was found."""

    path: str
    size: int
    mtime_ns: int
    root: str | None


@dataclass(frozen=True)
class Columns:
    """The pictures of a library, n of them, ascending by id. All arrays are int64 ``(n,)``.

    Attributes
    ----------
    ids
        Frame ids.
    file
        Index into `files`.
    content
        Equal numbers mean files of equal bytes; the number is that of the first such file.
    number, count
        Which frame of how many, from 0.
    series, instance
        Equal numbers mean one series; DICOM's Instance Number. -1 where there is none.
    files
        Every file that has a picture, in the order in which they were indexed.
    """

    ids: Ids
    file: Ids
    content: Ids
    number: Ids
    count: Ids
    series: Ids
    instance: Ids
    files: list[ListedFile]

    @cached_property
    def folders(self) -> list[str]:
        """The folder of each of `files`."""
        return [os.path.dirname(file.path) for file in self.files]  # noqa: PTH120 - a name that need not be UTF-8


class Frames:
    """Every picture of a library. All of it only reads, in the caller's snapshot if there is one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _columns(self) -> str:
        """Return the columns of a `StoredFrame`; libraries of an earlier version know no cases."""
        return f"{_COLUMNS}, {'files.case_key' if self._connection.version() >= _CASES_SINCE else 'NULL'}"

    def get(self, ids: Iterable[int]) -> dict[int, StoredFrame]:
        """Return what is stored of these frames, by id, in the order asked for; an unknown id is left out."""
        sql = f"SELECT {self._columns()} {_FROM} WHERE frames.id = ?"
        rows = (row for frame_id in ids for row in self._connection.read(sql, [int(frame_id)]))
        return {row[0]: _stored(row) for row in rows}

    def count(self) -> int:
        """Return the number of frames."""
        return int(self._connection.read("SELECT COUNT(*) FROM frames")[0][0])

    def count_terms(self, attribute: Attribute) -> dict[str, int]:
        """Return how many frames have each term of an attribute, ascending by term; silent headers do not count."""
        sql = f"SELECT {attribute}, COUNT(*) FROM frames WHERE {attribute} IS NOT NULL GROUP BY 1 ORDER BY 1"
        return dict(self._connection.read(sql))

    def select(self, selection: Selection) -> Ids:
        """Return the ids of the frames that meet a selection, int64, ascending."""
        conditions, parameters = ["1"], list[Any]()
        terms: dict[Attribute, tuple[str | None, ...]] = {
            "modality": selection.modality,
            "body_part": selection.body_part,
            "view": selection.view,
        }
        for column, values in terms.items():
            if values:
                # IS, not =: it also compares with NULL.
                conditions.append(f"({' OR '.join([f'{column} IS ?'] * len(values))})")
                parameters += values
        if selection.under:
            places = [at_or_below(folder, links=True) for folder in selection.under]
            conditions.append(f"({' OR '.join(condition for condition, _ in places)})")
            parameters += [value for _, below in places for value in below]
        path = "files.path" if selection.path else "NULL"
        sql = f"SELECT frames.id, {path} {_FROM} WHERE {' AND '.join(conditions)} ORDER BY frames.id"
        rows = self._connection.read(sql, parameters)
        if selection.path:
            # SQLite's GLOB knows no [!…] and does not split names that are not UTF-8 correctly.
            fits = re.compile("|".join(fnmatch.translate(pattern) for pattern in selection.path)).match
            rows = [row for row in rows if fits(row[1])]
        return np.array([frame_id for frame_id, _ in rows], np.int64)

    def members(
        self, ids: Sequence[int], belonging: Belonging, *, of_no: Literal["series", "study"] | None = None
    ) -> dict[int, Ids]:
        """Return, for each of these frames, the ids of all frames of its series, study, case or file, itself included.

        A frame that belongs to no series (or study, or case) is left out, and so is with `of_no` one that belongs to a
        series (or study). Ids are int64, ascending.
        """
        if belonging == "case" and self._connection.version() < _CASES_SINCE:
            return {}
        key = {"file": "file_id", "case": "case_key"}.get(belonging, belonging)
        table = "frames JOIN files ON files.id = file_id" if belonging == "case" else "frames"
        wanted = json.dumps([int(frame_id) for frame_id in ids])
        sql = f"SELECT frames.id, {key} FROM {table} WHERE frames.id IN (SELECT value FROM json_each(?))"
        keys = {frame_id: found for frame_id, found in self._connection.read(sql, [wanted]) if found is not None}
        if not keys:  # SQLite would look through every frame to find none.
            return {}
        others = f"AND {of_no} IS NULL" if of_no else ""
        sql = f"""
            SELECT frames.id, {key} FROM {table} WHERE {key} IN (SELECT value FROM json_each(?)) {others}
            ORDER BY frames.id
        """
        groups: dict[str | int, list[int]] = {}
        for other, found in self._connection.read(sql, [json.dumps(sorted(set(keys.values())))]):
            groups.setdefault(found, []).append(other)
        return {frame_id: np.array(groups[found], np.int64) for frame_id, found in keys.items()}

    def beside(self, frame: StoredFrame) -> list[int]:
        """Return the ids of the frames among which a person looks at this one, itself included, in their order.

        Those are its series by Instance Number; without a series, the frames of its file; of a file with one frame,
        those of its folder by name.
        """
        if frame.series is not None:
            sql = f"SELECT frames.id {_FROM} WHERE series = ? ORDER BY series_number, instance_number, path, number"
            return [frame_id for (frame_id,) in self._connection.read(sql, [frame.series])]
        if frame.frames > 1:
            return [found.id for found in self.of_file(frame.path)]
        folder = os.path.dirname(frame.path)  # noqa: PTH120 - a name that need not be UTF-8
        condition, parameters = at_or_below(folder)
        rows = self._connection.read(f"SELECT frames.id, path {_FROM} WHERE {condition} ORDER BY path", parameters)
        return [frame_id for frame_id, path in rows if os.path.dirname(path) == folder]  # noqa: PTH120

    # By file.

    def of_file(self, path: str) -> list[StoredFrame]:
        """Return the pictures of the file at a real path, ascending; none if it is not known, or has none."""
        sql = f"SELECT {self._columns()} {_FROM} WHERE path = CAST(? AS TEXT) ORDER BY number"
        return [_stored(row) for row in self._connection.read(sql, [raw(path)])]

    def id_of(self, path: str, number: int) -> int | None:
        """Return the id of a frame, counted from 0, of the file at a real path; None if it is not known."""
        sql = f"SELECT frames.id {_FROM} WHERE path = CAST(? AS TEXT) AND number = ?"
        rows = self._connection.read(sql, [raw(path), number])
        return rows[0][0] if rows else None

    def content_hash(self, path: str) -> bytes | None:
        """Return the SHA-256 of the file at a real path as it was indexed; None if it is not known."""
        rows = self._connection.read("SELECT content_hash FROM files WHERE path = CAST(? AS TEXT)", [raw(path)])
        return rows[0][0] if rows else None

    def of_content(self, content_hash: bytes, path: str | None = None) -> Ids:
        """Return the ids of the frames of every file with a content (SHA-256) or at a real path, int64, ascending."""
        sql = f"SELECT frames.id {_FROM} WHERE content_hash = ? OR files.path = CAST(? AS TEXT) ORDER BY frames.id"
        rows = self._connection.read(sql, [content_hash, None if path is None else raw(path)])
        return np.array([frame_id for (frame_id,) in rows], np.int64)

    def contents(self) -> Iterator[tuple[int, bytes | None, str, int]]:
        """Yield id, content (SHA-256 of the file), path and number of each picture, ascending by id, one at a time."""
        return self._connection.stream(f"SELECT frames.id, content_hash, path, number {_FROM} ORDER BY frames.id")

    # All that answer queries.

    def columns(self, active: EmbeddingSet) -> Columns:
        """Return all pictures of a set as columns."""
        sql = f"""
            SELECT frames.id, files.id, files.path, size, mtime_ns, content_hash,
                (SELECT roots.path FROM roots WHERE roots.id = root_id), number, count, series, instance_number
            {_EMBEDDED} WHERE set_id = ? ORDER BY frames.id
        """
        table = np.empty((active.count, 7), np.int64)
        places: dict[int, int] = {}
        contents: dict[bytes, int] = {}
        series: dict[str, int] = {}
        files: list[ListedFile] = []
        row = -1
        for row, found in enumerate(self._connection.stream(sql, [active.id])):
            frame_id, file_id, path, size, mtime_ns, digest, root, number, count, series_hash, instance = found
            if (place := places.setdefault(file_id, len(files))) == len(files):
                files.append(ListedFile(path, size, mtime_ns, root))
            content = place if digest is None else contents.setdefault(digest, place)
            of_series = -1 if series_hash is None else series.setdefault(series_hash, len(series))
            table[row] = frame_id, place, content, number, count, of_series, -1 if instance is None else instance
        if row + 1 != active.count:
            raise corrupt(self._connection.directory)
        ids, file, content_of, numbers, counts, series_of, instances = np.ascontiguousarray(table.T)
        return Columns(ids, file, content_of, numbers, counts, series_of, instances, files)

    def headers(
        self, active: EmbeddingSet, first: int = 0
    ) -> Iterator[tuple[str | None, str | None, str | None, str | None]]:
        """Yield modality, body part, view and laterality of each picture of a set but the `first`, ascending by id."""
        sql = """
            SELECT modality, body_part, view, laterality FROM vectors JOIN frames ON frames.id = frame_id
            WHERE set_id = ? ORDER BY frames.id LIMIT -1 OFFSET ?
        """
        return self._connection.stream(sql, [active.id, first])

    def places(self, active: EmbeddingSet) -> Iterator[tuple[int, str, int]]:
        """Yield id, path and number (from 0) of each picture of a set, ascending by id, one at a time."""
        sql = f"SELECT frames.id, files.path, number {_EMBEDDED} WHERE set_id = ? ORDER BY frames.id"
        return self._connection.stream(sql, [active.id])

    def rows(self, active: EmbeddingSet, under: str | None = None) -> Iterator[tuple[StoredFrame, bytes]]:
        """Yield each picture of a set with its vector (float32 little-endian), ascending by id, one at a time.

        `under` is the real path of a folder or file; None for everything.
        """
        condition, parameters = ("1", []) if under is None else at_or_below(under, links=True)
        sql = f"SELECT {self._columns()}, vector {_EMBEDDED} WHERE set_id = ? AND {condition} ORDER BY frames.id"
        for *row, vector in self._connection.stream(sql, [active.id, *parameters]):
            yield _stored(row), vector


def _stored(row: Sequence[Any]) -> StoredFrame:
    """Return a row of `Frames._columns` as a frame."""
    values = list(row)
    values[-2] = None if row[-2] is None else bool(row[-2])
    return StoredFrame(*values)
