"""A library that many machines share: a LanceDB table, with a copy of it, an ordinary library, beside everybody.

Think of git: the table is the origin. A copy is brought up to date before it is read, and what is changed in it is sent
afterwards; so every command works on a local library, exactly and as fast, and also where the table is out of reach.
Nothing here does anything for a library that is no copy, and nothing heavy is imported for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.errors import InputError
from roco_search.library.directory import is_shared

if TYPE_CHECKING:
    from roco_search.library.reports import SharedStatus
    from roco_search.library.truth.store import Store
    from roco_search.models.encoder import EncoderIdentity


def pull(folder: Path, *, writing: bool = False) -> None:
    """Bring a copy up to date, before it is read or, with `writing`, changed.

    Raises
    ------
    LibraryNotFound
        If there is no shared library yet; not with `writing`, which is about to make it.
    LibraryUnreachable
        If it is out of reach, and nothing was ever pulled or something is to be changed. Otherwise a warning is logged.
    Busy, LibraryError, InputError
    """
    if is_shared(folder):
        from roco_search.library.shared.copying import bring_up_to_date

        bring_up_to_date(folder, writing=writing)


@contextmanager
def publishing(
    store: "Store", encoder: "EncoderIdentity | None" = None, key: str | None = None, *, clean: bool = False
) -> Iterator[None]:
    """Send what is changed inside to the shared library; the caller holds the writer's lock.

    Nothing is begun without a connection: a removal that others do not see would be a false promise, and hours of
    embedding might meet another library. If it is lost meanwhile, what was done stays, and the next run sends it.

    Parameters
    ----------
    store
        A library.
    encoder
        The encoder of the vectors, for a shared library that has to be made.
    key
        The key of hashes that come from elsewhere: a library that holds nothing yet takes it over.
    clean
        Leave nothing in the shared library of what was deleted from it at any time.

    Raises
    ------
    LibraryUnreachable, LibraryError, InputError
        Before anything has changed; or afterwards, and the sentence says so.
    """
    if is_shared(store.directory):
        from roco_search.library.shared import copying

        with copying.publishing(store, encoder, key, clean=clean):
            yield
        return
    if key is not None:
        store.take_key(key)
    yield


def differing(store: "Store") -> list[str]:
    """Return in which a copy differs from its shared library, as sentences, comparing every document and vector."""
    if not is_shared(store.directory):
        return []
    from roco_search.library.shared.comparing import differing as compared

    return compared(store)


def shared_status(folder: Path) -> "SharedStatus | None":
    """Return of which shared library a folder is a copy; None if of none."""
    if not is_shared(folder):
        return None
    from roco_search.library.shared.origin import Origin

    return Origin.read(folder).status()


def refuse_taken(folder: Path) -> None:
    """Refuse a shared library that is there already, where a new one is to be made.

    Raises
    ------
    InputError
    LibraryUnreachable, LibraryError
    """
    from roco_search.library.shared.origin import Origin
    from roco_search.library.shared.table import Table

    address = Origin.read(folder).address
    if Table(address).identity() is not None:
        raise InputError(
            f"{address} holds a library already; `roco library merge DIR --library {address}` brings it up to date; or "
            "choose a new address."
        )
