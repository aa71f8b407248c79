"""The rows that leave a library for other tools: one record a picture, the same for every file and every engine."""

import os
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.library import EmbeddingSet, Library
from roco_search.library.directory import real_path

Record = dict[str, Any]
Rows = Generator[tuple[Record, bytes]]


class Outgoing:
    """The pictures of a library, or of what is below a folder, as other tools get them.

    A record has `id`, `path`, `frame` (from 0) and `frames`, the stored attributes, and keyed hashes of series, study
    and case. The caller holds a snapshot of the library.

    Parameters
    ----------
    library
        Where they come from.
    redact_paths
        Give keyed hashes for paths: equal for equal paths, and useless without this library.
    under
        Only what is at or below this folder.

    Attributes
    ----------
    active
        The embeddings.
    model
        The name of their model, and its fingerprint.
    count
        The number of rows that `rows` has yielded.

    Raises
    ------
    LibraryEmpty
        If there is nothing in the library.
    """

    def __init__(
        self, library: Library, *, redact_paths: bool = False, under: str | os.PathLike[str] | None = None
    ) -> None:
        self.active: EmbeddingSet = library.active()
        name = self.active.model
        name = Path(name).name if redact_paths and Path(name).is_absolute() else name
        self.model = {"model": name, "fingerprint": self.active.fingerprint}
        self.dim = self.active.dim
        self.count = 0
        self._library = library
        self._redact = redact_paths
        self._named = under
        self._under = None if under is None else real_path(under)

    def rows(self) -> Rows:
        """Yield each record with its vector (float32 little-endian, unit norm), ascending by id."""
        self.count = 0
        for frame, vector in self._library.frames.rows(self.active, self._under):
            row = asdict(frame)
            row["path"] = self._library.path_hash(frame.path) if self._redact else _text(frame.path)
            self.count += 1
            yield row, vector

    def refuse_nothing(self) -> None:
        """Raise InputError if there is no picture below the folder."""
        if self._under is not None and next(self.rows(), None) is None:
            raise InputError(
                f"The library has no image under {self._named}; `roco status` lists the folders that it knows."
            )

    def ids(self) -> npt.NDArray[np.int64] | None:
        """Return the ids of these pictures, int64, ascending; None for all of the library."""
        if self._under is None:
            return None
        return np.array([row["id"] for row, _ in self.rows()], np.int64)


def _text(path: str) -> str:
    """Return a path as text that any reader takes; a byte that is no UTF-8 is written as ``\\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
