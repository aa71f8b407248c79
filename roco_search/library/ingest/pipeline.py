"""Read, render, batch, encode: overlapped and bounded, with every vector beside the frame it belongs to.

Threads decode ahead (`imaging.ahead`) while the calling thread encodes. Files are finished in the order they were
given in, so that a library comes out the same every time. A frame and its file travel together through the batch: a
file that fails takes its own frames along and displaces no other.
"""

from collections.abc import Callable, Container, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roco_search.errors import ImageError, UnsupportedModel
from roco_search.imaging import Frame, Tags
from roco_search.imaging.ahead import MAX_BYTES, in_batches, read_ahead
from roco_search.library.ingest.plan import Candidate
from roco_search.library.ingest.reading import Outcome, read_file, rendering
from roco_search.models.encoder import NO_EMBEDDING
from roco_search.system.process import cores

if TYPE_CHECKING:
    from roco_search.models.encoder import Encoder

BATCH_SIZE = max(32, 4 * cores())  # Some images for each core, and a part in flight on a graphics processor.
AHEAD = 160  # Files read before their turn, at most: as many as are decoded while torch is loaded.


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What is stored of a frame beside its vector. If `keyed`, the UIDs in `tags` are the library's hashes already."""

    index: int
    count: int
    tags: Tags
    keyed: bool = False


@dataclass(slots=True)
class FinishedFile:
    """A file with its outcome and, if that is "image", its frames and their vectors in the same order."""

    candidate: Candidate
    outcome: Outcome
    frames: list[FrameRecord] = field(default_factory=list)
    vectors: list[npt.NDArray[np.float32]] = field(default_factory=list)


def embed_files(
    work: Iterable[Candidate],
    encoder: "Encoder",
    *,
    reusable: Container[tuple[bytes, str | None]] = (),
    batch_size: int = BATCH_SIZE,
) -> Generator[list[FinishedFile], None, None]:
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
    read: Callable[[Candidate], Iterable[Frame | Outcome]] = partial(read_file, reusable=reusable, **rendering(encoder))
    begun: FinishedFile | None = None
    with closing(read_ahead(work, read, ahead=AHEAD, max_bytes=MAX_BYTES)) as entries:
        for batch in in_batches(entries, batch_size, MAX_BYTES):
            finished, begun = _embed(encoder, batch, begun)
            batch.clear()  # These pixels would be held until the next batch is whole.
            if finished:
                yield _checked(finished)


def _embed(
    encoder: "Encoder", batch: list[tuple[Candidate, Frame | Outcome | ImageError]], begun: FinishedFile | None
) -> tuple[list[FinishedFile], FinishedFile | None]:
    """Return the files that end in a batch, and the one that continues in the next; `begun` came from the last."""
    finished: list[FinishedFile] = []
    owners: list[FinishedFile] = []
    pixels: list[npt.NDArray[np.uint8]] = []
    for candidate, piece in batch:
        begun = begun or FinishedFile(candidate, Outcome("vanished"))
        if isinstance(piece, Frame):
            begun.frames.append(FrameRecord(piece.index, piece.count, piece.tags))
            owners.append(begun)
            pixels.append(piece.pixels)
            continue
        begun.outcome = Outcome("unreadable", reason=str(piece)) if isinstance(piece, ImageError) else piece
        finished.append(begun)
        begun = None
    if pixels:
        for owner, vector in zip(owners, unit_vectors(encoder, pixels), strict=True):
            owner.vectors.append(vector)
    return finished, begun


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


def _checked(files: list[FinishedFile]) -> list[FinishedFile]:
    for file in files:
        if file.outcome.kind != "image":
            file.frames, file.vectors = [], []
        elif not file.frames or not all(np.isfinite(vector).all() for vector in file.vectors):
            seen = file.outcome
            file.outcome = Outcome("unreadable", seen.size, seen.mtime_ns, seen.content_hash, NO_EMBEDDING)
            file.frames, file.vectors = [], []
    return files
