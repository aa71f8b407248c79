"""What many threads of the demo share: its model, the processor, of which a search comes first, and a fresh library."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roco_search.errors import RocoError
from roco_search.library.directory import is_shared
from roco_search.library.shared import pull

if TYPE_CHECKING:
    from roco_search.models import Encoder

Vector = npt.NDArray[np.float32]

LONGEST_WAIT = 0.5  # seconds for which a picture lets searches go first
PULLED_EVERY = 60.0  # seconds, at least, from one pull of a shared library to the next
MOST_TEXTS = 5_000  # embeddings of texts that are kept: 8 MB at 384 dimensions


class SharedEncoder:
    """An encoder that many threads may use: one at a time in each tower. Repeated texts cost nothing."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._texts, self._images = Lock(), Lock()
        self._known: dict[str, Vector] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def encode_texts(self, texts: Sequence[str]) -> Vector:
        """Embed texts as float32 ``(n, dim)`` of unit norm."""
        with self._texts:
            if fresh := [text for text in dict.fromkeys(texts) if text not in self._known]:
                if len(self._known) > MOST_TEXTS:
                    self._known.clear()
                    fresh = list(dict.fromkeys(texts))
                vectors = np.asarray(self._encoder.encode_texts(fresh), np.float32)
                self._known.update(zip(fresh, vectors, strict=True))
            return np.stack([self._known[text] for text in texts])

    def encode_images(self, images: Sequence[npt.NDArray[np.uint8]]) -> Vector:
        """Embed uint8 ``(height, width, 3)`` images as float32 ``(n, dim)`` of unit norm."""
        with self._images:
            return np.asarray(self._encoder.encode_images(images), np.float32)


class Precedence:
    """Who waits for whom: pictures that are yet to be drawn begin when no search is being answered."""

    def __init__(self) -> None:
        self._searches = 0
        self._changed = Condition()

    @contextmanager
    def search(self) -> Iterator[None]:
        """Hold back pictures for the time of a block."""
        with self._changed:
            self._searches += 1
        try:
            yield
        finally:
            with self._changed:
                self._searches -= 1
                self._changed.notify_all()

    def give_way(self, longest: float = LONGEST_WAIT) -> None:
        """Wait until no search is being answered, at most `longest` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._searches, longest)


class Freshness:
    """Keeps the copy of a shared library fresh while the demo runs: a search asks for a pull, and does not wait for it.

    Parameters
    ----------
    folder
        The folder of the library; nothing is done for one that is no copy.
    every
        Seconds from one pull to the next, at least.
    """

    def __init__(self, folder: Path, every: float = PULLED_EVERY) -> None:
        self._folder, self._every = folder, every
        self._last = time.monotonic()  # it was pulled when it was opened
        self._free = Lock()

    def ask(self) -> None:
        """Begin a pull, unless there was one just now or one is under way; a refusal is a warning in the log."""
        if time.monotonic() - self._last >= self._every and is_shared(self._folder) and self._free.acquire(False):
            Thread(target=self._pull, name="roco-pull", daemon=True).start()

    def _pull(self) -> None:
        try:
            pull(self._folder)
        except RocoError as error:
            logging.getLogger("roco").warning("%s", error)
        finally:
            self._last = time.monotonic()
            self._free.release()
