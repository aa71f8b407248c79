"""A searchable collection of images on disk. `Library` is the whole engine; a command only parses, calls, renders."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from roco_search.errors import LibraryEmpty
from roco_search.library.directory import default_library_path, discard_caches, located, prepare, writer_lock
from roco_search.library.faults import explain, no_image_yet
from roco_search.library.shared import publishing, pull
from roco_search.library.truth.captions import Captions
from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.files import Skipped
from roco_search.library.truth.frames import Frames, Selection, StoredFrame
from roco_search.library.truth.store import Store
from roco_search.library.vectors.index import VectorIndex
from roco_search.library.vectors.matrix import Generation
from roco_search.library.vectors.planner import Mode
from roco_search.system.files import sweep

if TYPE_CHECKING:
    from roco_search.imaging.frame import FrameChoice, Slices
    from roco_search.library.reports import IndexReport, LibraryHealth, LibraryStatus
    from roco_search.library.upkeep import GraphRecall, Vacuumed
    from roco_search.library.vectors.facts import Facts, Judge
    from roco_search.models.encoder import Encoder, EncoderIdentity
    from roco_search.system.progress import Progress

__all__ = [
    "EmbeddingSet",
    "Library",
    "Mode",
    "Selection",
    "Skipped",
    "StoredFrame",
    "default_library_path",
]

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
PathLike = str | os.PathLike[str]


class Library:
    """An open library. Many processes may search in it while one writes.

    `Library.create_or_open` is for indexing and `Library.open` for everything else; both are context managers. What is
    stored of the pictures is in `frames`, and the texts that belong to them in `captions`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index: VectorIndex | None = None
        self._facts: tuple[object, Facts] | None = None
        self.frames: Frames = store.frames
        self.captions: Captions = store.captions

    @classmethod
    def create_or_open(cls, directory: PathLike) -> Self:
        """Open the library in `directory`, a folder or an address, making it, private to its owner, if there is none.

        Raises
        ------
        InputError
            If `directory` is a file, or holds other things than a library.
        Busy, LibraryTooNew, LibraryCorrupt, LibraryUnreachable, StorageFull, LibraryError
        """
        folder = located(directory)
        pull(folder, writing=True)
        prepare(folder)
        with writer_lock(folder):
            sweep(folder)
            return cls(Store.create_or_open(folder))

    @classmethod
    def open(cls, directory: PathLike) -> Self:
        """Open an existing library, in a folder or at an address.

        Raises
        ------
        LibraryNotFound, LibraryTooNew, LibraryCorrupt, LibraryUnreachable, LibraryError
        """
        pull(folder := located(directory))
        return cls(Store.open(folder))

    def close(self) -> None:
        """Close the library."""
        self._index = None
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        with closing(self):
            self.explain(error)

    def explain(self, error: BaseException | None) -> None:
        """Raise `LibraryCorrupt` if rows that roco never wrote are what an error comes from."""
        explain(error, self.directory, self._store.is_well_formed)

    @property
    def directory(self) -> Path:
        """The library's folder."""
        return self._store.directory

    @property
    def model(self) -> EmbeddingSet | None:
        """The embeddings that answer queries; None if nothing was ever indexed."""
        return self._store.embeddings.active()

    def active(self) -> EmbeddingSet:
        """Return the embeddings that answer queries.

        Raises
        ------
        LibraryEmpty
            If there are none, or none is left.
        """
        active = self.model
        if active is None or not active.count:
            raise no_image_yet(self.directory)
        return active

    def roots(self) -> list[str]:
        """Return the folders and files that were indexed, by their real paths, ascending."""
        return [root.path for root in self._store.files.roots()]

    def status(self) -> "LibraryStatus":
        """Return what the library holds."""
        from roco_search.library.upkeep import status

        return status(self._store)

    def path_hash(self, path: str) -> str:
        """Return what stands for a path in a shared report: useless without this library's own key."""
        return self._store.keyed_hash(path, "path") or ""

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let everything inside see one state of the library, whatever another process writes meanwhile."""
        with self._store.snapshot():
            yield

    # Its vectors. All of these raise LibraryEmpty where there are none.

    def vectors(self) -> VectorIndex:
        """Return the index of the vectors, brought up to date first."""
        with self._store.snapshot():
            active = self.active()
            if self._index is None or self._index.generation != Generation.of(self._store, active):
                self._index = VectorIndex.open(self._store, active)
            return self._index

    def embedded(self, ids: Ids | None = None) -> Ids:
        """Return the ids of the frames that have a vector, int64, ascending: of all frames, or among `ids`.

        While a re-embedding is incomplete, a frame can have a vector of the new model alone.
        """
        index = self.vectors()
        return index.ids if ids is None else index.ids[index.rows(ids)]

    def embedding(self, frame_id: int) -> Vectors | None:
        """Return the vector of a frame, float32 ``(dim,)`` of unit norm; None if it has none."""
        known = self.embedded(np.array([frame_id], np.int64))
        return self.embeddings(known)[0] if len(known) else None

    def embeddings(self, ids: Ids | None = None) -> Vectors:
        """Return the vectors of frames, float32 ``(n, dim)`` of unit norm; row i is that of ``ids[i]``.

        `ids` are int64 in any order; None for all, in the order of `embedded`, as a read-only map of the file.

        Raises
        ------
        InputError
            If a frame has no vector; `embedded` leaves these out.
        """
        index = self.vectors()
        return index.matrix if ids is None else index.vectors_of(ids)

    def scores(self, query: Vectors, ids: Ids) -> Vectors:
        """Return the cosine similarities of frames to one query, float32 ``(n,)``, equal to those of `search`."""
        index = self.vectors()
        return index.scores(query, index.rows_of(ids))

    def search(
        self,
        queries: Vectors,
        k: int,
        mode: Mode = "auto",
        among: Ids | None = None,
        bias: Vectors | None = None,
    ) -> tuple[Ids, Vectors]:
        """Find the frames nearest to query vectors, float32 ``(q, dim)`` of unit norm.

        Return frame ids, int64, and cosine similarities, float32, both ``(q, k)``, best first. The parameters, and what
        is refused, are those of `VectorIndex.search`.
        """
        return self.vectors().search(queries, k, mode, among, bias)

    def facts(self, judge: "Judge") -> "Facts":
        """Return what is known of each row of `vectors` apart from its vector; see `open_facts`."""
        from roco_search.library.vectors.facts import open_facts

        with self._store.snapshot():
            index = self.vectors()
            known = (index.generation, judge.key)
            if self._facts is None or self._facts[0] != known:
                self._facts = (known, open_facts(self._store, self.active(), index.matrix, index.parts, judge))
            return self._facts[1]

    # What changes it. Each holds the writer's lock, so each can raise Busy, StorageFull and LibraryError.

    def index(
        self,
        paths: Iterable[PathLike] | None,
        encoder: "Encoder",
        *,
        reembed: bool = False,
        frames: "FrameChoice | None" = None,
        slices: "Slices | None" = None,
        prune_missing: bool = False,
        retry_failed: bool = False,
        rehash: bool = False,
        captions: bool | None = None,
        reports: bool | None = None,
        progress: "Progress | None" = None,
        batch_size: int = 32,
    ) -> "IndexReport":
        """Bring the library up to date with folders and files; read only what is new or changed.

        Parameters
        ----------
        paths
            Folders, searched recursively, and single files. None for all that were indexed before.
        encoder
            The model; without `reembed` it must be the library's own.
        reembed
            First embed everything anew with `encoder`; the old vectors answer until the new ones are complete. If that
            cannot be completed now, nothing else is done: see `IndexReport.reembedding`.
        frames
            Of files with several frames: "middle", "all", or a number of them. None keeps the choice each folder was
            indexed with, which is "middle" at first.
        slices
            Which slices of volumes "middle" stands for. None keeps the choice each folder was indexed with.
        prune_missing
            Also drop the images of folders that vanished or are suddenly empty.
        retry_failed
            Read files again that could not be read before, although they are unchanged.
        rehash
            Read every file to see whether its content has changed, whatever its size and time say. Only what has
            changed is embedded.
        captions
            Whether to read captions: tables that name the images, texts beside them, folders named after a class. None
            keeps what was asked for with each folder, which is nothing at first; False forgets what was read.
        reports
            Whether to read reports of the same studies: structured reports, and encapsulated PDFs with a text layer.
            They name patients. None and False as for `captions`.
        progress
            Follows the run.
        batch_size
            Frames in one call of the encoder and, about, files in one transaction.

        Raises
        ------
        InputError, LibraryEmpty
            If there is nothing to index or to embed anew: no such path, no image, or none left where images were.
        ModelMismatch
        KeyboardInterrupt
            As it comes; all but the batch in flight is stored, and the next run continues.
        """
        from roco_search.library.ingest.reembedding import ReembedRun
        from roco_search.library.ingest.run import IndexRun
        from roco_search.library.ingest.sources import ImageFiles

        with self.writing(encoder) as store:
            again = ReembedRun(store, encoder, progress=progress, batch_size=batch_size) if reembed else None
            run = IndexRun(store, ImageFiles(encoder, batch_size), progress=progress)
            report = run.run(
                paths, frames, prune_missing, retry_failed,
                rehash=rehash, reembed=again, slices=slices, captions=captions, reports=reports,
            )  # fmt: skip
        self._refresh()
        return report

    def remove(self, path: PathLike) -> int:
        """Forget a folder or a file and everything below it; return the number of image files forgotten.

        The files themselves are not touched. Nothing of what is forgotten stays in the database or the caches.

        Raises
        ------
        InputError
            If the library knows nothing there.
        """
        from roco_search.library.upkeep import remove

        with self.writing() as store:
            count = remove(store, path)
        self._refresh()
        return count

    def relocate(self, old: PathLike, new: PathLike) -> int:
        """Note that images have moved from one folder to another; see `roco_search.library.moving.relocate`."""
        from roco_search.library.moving import relocate

        with self.writing() as store:
            return relocate(store, old, new)

    def vacuum(self) -> "Vacuumed":
        """Give back the disk space that is no longer needed; see `roco_search.library.upkeep.vacuum`."""
        from roco_search.library.upkeep import vacuum

        with self.writing(clean=True) as store:
            return vacuum(store)

    def verify(self) -> "LibraryHealth":
        """Check every table, count and cache, reading everything; a damaged cache is removed."""
        from roco_search.library.upkeep import verify

        self._index = None
        return verify(self._store)

    def recall(self, texts: Callable[[], Vectors] | None = None) -> "GraphRecall | None":
        """Return which share of the ten nearest the graph finds; None without one. See `upkeep.recall`."""
        from roco_search.library.upkeep import recall

        return recall(self.vectors(), texts) if self.model and self.model.count else None

    @contextmanager
    def writing(
        self, encoder: "EncoderIdentity | None" = None, key: str | None = None, *, clean: bool = False
    ) -> Iterator[Store]:
        """Hold the writer's lock and give the store; see `roco_search.library.shared.publishing`."""
        with writer_lock(self.directory), publishing(self._store, encoder, key, clean=clean):
            self._index = None
            yield self._store

    def _refresh(self) -> None:
        """Bring the matrix up to date now, so that the next query need not."""
        self._index = None
        try:
            self.vectors()
        except LibraryEmpty:
            discard_caches(self.directory)
