"""What a mirror asks of an engine, and the difference between what an engine holds and what it should hold."""

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from roco_search.errors import MirrorError
from roco_search.library.outgoing import Record, Rows

Vectors = npt.NDArray[np.float32]
NARROW = 200  # one row in this many: the filter under which graphs find too few
SEPARATOR, NOTHING = "\x1f", "\x1e"  # between the values of a row that are digested, and for one that is absent


@dataclass(frozen=True, slots=True)
class Identity:
    """What a mirror is of: noted in the engine, so that nothing else is ever overwritten.

    Attributes
    ----------
    library
        The id of the library.
    model, fingerprint, arithmetic
        The model of the vectors, and how images were embedded.
    dim
        The number of values of a vector.
    """

    library: str
    model: str
    fingerprint: str
    arithmetic: str | None
    dim: int

    def check(self, noted: dict[str, Any] | None, table: str) -> None:
        """Refuse to write over what is something else.

        Raises
        ------
        MirrorError
            If what is noted in the table is of another library, another model, or is no note of roco's.
        """
        if noted is None:
            raise MirrorError(f"{table} exists and was not made by roco; choose another `table`.")
        if noted.get("library") != self.library:
            raise MirrorError(f"{table} is the mirror of another library; choose another `table`.")
        if (noted.get("fingerprint"), noted.get("arithmetic"), noted.get("dim")) != (
            self.fingerprint, self.arithmetic, self.dim
        ):  # fmt: skip
            raise MirrorError(
                f"{table} holds vectors of {noted.get('model')} in {noted.get('arithmetic')}, and the library now has "
                f"those of {self.model} in {self.arithmetic}, with which they cannot be compared; drop it, or choose "
                "another `table`."
            )


@dataclass(frozen=True, slots=True)
class Where:
    """A filter: the rows of which `column` is `value`, or, if `every` is above 1, whose id modulo that is `value`."""

    column: str
    value: str | int
    every: int = 1

    def __str__(self) -> str:
        return f"{self.column} % {self.every} = {self.value}" if self.every > 1 else f"{self.column} = {self.value}"


@dataclass(frozen=True, slots=True)
class Row:
    """What one picture is in a mirror: its record, its vector in the engine's own bytes, and a digest of both."""

    record: Record
    vector: bytes
    digest: bytes

    @property
    def id(self) -> int:
        """The id of the picture."""
        return int(self.record["id"])


@dataclass(slots=True)
class Changes:
    """How many rows were written and how many were removed."""

    written: int = 0
    removed: int = 0
    unchanged: int = 0


class Engine(Protocol):
    """A table of pictures in another program. It raises `MirrorError` and `Busy` alone.

    Attributes
    ----------
    efforts
        How much a search may look at, ascending; what that counts is the engine's own.
    whole
        Whether `write` takes all rows where any differs: an engine without transactions.
    """

    @property
    def efforts(self) -> Sequence[int]:
        """See above."""

    @property
    def whole(self) -> bool:
        """See above."""

    def encode(self, vector: bytes) -> bytes:
        """Return a vector, float32 little-endian, in the bytes that the engine stores."""

    def writing(self, identity: Identity) -> AbstractContextManager[None]:
        """Hold the table, which is made if there is none; all that is written inside appears at the end, or none."""

    def digests(self) -> Generator[tuple[int, bytes]]:
        """Yield id and digest of each row that is there, ascending by id."""

    def write(self, changes: Iterable[Row | int]) -> None:
        """Write rows in place of those of the same id, and remove the rows of ids; inside `writing`."""

    def nearest(self, query: Vectors, k: int, where: Where | None, effort: int) -> list[int]:
        """Return the ids of the nearest rows by cosine similarity, best first, as any client gets them."""

    def count(self, where: Where | None) -> int:
        """Return the number of rows."""

    def settings(self, effort: int) -> list[str]:
        """Return what a client has to set to get what `nearest` gets."""

    def denser(self) -> str:
        """Return what improves the index, as the end of a sentence."""

    def note(self, found: dict[str, Any]) -> None:
        """Note in the engine how the mirror was found to be."""


def digest(record: Record, vector: bytes) -> bytes:
    """Return the SHA-256 of a row: of the bytes of its vector, and of its values as text.

    >>> digest({"id": 1, "path": "a", "localizer": True, "view": None}, b"").hex()[:8]
    '59758b07'
    """
    values = (NOTHING if value is None else _text(value) for value in record.values())
    return hashlib.sha256(vector + SEPARATOR.join(values).encode()).digest()


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def encoded(rows: Rows, engine: Engine) -> Iterator[Row]:
    """Yield the rows of a library as an engine holds them."""
    for record, vector in rows:
        stored = engine.encode(vector)
        yield Row(record, stored, digest(record, stored))


def differences(ours: Iterator[Row], theirs: Iterator[tuple[int, bytes]], counted: Changes) -> Iterator[Row | int]:
    """Yield what has to be written (rows) and removed (ids) for theirs to become ours; both ascend by id.

    >>> rows = [Row({"id": n}, b"", bytes([n])) for n in (1, 2, 4)]
    >>> found = Changes()
    >>> steps = differences(iter(rows), iter([(1, bytes([1])), (2, b"?"), (3, b"")]), found)
    >>> [step if isinstance(step, int) else step.record for step in steps]
    [{'id': 2}, 3, {'id': 4}]
    >>> found
    Changes(written=2, removed=1, unchanged=1)
    """
    there = next(theirs, None)
    for row in ours:
        while there is not None and there[0] < row.id:
            counted.removed += 1
            yield there[0]
            there = next(theirs, None)
        known = there is not None and there[0] == row.id
        if known and there is not None and there[1] == row.digest:
            counted.unchanged += 1
        else:
            counted.written += 1
            yield row
        if known:
            there = next(theirs, None)
    while there is not None:
        counted.removed += 1
        yield there[0]
        there = next(theirs, None)
