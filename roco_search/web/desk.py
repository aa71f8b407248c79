"""What the tabs ask of the library and its model.

SQLite's connection belongs to the thread that opened it, so one thread owns the library and answers one question after
the other; each takes milliseconds. Reading files and embedding happens in the threads of those who ask.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from roco_search.embedding_map.layout import folder_names
from roco_search.errors import InputError
from roco_search.figures.page import printable
from roco_search.library import Library, LibraryStatus, StoredFrame
from roco_search.library.truth.selection import Term
from roco_search.search import Filters, Hit, search
from roco_search.search.embedding import unit
from roco_search.web.encoding import SharedEncoder

if TYPE_CHECKING:
    from roco_search.embedding_map import EmbeddingMap, Method
    from roco_search.models import Encoder

Answer = TypeVar("Answer")
Vector = npt.NDArray[np.float32]
Values = tuple[str, ...]

PAGE = 12  # hits at once: three rows of four at 1280 pixels
MOST_FOLDERS = 200  # in the filter; of more, the fullest


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """An image that a person brought: its embedding, the SHA-256 of its file, and what to call it."""

    vector: Vector
    content: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Where:
    """The filters of a search, as the tab has them; `folder` holds keys of `Folder`."""

    modality: Values = ()
    body_part: Values = ()
    view: Values = ()
    folder: Values = ()
    guess: bool = False
    per_series: bool = True


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for: a text, an upload, both, or what is like a picture of the library."""

    text: str = ""
    upload: Upload | None = None
    like: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Hits with the ids of their frames, whether there may be more, and how long it took."""

    hits: list[tuple[int, Hit]]
    more: bool
    seconds: float
    total: int


@dataclass(frozen=True, slots=True)
class Beside:
    """A picture and those beside it, in order: at most so many that they fit a strip."""

    frame: StoredFrame
    neighbours: list[StoredFrame]
    place: int
    count: int
    kind: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of images: what stands for it in the page, which never sees a path, what it is called, its pictures."""

    key: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a library can be asked for: each term with its number of pictures, and the folders."""

    modality: dict[str, int]
    body_part: dict[str, int]
    view: dict[str, int]
    folders: list[Folder]


class Desk:
    """A library that many threads may ask.

    Parameters
    ----------
    directory
        Where the library lies.
    encoder
        Its model.
    redact_paths
        Show keyed hashes instead of file names, which may name patients.

    Raises
    ------
    LibraryNotFound, LibraryEmpty, LibraryError
    """

    def __init__(self, directory: Path, encoder: Encoder, *, redact_paths: bool = False) -> None:
        self.encoder: Encoder = SharedEncoder(encoder)  # type: ignore[assignment]
        self.redact_paths = redact_paths
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="roco-library")
        try:
            self._library = self._thread.submit(Library.open, directory).result()
            self.ask(Library.vectors)
        except BaseException:
            self._thread.shutdown()
            raise
        self._maps: dict[tuple[str, bool, object], EmbeddingMap] = {}
        self._mapping = Lock()
        self._folders: dict[str, str] = {}

    def __enter__(self) -> Desk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.submit(self._library.close).result()
        self._thread.shutdown()

    def ask(self, question: Callable[[Library], Answer]) -> Answer:
        """Return what the library answers; the question is put in the library's own thread."""
        return self._thread.submit(question, self._library).result()

    def find(self, query: Query, where: Where, *, n: int = PAGE, offset: int = 0) -> Found:
        """Search.

        Raises
        ------
        InputError
            If there is nothing to look for, or a filter names what the library has not.
        """
        start = perf_counter()
        vector, text = self._vector(query), query.text.strip()
        if text:
            said = self.encoder.encode_texts([text])[0]
            vector = said if vector is None else vector + said
        if vector is None:
            raise InputError('Say what to look for, such as "brain MRI", or give an image.')
        question = partial(self._search, query=query, vector=unit(vector), where=where, n=n + 1, offset=offset)
        hits, total = self.ask(question)
        return Found(hits[:n], len(hits) > n, perf_counter() - start, total)

    def _vector(self, query: Query) -> Vector | None:
        if query.upload is not None:
            return query.upload.vector
        if query.like is None:
            return None
        frame_id = query.like

        def stored(library: Library) -> Vector | None:
            index = library.vectors()
            rows = index.rows(np.array([frame_id], np.int64))
            return np.array(index.matrix[rows[0]]) if len(rows) else None

        found = self.ask(stored)
        if found is None:
            raise InputError("That picture is not in the library any more; search again.")
        return found

    def _search(
        self, library: Library, *, query: Query, vector: Vector, where: Where, n: int, offset: int
    ) -> tuple[list[tuple[int, Hit]], int]:
        own = np.empty(0, np.int64)
        if query.upload is not None:
            own = library.same_file(query.upload.content)
        elif query.like is not None:
            for frame in library.frames([query.like]).values():
                own = library.same_file(library.listing.content_hash(frame.path) or b"", frame.path)
        hits = search(
            library,
            self.encoder,
            vector=vector,
            without=own,
            n=n,
            offset=offset,
            filters=Filters(
                modality=where.modality, body_part=where.body_part, view=where.view, under=self._paths(where.folder)
            ),
            guess=where.guess,
            group_by="series" if where.per_series else "none",
            fold=where.per_series,
        )
        ids = [library.listing.frame_id(hit.path, hit.frame) for hit in hits]
        total = library.model.count if library.model else 0
        return [(frame_id, hit) for frame_id, hit in zip(ids, hits, strict=True) if frame_id is not None], total

    def frame(self, frame_id: int) -> StoredFrame | None:
        """Return what is stored of a frame; None for an id that the library has not."""
        return self.ask(lambda library: library.frames([frame_id])).get(frame_id)

    def beside(self, frame_id: int, most: int = 25) -> Beside | None:
        """Return a frame among those of its series, file or folder; None for an id that the library has not."""

        def question(library: Library) -> Beside | None:
            frame = library.frames([frame_id]).get(frame_id)
            if frame is None:
                return None
            ids = library.listing.beside(frame)
            place = ids.index(frame_id)
            start = max(0, min(place - most // 2, len(ids) - most))
            shown = list(library.frames(ids[start : start + most]).values())
            kind = "series" if frame.series is not None else "file" if frame.frames > 1 else "folder"
            return Beside(frame, shown, place, len(ids), kind)

        return self.ask(question)

    def name(self, path: str) -> str:
        """Return what a person is shown for a file: its name, or a keyed hash where names are to be hidden."""
        if self.redact_paths:
            return self.ask(lambda library: library.listing.path_hash(path))[:12]
        return printable(os.path.basename(path))  # noqa: PTH119 - a name that need not be UTF-8

    def status(self) -> LibraryStatus:
        """Return what the library holds."""
        return self.ask(Library.status)

    def holdings(self) -> Holdings:
        """Return what can be asked for now."""
        counts = self.ask(_count_folders)
        fullest = sorted(sorted(counts, key=lambda folder: (-counts[folder], folder))[:MOST_FOLDERS])
        names = folder_names(fullest)
        keys = self.ask(lambda library: [library.listing.path_hash(folder) for folder in fullest])
        self._folders = dict(zip(keys, fullest, strict=True))
        folders = [
            Folder(key, f"folder {number}" if self.redact_paths else printable(names[path]), counts[path])
            for number, (key, path) in enumerate(self._folders.items(), start=1)
        ]
        terms: tuple[Term, ...] = ("modality", "body_part", "view")
        modality, body_part, view = self.ask(lambda library: [library.count_terms(term) for term in terms])
        return Holdings(modality, body_part, view, folders)

    def _paths(self, keys: Values) -> Values:
        if not set(keys) <= self._folders.keys():
            raise InputError("The library has no such folder any more; load the page again.")
        return tuple(self._folders[key] for key in keys)

    def map(self, method: Method | None, *, guess: bool) -> EmbeddingMap:
        """Return the map of the library; one is made once for each state of it.

        Raises
        ------
        InputError
            If the method is not there.
        """
        from roco_search.classify.guesses import Guesses
        from roco_search.embedding_map import lay_out, read_pictures

        key = (method or "", guess, self.ask(lambda library: library.vectors().generation))
        with self._mapping:
            if key not in self._maps:
                self._maps = {other: made for other, made in self._maps.items() if other[2] == key[2]}
                guesses = Guesses(self.encoder) if guess else None
                self._maps[key] = lay_out(self.ask(read_pictures), method, guesses)
            return self._maps[key]


def _count_folders(library: Library) -> dict[str, int]:
    active = library.model
    assert active is not None
    columns = library.listing.columns(active)
    counts: dict[str, int] = {}
    for file in columns.file.tolist():
        folder = columns.folders[file]
        counts[folder] = counts.get(folder, 0) + 1
    return counts
