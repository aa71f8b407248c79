"""An open library as far as it is only read. `roco_search.library.Library` adds what changes it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.library.faults import no_image_yet
from roco_search.library.records import EmbeddingSet, LibraryStatus, StoredFrame
from roco_search.library.truth.selection import Belonging, Selection, Term, count_terms, members, same_file, select
from roco_search.library.truth.store import Store
from roco_search.library.vectors.index import Generation, Mode, VectorIndex

if TYPE_CHECKING:
    from roco_search.library.truth.listing import Listing


class Searchable:
    """What can be asked of an open library. Many processes may ask while one writes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index: VectorIndex | None = None

    def close(self) -> None:
        """Close the library."""
        self._index = None
        self._store.close()

    def __enter__(self) -> Self:
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

    def status(self) -> LibraryStatus:
        """Tell what the library holds."""
        from roco_search.library.upkeep import status

        return status(self._store)

    def recall(self) -> float | None:
        """Return the share of the ten nearest that the graph finds; None without one. See `upkeep.recall`."""
        from roco_search.library.upkeep import recall

        return recall(self._store, self.vectors()) if self.model and self.model.count else None

    @property
    def listing(self) -> "Listing":
        """Everything that is stored, to go through."""
        from roco_search.library.truth.listing import Listing

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
                raise no_image_yet(self.directory)
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
