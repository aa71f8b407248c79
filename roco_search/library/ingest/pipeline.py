"""Read, render, batch, encode: overlapped and bounded, with every vector beside the frame it belongs to.

Reader threads decode ahead while the calling thread encodes. Files are finished in the order they were given in,
whatever the order in which their decoding ends, so that a library comes out the same every time. A frame and its
place in its file travel together through the batch: a file that fails takes its own frames along and shifts nobody.
"""

import threading
from collections import deque
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roco_search.errors import UnsupportedModel
from roco_search.imaging import Frame, Tags
from roco_search.library.ingest.plan import Candidate
from roco_search.library.ingest.reading import Outcome, Stopped, read_file
from roco_search.system.process import cores

if TYPE_CHECKING:
    from roco_search.models.encoder import Encoder

BATCH_SIZE = 32
MAX_BYTES = 512 * 2**20
"""Decoded pixels held at once, in bytes; one frame a reader comes on top."""
AHEAD = 160  # Files read before their turn, at most: as many as are decoded while torch is loaded.
LEAST_PIXELS = 256  # Smaller pictures cost next to nothing, whatever the model sees of them.
COMMIT_FILES = 256
"""Finished files handed over at the latest, also where none of them needs the encoder."""

NO_EMBEDDING = "the model gives no usable embedding for it; look at the picture, or try another model"


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What is stored of a frame beside its vector."""

    index: int
    count: int
    tags: Tags


@dataclass(slots=True)
class FinishedFile:
    """A file with its outcome and, if that is "image", its frames and their vectors in the same order."""

    candidate: Candidate
    outcome: Outcome
    frames: list[FrameRecord] = field(default_factory=list)
    vectors: list[npt.NDArray[np.float32]] = field(default_factory=list)


class Budget:
    """How many bytes of pixels may be held. The file whose turn it is may always deliver one frame more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._turn = 0
        self._waiting = 0  # Frames of the file whose turn it is that were delivered and not yet taken.
        self._stopped = False
        self._condition = threading.Condition()

    def reserve(self, ticket: int, size: int) -> None:
        """Wait until `size` bytes may be held for the file number `ticket`.

        Raises
        ------
        Stopped
            If the run ends.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._stopped or self._admits(ticket, size))
            if self._stopped:
                raise Stopped
            self._held += size
            self._waiting += ticket == self._turn

    def _admits(self, ticket: int, size: int) -> bool:
        return self._held + size <= self._limit or (ticket == self._turn and not self._waiting)

    def take(self) -> None:
        """Tell that a frame of the file whose turn it is was taken from its queue (and is still held)."""
        with self._condition:
            self._waiting = max(0, self._waiting - 1)
            self._condition.notify_all()

    def release(self, size: int) -> None:
        """Tell that `size` bytes are held no longer."""
        with self._condition:
            self._held -= size
            self._condition.notify_all()

    def turn(self, ticket: int) -> None:
        """Tell whose turn it is."""
        with self._condition:
            self._turn, self._waiting = ticket, 0
            self._condition.notify_all()

    def stop(self) -> None:
        """Make all who wait give up."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()


class Reader:
    """Reads files ahead on threads; iterating gives each file and the stream of its frames, in order."""

    def __init__(
        self, reusable: Container[tuple[bytes, str | None]], budget: Budget, ahead: int, at_least: int | None = None
    ) -> None:
        self._reusable = reusable
        self._budget = budget
        self._ahead = ahead
        self._at_least = at_least
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="roco-read")

    def streams(self, work: Iterable[Candidate]) -> Iterator[tuple[Candidate, "SimpleQueue[Frame | Outcome]"]]:
        """Yield each file with a queue of its frames, which an `Outcome` ends."""
        numbered = enumerate(work)
        waiting: deque[tuple[int, Candidate, SimpleQueue[Frame | Outcome]]] = deque()
        while True:
            for ticket, candidate in islice(numbered, self._ahead - len(waiting)):
                queue: SimpleQueue[Frame | Outcome] = SimpleQueue()
                self._pool.submit(self._read, ticket, candidate, queue)
                waiting.append((ticket, candidate, queue))
            if not waiting:
                return
            ticket, candidate, queue = waiting.popleft()
            self._budget.turn(ticket)
            yield candidate, queue

    def _read(self, ticket: int, candidate: Candidate, queue: "SimpleQueue[Frame | Outcome]") -> None:
        def deliver(frame: Frame) -> None:
            self._budget.reserve(ticket, frame.pixels.nbytes)
            queue.put(frame)

        try:
            queue.put(read_file(candidate, self._reusable, deliver, self._at_least))
        except Stopped:
            return
        except BaseException as error:
            # Without an end, the main thread would wait for this file for ever.
            queue.put(Outcome("unreadable", reason=f"reading it failed ({type(error).__name__}); try again"))

    def close(self) -> None:
        """End all threads; what they read is thrown away."""
        self._budget.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)


