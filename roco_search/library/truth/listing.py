"""Go through everything that a library holds: as columns to compute with, or row by row to hand on."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.library.records import EmbeddingSet, StoredFrame
from roco_search.library.truth.store import (
    AT_OR_BELOW,
    FRAME_COLUMNS,
    Store,
    at_or_below,
    prefix_range,
    raw,
    stored_frame,
)

Numbers = npt.NDArray[np.int64]

_FILES = "FROM frames JOIN files ON files.id = file_id"
_FROM = "FROM vectors JOIN frames ON frames.id = frame_id JOIN files ON files.id = file_id"


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

    ids: Numbers
    file: Numbers
    content: Numbers
    number: Numbers
    count: Numbers
    series: Numbers
    instance: Numbers
    files: list[ListedFile]

    @cached_property
    def folders(self) -> list[str]:
        """The folder of each of `files`."""
        return [os.path.dirname(file.path) for file in self.files]  # noqa: PTH120 - for every file there is


class Listing:
    """Reads the pictures that answer queries, in the caller's snapshot if there is one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def columns(self, active: EmbeddingSet) -> Columns:
        """Return all pictures of a set as columns."""
        sql = f"""
            SELECT frames.id, files.id, files.path, size, mtime_ns, content_hash,
                (SELECT roots.path FROM roots WHERE roots.id = root_id), number, count, series, instance_number
            {_FROM} WHERE set_id = ? ORDER BY frames.id
        """
        table = np.empty((active.count, 7), np.int64)
        places: dict[int, int] = {}
        contents: dict[bytes, int] = {}
        series: dict[str, int] = {}
        files: list[ListedFile] = []
        for row, found in enumerate(self._store.stream(sql, [active.id])):
            frame_id, file_id, path, size, mtime_ns, digest, root, number, count, series_hash, instance = found
            if (place := places.setdefault(file_id, len(files))) == len(files):
                files.append(ListedFile(path, size, mtime_ns, root))
            content = place if digest is None else contents.setdefault(digest, place)
            of_series = -1 if series_hash is None else series.setdefault(series_hash, len(series))
            table[row] = frame_id, place, content, number, count, of_series, -1 if instance is None else instance
        ids, file, content_of, numbers, counts, series_of, instances = np.ascontiguousarray(table.T)
        return Columns(ids, file, content_of, numbers, counts, series_of, instances, files)

    def rows(self, active: EmbeddingSet, under: str | None = None) -> Iterator[tuple[StoredFrame, bytes]]:
        """Yield each picture of a set with its vector (float32 little-endian), ascending by id, one at a time.

        `under` is the real path of a folder or file; None for everything.
        """
        condition = "" if under is None else f"AND {AT_OR_BELOW}"
        sql = f"SELECT {FRAME_COLUMNS}, vector {_FROM} WHERE set_id = ? {condition} ORDER BY frames.id"
        for *row, vector in self._store.stream(sql, [active.id, *([] if under is None else at_or_below(under))]):
            yield stored_frame(row), vector

    def frames_of(self, path: str) -> list[StoredFrame]:
        """Return the pictures of the file at a real path, ascending; none if it is not known, or has none."""
        sql = (
            "SELECT frames.id FROM frames JOIN files ON files.id = file_id WHERE path = CAST(? AS TEXT) ORDER BY number"
        )
        return list(self._store.frames(row[0] for row in self._store.read(sql, [raw(path)])).values())

    def frame_id(self, path: str, number: int) -> int | None:
        """Return the id of a frame, counted from 0, of the file at a real path; None if it is not known."""
        sql = f"SELECT frames.id {_FILES} WHERE path = CAST(? AS TEXT) AND number = ?"
        rows = self._store.read(sql, [raw(path), number])
        return rows[0][0] if rows else None

    def beside(self, frame: StoredFrame) -> list[int]:
        """Return the ids of the frames among which a person looks at this one, itself included, in their order.

        Those are its series by Instance Number; without a series, the frames of its file; of a file with one frame,
        those of its folder by name.
        """
        if frame.series is not None:
            sql = f"SELECT frames.id {_FILES} WHERE series = ? ORDER BY series_number, instance_number, path, number"
            return [frame_id for (frame_id,) in self._store.read(sql, [frame.series])]
        if frame.frames > 1:
            return [found.id for found in self.frames_of(frame.path)]
        folder = os.path.dirname(frame.path)  # noqa: PTH120 - of a name that need not be UTF-8
        sql = f"SELECT frames.id, path {_FILES} WHERE path >= CAST(? AS TEXT) AND path < CAST(? AS TEXT) ORDER BY path"
        rows = self._store.read(sql, prefix_range(folder))
        return [frame_id for frame_id, path in rows if os.path.dirname(path) == folder]  # noqa: PTH120

    def content_hash(self, path: str) -> bytes | None:
        """Return the SHA-256 of the file at a real path as it was indexed; None if it is not known."""
        rows = self._store.read("SELECT content_hash FROM files WHERE path = CAST(? AS TEXT)", [raw(path)])
        return rows[0][0] if rows else None

    def path_hash(self, path: str) -> str:
        """Return what stands for a path in a shared report: useless without this library's own key."""
        hashed = self._store.keyed_hash(path, "path")
        assert hashed is not None
        return hashed


def real_folder(path: str | os.PathLike[str]) -> str:
    """Return the real path of a folder or file that a person named, there or not."""
    text = os.fspath(path)
    if not text:
        raise InputError("An empty path names nothing; write `.` for this folder.")
    return os.path.realpath(os.path.expanduser(text))  # noqa: PTH111
