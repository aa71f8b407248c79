"""A searchable collection of images on disk. `Library` is the whole engine; a command only parses, calls, renders."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError, LibraryEmpty
from roco_search.library.place import default_library_path, discard_caches, prepare, sweep_temporary, writer_lock
from roco_search.library.records import (
    EmbeddingSet,
    IndexReport,
    LibraryHealth,
    LibraryStatus,
    Progress,
    ReembedReport,
    RootStatus,
    Skipped,
    StoredFrame,
)
from roco_search.library.selection import Belonging, Selection, Term, count_terms, members, same_file, select
from roco_search.library.store import Store
from roco_search.library.vectors import Generation, Mode, VectorIndex

if TYPE_CHECKING:
    from roco_search.imaging.frame import FrameChoice
    from roco_search.library.listing import Listing
    from roco_search.library.upkeep import Vacuumed
    from roco_search.models.encoder import Encoder

__all__ = [
    "EmbeddingSet",
    "IndexReport",
    "Library",
    "LibraryHealth",
    "LibraryStatus",
    "Mode",
    "Progress",
    "ReembedReport",
    "RootStatus",
    "Selection",
    "Skipped",
    "StoredFrame",
    "default_library_path",
]


class Library:
    """An open library. Many processes may search in it while one writes.

    Use `Library.create_or_open` to index and `Library.open` for everything else; both are context managers.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index: VectorIndex | None = None

    @classmethod
    def create_or_open(cls, directory: str | os.PathLike[str]) -> "Library":
        """Open the library in `directory`, making it, private to its owner, if there is none.

        Raises
        ------
        InputError
            If `directory` is a file, or holds other things than a library.
        LibraryBusy, LibraryTooNew, LibraryCorrupt, StorageFull, LibraryError
        """
        place = Path(directory).absolute()
        prepare(place)
        with writer_lock(place):
            sweep_temporary(place)
            return cls(Store.create_or_open(place))

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> "Library":
        """Open an existing library.

        Raises
        ------
        LibraryNotFound, LibraryTooNew, LibraryCorrupt, LibraryError
        """
        return cls(Store.open(Path(directory).absolute()))

    def close(self) -> None:
        """Close the library."""
        self._index = None
        self._store.close()

    def __enter__(self) -> "Library":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def directory(self) -> Path:
        """Where the library lies."""
        return self._store.directory

    @property
    def model(self) -> EmbeddingSet | None:
        """The embeddings that answer queries; None if nothing was ever indexed."""
        return self._store.embedding_set("active")

    def index(
        self,
        paths: Iterable[str | os.PathLike[str]],
        encoder: "Encoder",
        *,
        frames: "FrameChoice | None" = None,
        prune_missing: bool = False,
        retry_failed: bool = False,
        progress: Progress | None = None,
        batch_size: int = 32,
    ) -> IndexReport:
        """Bring the library up to date with folders and files; read only what is new or changed.

        Parameters
        ----------
        paths
            Folders, walked through, and single files.
        encoder
            The model; after the first time it has to be the same.
        frames
            Of files with several frames: "middle", "all", or so many. None keeps what each folder was indexed with,
            at first "middle".
        prune_missing
            Also drop what lay in folders that vanished or are suddenly empty.
        retry_failed
            Read files again that could not be read before, although they are unchanged.
        progress
            Is told how far it is.
        batch_size
            Frames in one call of the encoder and, about, files in one transaction.

        Raises
        ------
        InputError
            If there is nothing to index: no such path, no image, or nothing left where images were.
        ModelMismatch, LibraryBusy, StorageFull, LibraryError
        KeyboardInterrupt
            As it comes; all but the batch in flight is stored.
        """
        from roco_search.library.indexing import IndexRun

        with writer_lock(self.directory):
            self._store.delete_retired()
            run = IndexRun(self._store, encoder, progress=progress, batch_size=batch_size)
            report = run.run(paths, frames, prune_missing, retry_failed)
        self._refresh()
        return report

    def reembed(
        self,
        encoder: "Encoder",
        *,
        prune_missing: bool = False,
        progress: Progress | None = None,
        batch_size: int = 32,
    ) -> ReembedReport:
        """Embed everything with another model; the old one answers until the new vectors are complete.

        An interrupted run is continued by the next. What becomes of files that changed or cannot be read any more:
        see `roco_search.library.reembedding`. If the library has this model already, nothing is done.

        Raises
        ------
        LibraryEmpty, LibraryBusy, StorageFull, LibraryError
        """
        from roco_search.library.reembedding import ReembedRun

        with writer_lock(self.directory):
            run = ReembedRun(self._store, encoder, progress=progress, batch_size=batch_size)
            report = run.run(prune_missing)
        self._refresh()
        return report

    def remove(self, path: str | os.PathLike[str]) -> int:
        """Forget a folder or a file and everything below it; return the number of images forgotten.

        The files themselves are not touched. Nothing of what is forgotten stays in the database or the caches.

        Raises
        ------
        InputError
            If the library knows nothing there.
        LibraryBusy, StorageFull, LibraryError
        """
        from roco_search.library.listing import real_folder
        from roco_search.library.upkeep import remove

        with writer_lock(self.directory):
            self._index = None
            count = remove(self._store, real_folder(path))
        self._refresh()
        return count

    def status(self) -> LibraryStatus:
        """Tell what the library holds."""
        from roco_search.library.upkeep import status

        return status(self._store)

    def verify(self) -> LibraryHealth:
        """Check every table, count and cache, reading everything; a damaged cache is removed."""
        from roco_search.library.upkeep import verify

        self._index = None
        return verify(self._store)

    def recall(self) -> float | None:
        """Return the share of the ten nearest that the graph finds; None without one. See `upkeep.recall`."""
        from roco_search.library.upkeep import recall

        return recall(self._store, self.vectors()) if self.model and self.model.count else None

    def vacuum(self) -> "Vacuumed":
        """Give the disk back what is no longer needed; see `roco_search.library.upkeep.vacuum`.

        Raises
        ------
        LibraryBusy, StorageFull, LibraryError
        """
        from roco_search.library.upkeep import vacuum

        with writer_lock(self.directory):
            self._index = None
            return vacuum(self._store)

    def relocate(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
        """Note that images have moved from one folder to another; see `roco_search.library.moving.relocate`.

        Raises
        ------
        InputError, LibraryBusy, StorageFull, LibraryError
        """
        from roco_search.library.listing import real_folder
        from roco_search.library.moving import relocate

        with writer_lock(self.directory):
            return relocate(self._store, real_folder(old), real_folder(new))

    @property
    def listing(self) -> "Listing":
        """Everything that is stored, to go through."""
        from roco_search.library.listing import Listing

        return Listing(self._store)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let everything inside see one state of the library, whatever another process writes meanwhile."""
        with self._store.snapshot():
            yield

    def vectors(self) -> VectorIndex:
        """Return the vectors to search in, as they are now.

        Raises
        ------
        LibraryEmpty
        """
        with self._store.snapshot():
            active = self._store.embedding_set("active")
            if active is None or not active.count:
                self._index = None
                raise LibraryEmpty(
                    f"The library {self.directory} holds no image yet; index some with `roco index PATH`."
                )
            if self._index is None or self._index.generation != Generation.of(self._store, active):
                self._index = VectorIndex.open(self._store, active)
            return self._index

    def search(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        mode: Mode = "auto",
        among: npt.NDArray[np.int64] | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Find the frames nearest to query vectors.

        Parameters
        ----------
        queries
            float32 ``(q, dim)`` of unit norm.
        k
            How many a query, at least 1; limited to the number of frames that are looked at.
        mode
            "exact", "approximate", or "auto": see `VectorIndex.search`.
        among
            Only these frames, by id, such as `select` returns; None for all.

        Returns
        -------
        ids, scores
            Frame ids, int64, and cosine similarities, float32, both ``(q, k)``, best first.

        Raises
        ------
        InputError, LibraryEmpty
        """
        index = self.vectors()
        if queries.ndim != 2 or queries.shape[1] != index.generation.dim:
            raise InputError(
                f"A query vector has to have {index.generation.dim} values, as the library's do; this one has "
                f"{queries.shape[-1]}. Make it with the library's own model."
            )
        if k < 1:
            raise InputError("The number of hits has to be at least 1; give another with --top.")
        return index.search(queries, k, mode, among)

    def frames(self, ids: Iterable[int]) -> dict[int, StoredFrame]:
        """Return what is stored of these frames, by id; an unknown id is left out."""
        return self._store.frames(ids)

    def select(self, selection: Selection) -> npt.NDArray[np.int64]:
        """Return the ids of the frames that fulfil a selection, int64, ascending."""
        return select(self._store, selection)

    def count_terms(self, term: Term) -> dict[str, int]:
        """Return how many frames have each "modality", "body_part" or "view"."""
        return count_terms(self._store, term)

    def members(self, ids: Sequence[int], belonging: Belonging) -> dict[int, npt.NDArray[np.int64]]:
        """Return, for each of these frames, all frames of its series, study or file; see `selection.members`."""
        return members(self._store, ids, belonging)

    def same_file(self, content_hash: bytes, path: str | None = None) -> npt.NDArray[np.int64]:
        """Return the ids of the frames of every file with a content (SHA-256) or at a real path, ascending."""
        return same_file(self._store, content_hash, path)

    def roots(self) -> list[str]:
        """Return the folders and files that were indexed, by their real paths."""
        return [path for (path,) in self._store.read("SELECT path FROM roots ORDER BY path")]

    def _refresh(self) -> None:
        """Bring the matrix up to date now, so that the next query need not."""
        self._index = None
        active = self.model
        if active is not None and active.count:
            self.vectors()
        else:
            discard_caches(self.directory)
