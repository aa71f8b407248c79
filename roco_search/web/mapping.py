"""The maps of the demo: each is laid out once for each state of the library, and its progress can be asked for."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

from roco_search.library import Library

if TYPE_CHECKING:
    from roco_search.classify.guesses import Guesses
    from roco_search.embedding_map import EmbeddingMap, Method


class Rounds:
    """A `roco_search.system.progress.Progress` that can be read: `done` of `total`, both 0 between runs."""

    def __init__(self) -> None:
        self.done = self.total = 0

    def start(self, total: int, done: int = 0) -> None:
        """Begin."""
        self.done, self.total = done, total

    def advance(self, count: int, **figures: float) -> None:
        """Count `count` more."""
        self.done += count

    def stop(self) -> None:
        """End."""
        self.done = self.total = 0


class Maps:
    """The maps that were asked for.

    Parameters
    ----------
    ask
        Calls a function with the library, in the library's own thread; see `roco_search.web.backend.Desk.ask`.
    guesses
        Supplies modality and body part where a header does not state them.
    """

    def __init__(self, ask: Callable[[Callable[[Library], Any]], Any], guesses: Guesses) -> None:
        self._ask, self._guesses = ask, guesses
        self._made: dict[tuple[str, bool, object], EmbeddingMap] = {}
        self._lock = Lock()
        self.rounds = Rounds()

    def get(self, method: Method | None, *, guess: bool) -> EmbeddingMap:
        """Return a map; one at a time is laid out.

        Raises
        ------
        InputError
            If the method is not installed.
        """
        from roco_search.embedding_map import lay_out, read_pictures

        key = (method or "", guess, self._ask(lambda library: library.vectors().generation))
        with self._lock:
            if key not in self._made:
                self._made = {other: made for other, made in self._made.items() if other[2] == key[2]}
                guesses = self._guesses if guess else None
                self._made[key] = lay_out(self._ask(read_pictures), method, guesses, self.rounds)
            return self._made[key]
