"""What a process keeps between two queries. A process that answers once uses the same functions and keeps nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roco_search.library import Library
    from roco_search.models import Device
    from roco_search.models.encoder import Encoder

_kept: Kept | None = None


class Kept:
    """An open library and a loaded model, each kept as long as the files on the disk are unchanged."""

    def __init__(self) -> None:
        self._library: tuple[tuple[str, int, int], Library] | None = None
        self._encoder: tuple[tuple[str, str, str], Encoder] | None = None

    def library(self, place: Path) -> Library:
        """Return the library, opened anew if its database is another file than before."""
        from roco_search.library import Library
        from roco_search.library.directory import DATABASE
        from roco_search.library.shared import pull

        key = self._identity(place / DATABASE)
        if self._library is None or key is None or self._library[0] != key:
            self.close()
            opened = Library.open(place)
            self._library = (self._identity(place / DATABASE) or ("", 0, 0), opened)
        else:
            pull(place)
        return self._library[1]

    def encoder(self, name: str, device: Device) -> Encoder:
        """Return the model, loaded anew if its files have changed."""
        from roco_search.models import load_encoder

        fresh = load_encoder(name, device, "fast")
        key = (name, device, fresh.fingerprint)
        if self._encoder is None or self._encoder[0] != key:
            self._encoder = (key, fresh)
        return self._encoder[1]

    def share(self, encoder: Encoder) -> None:
        """Use this in place of the model that was loaded: the same one, made fit for several threads."""
        if self._encoder is not None:
            self._encoder = (self._encoder[0], encoder)

    def close(self) -> None:
        """Close the library."""
        if self._library is not None:
            self._library[1].close()
            self._library = None

    @staticmethod
    def _identity(path: Path) -> tuple[str, int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return os.path.realpath(path), found.st_dev, found.st_ino


def keep() -> Kept:
    """Let this process keep what it opens from here on."""
    global _kept  # noqa: PLW0603 - it is the process that is warm or not
    _kept = Kept()
    return _kept


@contextmanager
def library(place: Path) -> Iterator[Library]:
    """Give the library at a place; it is closed afterwards unless this process keeps it."""
    if _kept is not None:
        opened = _kept.library(place)
        try:
            yield opened
        except Exception as error:
            opened.explain(error)
            raise
        return
    from roco_search.library import Library

    with Library.open(place) as opened:
        yield opened


def encoder(name: str, device: Device, *, once: bool = False) -> Encoder:
    """Return a model for queries; for a single one with `once`, unless this process keeps it."""
    if _kept is not None:
        return _kept.encoder(name, device)
    from roco_search.models import load_encoder

    return load_encoder(name, device, "fast", once=once)
