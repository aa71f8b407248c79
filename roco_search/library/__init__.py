"""A searchable collection of images on disk. `Library` is the whole engine; a command only parses, calls, renders."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.library.directory import default_library_path, discard_caches, prepare, writer_lock
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
from roco_search.library.searching import Searchable
from roco_search.library.truth.selection import Selection
from roco_search.library.truth.store import Store
from roco_search.library.vectors.index import Mode
from roco_search.system.files import sweep

if TYPE_CHECKING:
    from roco_search.imaging.frame import FrameChoice
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


class Library(Searchable):
    """An open library. Many processes may search in it while one writes.

    Use `Library.create_or_open` to index and `Library.open` for everything else; both are context managers.
    """

    @classmethod
    def create_or_open(cls, directory: str | os.PathLike[str]) -> "Library":
        """Open the library in `directory`, making it, private to its owner, if there is none.

        Raises
        ------
        InputError
            If `directory` is a file, or holds other things than a library.
        Busy, LibraryTooNew, LibraryCorrupt, StorageFull, LibraryError
        """
        place = Path(directory).absolute()
        prepare(place)
        with writer_lock(place):
            sweep(place)
            return cls(Store.create_or_open(place))

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> "Library":
        """Open an existing library.

        Raises
        ------
        LibraryNotFound, LibraryTooNew, LibraryCorrupt, LibraryError
        """
        return cls(Store.open(Path(directory).absolute()))

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
        ModelMismatch, Busy, StorageFull, LibraryError
        KeyboardInterrupt
            As it comes; all but the batch in flight is stored.
        """
        from roco_search.library.ingest.run import IndexRun

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
        see `roco_search.library.ingest.reembedding`. If the library has this model already, nothing is done.

        Raises
        ------
        LibraryEmpty, Busy, StorageFull, LibraryError
        """
        from roco_search.library.ingest.reembedding import ReembedRun

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
        Busy, StorageFull, LibraryError
        """
        from roco_search.library.truth.listing import real_folder
        from roco_search.library.upkeep import remove

        with writer_lock(self.directory):
            self._index = None
            count = remove(self._store, real_folder(path))
        self._refresh()
        return count

    def verify(self) -> LibraryHealth:
        """Check every table, count and cache, reading everything; a damaged cache is removed."""
        from roco_search.library.upkeep import verify

        self._index = None
        return verify(self._store)

    def vacuum(self) -> "Vacuumed":
        """Give the disk back what is no longer needed; see `roco_search.library.upkeep.vacuum`.

        Raises
        ------
        Busy, StorageFull, LibraryError
        """
        from roco_search.library.upkeep import vacuum

        with writer_lock(self.directory):
            self._index = None
            return vacuum(self._store)

    def relocate(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
        """Note that images have moved from one folder to another; see `roco_search.library.moving.relocate`.

        Raises
        ------
        InputError, Busy, StorageFull, LibraryError
        """
        from roco_search.library.moving import relocate
        from roco_search.library.truth.listing import real_folder

        with writer_lock(self.directory):
            return relocate(self._store, real_folder(old), real_folder(new))

    def _refresh(self) -> None:
        """Bring the matrix up to date now, so that the next query need not."""
        self._index = None
        active = self.model
        if active is not None and active.count:
            self.vectors()
        else:
            discard_caches(self.directory)
