"""Read image files ahead on threads: bounded in number and in bytes, in order, each failure in its own place.

Decoding releases the interpreter's lock, so a few threads keep the model busy. What they have read waits until its
turn: results come in the order of the items, whatever the order in which their reading ends, so that the same files
give the same batches every time. An item may have many pieces, as a cine loop has frames; they pass through one by
one, so that a file larger than memory can be read. An item that fails has its failure for its last piece and shifts
nobody.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import Generic, TypeVar

from roco_search.errors import ImageError, RocoError, UnreadableImage
from roco_search.system.process import cores

Item = TypeVar("Item")
Piece = TypeVar("Piece")

MAX_BYTES = 256 * 2**20
"""Bytes of decoded pixels that wait for their turn, and again as many in a batch: a radiograph can have 50 MB."""
_ENTRIES_PER_PICTURE = 8  # Bounds a batch in which few entries are pictures, so that progress is seen.


def read_ahead(
    items: Iterable[Item],
    read: Callable[[Item], Iterable[Piece]],
    *,
    ahead: int | None = None,
    max_bytes: int = MAX_BYTES,
    threads: int | None = None,
) -> Generator[tuple[Item, Piece | ImageError], None, None]:
    """Read items on threads while the caller works; yield every piece of every item, in order.

    Close the generator (`contextlib.closing`) where its loop may be left early: that ends the threads, after the
    piece that each of them is decoding.

    Parameters
    ----------
    items
        What to read; taken one by one, on the caller's thread.
    read
        Called on a thread of the reader; returns the pieces of one item. Pieces with an attribute ``nbytes`` (arrays,
        frames) count towards `max_bytes`.
    ahead
        The number of items that are read before their turn; twice the number of threads by default.
    max_bytes
        Bytes of pieces that wait for their turn. Beyond these, each thread holds the piece that it has just decoded;
        the item whose turn it is may always hand over one piece.
    threads
        One for each processor by default.

    Yields
    ------
    tuple
        The item, and a piece of it. Where reading fails, the last piece of the item is an `ImageError` with the
        reason: the one that was raised, or for another exception an `UnreadableImage` in our own words.

    Raises
    ------
    RocoError
        If `read` raises one that is not about a single image, such as `InputError`; in the turn of its item.
    """
    threads = threads or cores()
    room = _Room(max_bytes)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="roco-read")
    numbered = enumerate(items)
    waiting: deque[tuple[int, Item, SimpleQueue[Piece | _End]]] = deque()
    most = 1 + (2 * threads if ahead is None else ahead)
    try:
        while True:
            for number, item in islice(numbered, most - len(waiting)):
                queue: SimpleQueue[Piece | _End] = SimpleQueue()
                pool.submit(_Reading(room, number, queue).run, read, item)
                waiting.append((number, item, queue))
            if not waiting:
                return
            number, item, queue = waiting.popleft()
            room.give_turn(number)
            while not isinstance(piece := queue.get(), _End):
                room.release(nbytes(piece))
                yield item, piece
            if piece.error is not None:
                yield item, _as_image_error(piece.error)
    finally:
        room.close()
        pool.shutdown(wait=True, cancel_futures=True)


def in_batches(
    entries: Iterable[tuple[Item, Piece]], size: int, max_bytes: int = MAX_BYTES
) -> Iterator[list[tuple[Item, Piece]]]:
    """Gather what `read_ahead` yields into batches of at most `size` pictures, which end at `max_bytes` at the latest.

    Failures, and pieces that hold no pixels, keep their places between the pictures.
    """
    batch: list[tuple[Item, Piece]] = []
    pictures = held = 0
    for entry in entries:
        batch.append(entry)
        weight = nbytes(entry[1])
        pictures, held = pictures + (weight > 0), held + weight
        if pictures >= size or held >= max_bytes or len(batch) >= size * _ENTRIES_PER_PICTURE:
            yield batch
            batch, pictures, held = [], 0, 0
    if batch:
        yield batch


def nbytes(piece: object) -> int:
    """Return how many bytes of pixels a piece holds; 0 for what holds none."""
    return int(getattr(piece, "nbytes", 0))


@dataclass(frozen=True, slots=True)
class _End:
    """The last entry of an item's queue, with what ended it early."""

    error: BaseException | None


class _Room:
    """How many bytes may wait. The item whose turn it is may always hand over one piece, so that nothing locks up."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._turn = 0
        self._closed = False
        self._condition = threading.Condition()

    def reserve(self, number: int, size: int, queue: "SimpleQueue[Piece | _End]") -> bool:
        """Wait until `size` more bytes may wait in the queue of item `number`; False if the reader was closed."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._closed or self._held + size <= self._limit or (number == self._turn and queue.empty())
            )
            self._held += size
            return not self._closed

    def release(self, size: int) -> None:
        """Note that `size` bytes were taken from a queue."""
        with self._condition:
            self._held -= size
            self._condition.notify_all()

    def give_turn(self, number: int) -> None:
        """Note whose pieces are taken from now on."""
        with self._condition:
            self._turn = number
            self._condition.notify_all()

    def close(self) -> None:
        """Let every thread that waits give up."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


@dataclass(frozen=True, slots=True)
class _Reading(Generic[Piece]):
    """One item that is read on a thread."""

    room: _Room
    number: int
    queue: "SimpleQueue[Piece | _End]"

    def run(self, read: Callable[[Item], Iterable[Piece]], item: Item) -> None:
        """Put its pieces into its queue, and the end: without that, the caller would wait for ever."""
        error: BaseException | None = None
        try:
            for piece in read(item):
                if not self.room.reserve(self.number, nbytes(piece), self.queue):
                    return
                self.queue.put(piece)
        except BaseException as raised:
            error = raised.with_traceback(None)
        self.queue.put(_End(error))


def _as_image_error(error: BaseException) -> ImageError:
    """Return the failure of one item as the reason that a person may see; raise what is not about one image."""
    match error:
        case ImageError():
            return error
        case MemoryError():
            return UnreadableImage("there is not enough memory to decode it; close other programs or make it smaller")
        case RocoError():
            raise error
        case Exception():
            # Its own words were written by whatever library failed, and may hold anything.
            return UnreadableImage(f"reading it failed ({type(error).__name__}); try again")
    raise error
