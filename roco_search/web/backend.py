"""The library and its model, as the tabs and routes of the demo use them from many threads.

An SQLite connection belongs to the thread that opened it, so one thread owns the library and answers one question
after another; each takes milliseconds. Files are read and images embedded in the threads of the callers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from roco_search.classify.guesses import ATTRIBUTES, Guesses
from roco_search.embedding_map.layout import folder_names
from roco_search.errors import InputError
from roco_search.library import Library, StoredFrame
from roco_search.library.directory import located
from roco_search.library.reports import LibraryStatus
from roco_search.library.truth.frames import Attribute
from roco_search.probe.feedback.direction import learned
from roco_search.probe.ranking import base_vector
from roco_search.search import Filters, Hit, Understood, read, read_query, search
from roco_search.search.browsing import Browsing
from roco_search.search.suggestions import suggest
from roco_search.search.terms import steer
from roco_search.system.text import printable
from roco_search.vocabulary.concepts import spoken_term
from roco_search.web.asking import PAGE, Conditions, Found, Query, Values
from roco_search.web.brought import Brought
from roco_search.web.mapping import Maps
from roco_search.web.sharing import Freshness, Precedence, SharedEncoder

if TYPE_CHECKING:
    from roco_search.models import Encoder

Answer = TypeVar("Answer")
Vector = npt.NDArray[np.float32]

MOST_SCROLLED = 2_000  # images of a series, file or folder around the one that is open
MOST_FOLDERS = 200  # in the filter: those with the most pictures
MOST_BROWSED = 8  # orders and filters of which the pictures that were shown are remembered


@dataclass(frozen=True, slots=True)
class Neighbours:
    """A frame, and those around it in its series, file or folder, in order: `place` of `count`, counted from 0.

    `ids` are those that one scrolls through, all of them or at most `MOST_SCROLLED`; the first is number `first`.
    """

    frame: StoredFrame
    neighbours: list[StoredFrame]
    place: int
    count: int
    kind: str
    ids: list[int]
    first: int


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of images: the key that the page knows it by instead of a path, its name, and its number of pictures."""

    key: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the filters offer: each term with its number of pictures, and the folders."""

    modality: dict[str, int]
    body_part: dict[str, int]
    view: dict[str, int]
    folders: list[Folder]


class Desk:
    """A library and its model that many threads may use at once.

    Parameters
    ----------
    directory
        The library's folder.
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
        self.guesses = Guesses(self.encoder)
        self.brought = Brought()
        self.precedence = Precedence()
        self._fresh = Freshness(located(directory))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="roco-library")
        try:
            self._library = self._thread.submit(Library.open, directory).result()
            self.ask(Library.vectors)
        except BaseException:
            self._thread.shutdown()
            raise
        self.maps = Maps(self.ask, self.guesses)
        self._folders: dict[str, str] = {}
        self._browsed: dict[object, Browsing] = {}
        self._suggested: tuple[object, list[str]] | None = None

    def __enter__(self) -> Desk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.submit(self._library.close).result()
        self._thread.shutdown()

    def ask(self, question: Callable[[Library], Answer]) -> Answer:
        """Call a function with the library, in the library's own thread, and return its answer."""
        try:
            return self._thread.submit(question, self._library).result()
        except Exception as error:
            self._thread.submit(self._library.explain, error).result()
            raise

    def find(self, query: Query, conditions: Conditions, *, n: int = PAGE, offset: int = 0) -> Found:
        """Search: `n` hits after the first `offset`.

        Raises
        ------
        InputError
            If there is nothing to look for, or a filter names something that the library does not have.
        """
        self._fresh.ask()
        start = perf_counter()
        vector, text = self._vector(query), query.text.strip()
        if not query.asks:
            raise InputError('Write what to look for, such as "brain MRI", or add an image.')
        if vector is not None:
            vector = steer([vector, *(self.encoder.encode_texts([text]) if text else [])], [], [])
        elif not text:
            vector = steer([], self._embeddings(query.plus), self._embeddings(query.minus))
        question = partial(self._search, query=query, vector=vector, conditions=conditions, n=n + 1, offset=offset)
        hits, understood, total = self.ask(question)
        return Found(hits[:n], len(hits) > n, perf_counter() - start, total, understood)

    def browse(self, query: Query, conditions: Conditions, *, n: int = PAGE, offset: int = 0) -> Found:
        """Return the library's pictures in the query's order: `n` after the first `offset`. Raises as `find`."""
        start = perf_counter()
        filters = self._filters(conditions)

        def question(library: Library) -> list[tuple[int, Hit]]:
            with library.snapshot():
                key = (library.vectors().generation, query.order, conditions)
                if key not in self._browsed:
                    if len(self._browsed) >= MOST_BROWSED:
                        self._browsed.pop(next(iter(self._browsed)))
                    self._browsed[key] = Browsing(
                        library, self.guesses, filters=filters, guess=conditions.guess, order=query.order,
                        group_by="series" if conditions.per_series else "none",
                    )  # fmt: skip
                return self._browsed[key].page(library, n + 1, offset)

        hits = self.ask(question)
        return Found(hits[:n], len(hits) > n, perf_counter() - start, self.ask(lambda library: library.active().count))

    def suggestions(self) -> list[str]:
        """Return queries that the library can answer; they are made once for each state of the library."""

        def question(library: Library) -> list[str]:
            with library.snapshot():
                generation = library.vectors().generation
                if self._suggested is None or self._suggested[0] != generation:
                    self._suggested = generation, suggest(library, self.guesses)
                return self._suggested[1]

        return self.ask(question)

    def _filters(self, conditions: Conditions) -> Filters:
        return Filters(
            modality=conditions.modality,
            body_part=conditions.body_part,
            view=conditions.view,
            under=self._paths(conditions.folder),
        )

    def _vector(self, query: Query) -> Vector | None:
        if query.upload is not None:
            return query.upload.vector
        if query.like is None:
            return None
        frame_id = query.like
        found = self.ask(lambda library: library.embedding(frame_id))
        if found is None:
            raise InputError("That picture is no longer in the library; search again.")
        return found

    def _embeddings(self, ids: Sequence[int]) -> list[Vector]:
        found = [self.ask(partial(Library.embedding, frame_id=frame_id)) for frame_id in ids]
        return [vector for vector in found if vector is not None]

    def _search(
        self, library: Library, *, query: Query, vector: Vector | None, conditions: Conditions, n: int, offset: int
    ) -> tuple[list[tuple[int, Hit]], Understood | None, int]:
        own = np.empty(0, np.int64)
        if query.upload is None and query.like is not None:
            for frame in library.frames.get([query.like]).values():
                own = np.array([found.id for found in library.frames.of_file(frame.path)], np.int64)
        own = np.union1d(own, np.array([*query.plus, *query.minus], np.int64))
        terms = [query.text.strip()] if vector is None else []
        understood = read(library, terms, verbatim=query.verbatim) if terms else None
        toward = None
        if query.asks_more:  # what was marked is not shown again, as in `roco query --mark`
            base = (
                base_vector(library, self.encoder, read_query(terms, text=True), understood)
                if vector is None
                else vector
            )
            toward = learned(library, base, query.plus, query.minus)
        hits = search(
            library,
            self.encoder,
            terms,
            vector=vector,
            understood=understood,
            toward=toward,
            without=own,
            n=n,
            offset=offset,
            filters=self._filters(conditions),
            guess=conditions.guess,
            group_by="series" if conditions.per_series else "none",
            fold=conditions.per_series,
        )
        ids = [library.frames.id_of(hit.path, hit.frame) for hit in hits]
        total = library.model.count if library.model else 0
        known = [(frame_id, hit) for frame_id, hit in zip(ids, hits, strict=True) if frame_id is not None]
        return self._with_guesses(library, known), None if query.verbatim else understood, total

    def _with_guesses(self, library: Library, hits: list[tuple[int, Hit]]) -> list[tuple[int, Hit]]:
        """Let the model say what neither the header nor the search said of a hit."""
        silent = [frame_id for frame_id, hit in hits if not (hit.taken_for or (hit.modality and hit.body_part))]
        if not silent:
            return hits
        vectors = library.embeddings(np.array(silent, np.int64))
        modality, body_part = (
            dict(zip(silent, self.guesses.guess(name, vectors), strict=True)) for name in ("modality", "body_part")
        )
        return [
            (
                frame_id,
                replace(
                    hit,
                    modality=hit.modality or modality[frame_id],
                    body_part=hit.body_part or body_part[frame_id],
                    modality_guessed=hit.modality_guessed or not hit.modality,
                    body_part_guessed=hit.body_part_guessed or not hit.body_part,
                )
                if frame_id in modality
                else hit,
            )
            for frame_id, hit in hits
        ]

    def frame(self, frame_id: int) -> StoredFrame | None:
        """Return what is stored of a frame; None if the library has no frame with this id."""
        return self.ask(lambda library: library.frames.get([frame_id])).get(frame_id)

    def guessed(self, frame: StoredFrame) -> dict[str, str]:
        """Return what the model takes a frame for, in words, by what its header does not say."""
        vector = self.ask(lambda library: library.embedding(frame.id))
        if vector is None:
            return {}
        silent = [name for name in ATTRIBUTES if not getattr(frame, name)]
        return {name: spoken_term(name, self.guesses.guess(name, vector[None])[0]) for name in silent}

    def neighbours(self, frame_id: int, most: int = 25) -> Neighbours | None:
        """Return a frame among at most `most` of its series, file or folder; None if the library has no such id."""

        def question(library: Library) -> Neighbours | None:
            frame = library.frames.get([frame_id]).get(frame_id)
            if frame is None:
                return None
            ids = library.frames.beside(frame)
            place = ids.index(frame_id)
            start = max(0, min(place - most // 2, len(ids) - most))
            shown = list(library.frames.get(ids[start : start + most]).values())
            kind = "series" if frame.series is not None else "file" if frame.frames > 1 else "folder"
            first = max(0, min(place - MOST_SCROLLED // 2, len(ids) - MOST_SCROLLED))
            return Neighbours(frame, shown, place, len(ids), kind, ids[first : first + MOST_SCROLLED], first)

        return self.ask(question)

    def name(self, path: str) -> str:
        """Return the name to show for a file: its own, or a keyed hash with `redact_paths`."""
        if self.redact_paths:
            return self.ask(lambda library: library.path_hash(path))[:12]
        return printable(os.path.basename(path))  # noqa: PTH119 - a name that need not be UTF-8

    def status(self) -> LibraryStatus:
        """Return what the library holds."""
        return self.ask(Library.status)

    def holdings(self) -> Holdings:
        """Return what the filters offer now."""
        counts = self.ask(_count_folders)
        fullest = sorted(sorted(counts, key=lambda folder: (-counts[folder], folder))[:MOST_FOLDERS])
        names = folder_names(fullest)
        keys = self.ask(lambda library: [library.path_hash(folder) for folder in fullest])
        self._folders = dict(zip(keys, fullest, strict=True))
        folders = [
            Folder(key, f"folder {number}" if self.redact_paths else printable(names[path]), counts[path])
            for number, (key, path) in enumerate(self._folders.items(), start=1)
        ]
        terms: tuple[Attribute, ...] = ("modality", "body_part", "view")
        modality, body_part, view = self.ask(lambda library: [library.frames.count_terms(term) for term in terms])
        return Holdings(modality, body_part, view, folders)

    def _paths(self, keys: Values) -> Values:
        if not set(keys) <= self._folders.keys():
            raise InputError("The library no longer has that folder; reload the page.")
        return tuple(self._folders[key] for key in keys)


def _count_folders(library: Library) -> dict[str, int]:
    columns = library.frames.columns(library.active())
    counts: dict[str, int] = {}
    for file in columns.file.tolist():
        folder = columns.folders[file]
        counts[folder] = counts.get(folder, 0) + 1
    return counts