class Batch:
    """Frames that wait to be encoded together, each with the file it belongs to and its place there."""

    def __init__(self, encoder: "Encoder", budget: Budget, size: int) -> None:
        self._encoder = encoder
        self._budget = budget
        self._size = size
        self._bytes = 0
        self._items: list[tuple[FinishedFile, int, npt.NDArray[np.uint8]]] = []

    def add(self, file: FinishedFile, frame: Frame) -> None:
        """Take a frame in."""
        file.frames.append(FrameRecord(frame.index, frame.count, frame.tags))
        file.vectors.append(np.empty(0, np.float32))
        self._items.append((file, len(file.frames) - 1, frame.pixels))
        self._bytes += frame.pixels.nbytes

    @property
    def full(self) -> bool:
        """Whether it should be encoded now. Half of the budget is left to the readers."""
        return len(self._items) >= self._size or self._bytes >= MAX_BYTES // 2

    def encode(self) -> None:
        """Put into each file the vectors of its frames; a file with an unusable one becomes unreadable."""
        if not self._items:
            return
        vectors = unit_vectors(self._encoder, [pixels for _, _, pixels in self._items])
        for (file, place, _), vector in zip(self._items, vectors, strict=True):
            file.vectors[place] = vector
        self._items.clear()
        self._budget.release(self._bytes)
        self._bytes = 0


def unit_vectors(encoder: "Encoder", images: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """Embed images; a vector that is not finite or has no length comes out as NaN throughout.

    Raises
    ------
    UnsupportedModel
        If the encoder returns another number or another length of vectors than it says.
    """
    vectors = np.asarray(encoder.encode_images(images), dtype=np.float32)
    if vectors.shape != (len(images), encoder.dim):
        raise UnsupportedModel(
            f"The model {encoder.name} returned embeddings of shape {vectors.shape} instead of "
            f"{(len(images), encoder.dim)}; use another `model`."
        )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(norms) & (norms > 1e-6)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.where(usable, vectors / norms, np.float32("nan"))


def embed_files(
    work: Iterable[Candidate],
    encoder: "Encoder",
    *,
    reusable: Container[tuple[bytes, str | None]] = (),
    batch_size: int = BATCH_SIZE,
) -> Iterator[list[FinishedFile]]:
    """Read and encode files; yield them, finished, in the order of `work`, some at a time.

    A caller stores what one turn yields in one transaction. Closing the generator ends the readers.

    Parameters
    ----------
    work
        The files.
    encoder
        Embeds the frames, in batches across files.
    reusable
        (content hash, choice of frames) of what need not be decoded again; may grow meanwhile.
    batch_size
        Frames in one call of the encoder.
    """
    budget = Budget(MAX_BYTES)
    # Twice what the model sees is left for its own, better scaling down.
    at_least = max(LEAST_PIXELS, 2 * encoder.image_size)
    reader = Reader(reusable, budget, AHEAD, at_least)
    batch = Batch(encoder, budget, batch_size)
    finished: list[FinishedFile] = []
    try:
        for candidate, queue in reader.streams(work):
            file = FinishedFile(candidate, Outcome("vanished"))
            while isinstance(item := queue.get(), Frame):
                budget.take()
                batch.add(file, item)
                if batch.full:
                    batch.encode()
                    if finished:
                        yield _checked(finished)
                        finished = []
            file.outcome = item
            finished.append(file)
            if len(finished) >= COMMIT_FILES:
                batch.encode()
                yield _checked(finished)
                finished = []
        batch.encode()
        if finished:
            yield _checked(finished)
    finally:
        reader.close()


def _checked(files: list[FinishedFile]) -> list[FinishedFile]:
    for file in files:
        if file.outcome.kind != "image":
            file.frames, file.vectors = [], []
        elif not file.frames or not all(np.isfinite(vector).all() for vector in file.vectors):
            seen = file.outcome
            file.outcome = Outcome("unreadable", seen.size, seen.mtime_ns, seen.content_hash, NO_EMBEDDING)
            file.frames, file.vectors = [], []
    return files
