"""One file becomes frames, on a reader's thread: by the bytes and the picture, or with the reason why not."""

import os
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roco_search.errors import ImageError, NotAnImage, UnreadableImage
from roco_search.imaging import Frame, open_image, sniff
from roco_search.library.ingest.plan import Candidate, frames_choice
from roco_search.system.files import sha256

Kind = Literal["image", "same", "known", "not_image", "unreadable", "other", "vanished"]

_CHANGING = "it changed while it was being read; run `roco index` again when it is complete"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How reading a file ended.

    `kind` is "image" (frames were delivered), "same" (the content is the one expected), "known" (the library has
    the embeddings of this content already), "not_image" and "unreadable" (with `reason`), "other" (no image file at
    all) or "vanished". `size`, `mtime_ns` and `content_hash` are those of what was read; `content_hash` is None
    where the bytes could not be read.
    """

    kind: Kind
    size: int = 0
    mtime_ns: int = 0
    content_hash: bytes | None = None
    reason: str | None = None


def read_file(
    candidate: Candidate,
    reusable: Container[tuple[bytes, str | None]],
    deliver: Callable[[Frame], None],
    at_least: int | None = None,
) -> Outcome:
    """Read one file, hand each chosen frame to `deliver`, and tell how it ended. Raises only what `deliver` raises.

    Parameters
    ----------
    candidate
        The file.
    reusable
        (content hash, choice of frames) of what need not be decoded again.
    deliver
        May block, to hold back a reader that is too far ahead.
    at_least
        Pixels that are enough for the model: see `open_image`.
    """
    path = Path(candidate.path)
    digest: bytes | None = None
    size = mtime_ns = 0
    try:
        before = path.stat()
        size, mtime_ns = before.st_size, before.st_mtime_ns
        if sniff(path) is None:
            return Outcome("other")
        digest = bytes.fromhex(sha256(path))
        if digest == candidate.content_hash:
            return Outcome("same", size, mtime_ns, digest)
        if (digest, None) in reusable or (digest, candidate.frames) in reusable:
            return Outcome("known", size, mtime_ns, digest)
        failure = _decode(candidate, deliver, at_least)
        after = path.stat()
        if (after.st_size, after.st_mtime_ns) != (size, mtime_ns):
            # Stored with the older stat, so that the next run reads it again.
            return Outcome("unreadable", size, mtime_ns, None, _CHANGING)
    except (OSError, ImageError) as error:
        if not os.path.lexists(path):
            return Outcome("vanished")
        reason = str(error) if isinstance(error, ImageError) else "the system could not read it; check the disk"
        return Outcome("unreadable", size, mtime_ns, None, reason)
    if failure is None:
        return Outcome("image", size, mtime_ns, digest)
    kind: Kind = "not_image" if isinstance(failure, NotAnImage) else "unreadable"
    return Outcome(kind, size, mtime_ns, digest, str(failure))


class Stopped(Exception):
    """The run ends: a reader that waits to deliver gives up."""


def _decode(candidate: Candidate, deliver: Callable[[Frame], None], at_least: int | None) -> ImageError | None:
    try:
        for frame in open_image(candidate.path, frames=frames_choice(candidate.frames), at_least=at_least):
            deliver(frame)
    except ImageError as error:
        return error
    except (OSError, Stopped):
        raise
    except MemoryError:
        return UnreadableImage("there is not enough memory to decode it; close other programs or make it smaller")
    except Exception as error:
        # Decoders meet files that nobody thought of. One of them must not end the run; the message of an unknown
        # exception may quote the header, so only its type is told.
        return UnreadableImage(f"its decoder failed ({type(error).__name__}); the file is probably damaged")
    return None
