"""One file becomes frames, on a reader's thread: by the bytes and the picture, or with the reason why not."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from roco_search.errors import ImageError, NotAnImage
from roco_search.imaging import CtWindows, Frame, open_image, sniff
from roco_search.imaging.archives import exists, locate
from roco_search.library.ingest.plan import Candidate, frames_choice, slices_choice
from roco_search.models.encoder import ct_windows
from roco_search.system.files import changed_ns, sha256

if TYPE_CHECKING:
    from roco_search.models.encoder import Encoder

Kind = Literal["image", "same", "known", "not_image", "unreadable", "other", "vanished"]

LEAST_PIXELS = 256  # Smaller pictures cost next to nothing, whatever the model sees of them.
_CHANGING = "it changed while it was being read; run `roco index` again when it is complete"


class Rendering(TypedDict):
    """How images are rendered for a model: options of `open_image`."""

    at_least: int
    ct_windows: CtWindows | None


def rendering(encoder: "Encoder") -> Rendering:
    """Return how images are rendered for a model: twice what it sees is left for its own, better scaling down."""
    return {"at_least": max(LEAST_PIXELS, 2 * encoder.image_size), "ct_windows": ct_windows(encoder)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How reading a file ended.

    `kind` is "image" (its frames came before), "same" (the content is the one expected), "known" (the library has
    the embeddings of this content already), "not_image" and "unreadable" (with `reason`), "other" (no image file at
    all) or "vanished". `size`, `mtime_ns` and `content_hash` are those of what was read; `content_hash` is None
    where the bytes could not be read.
    """

    kind: Kind
    size: int = 0
    mtime_ns: int = 0
    content_hash: bytes | None = None
    reason: str | None = None


def settle(candidate: Candidate, digest: bytes, reusable: Container[tuple[bytes, str | None]]) -> Kind | None:
    """Return "same" or "known" if a file's content, by its SHA-256, is such that nothing needs to be embedded."""
    if digest == candidate.content_hash:
        return "same"
    return "known" if (digest, None) in reusable or (digest, candidate.frames) in reusable else None


def read_file(
    candidate: Candidate,
    reusable: Container[tuple[bytes, str | None]] = (),
    at_least: int | None = None,
    ct_windows: CtWindows | None = None,
) -> Iterator[Frame | Outcome]:
    """Yield the chosen frames of one file, each decoded when it is asked for, and at the end how that went.

    Parameters
    ----------
    candidate
        The file.
    reusable
        (content hash, choice of frames) of what need not be decoded again.
    at_least
        Pixels that are enough for the model: see `open_image`.
    ct_windows
        What the model wants to see of CT: see `open_image`.
    """
    path = locate(candidate.path)
    size = mtime_ns = 0
    failure: ImageError | None = None
    try:
        before = path.stat()
        size, mtime_ns = before.st_size, changed_ns(before)
        if sniff(path) is None:
            yield Outcome("other")
            return
        digest = bytes.fromhex(sha256(path))
        if (settled := settle(candidate, digest, reusable)) is not None:
            yield Outcome(settled, size, mtime_ns, digest)
            return
        try:
            choice, slices = frames_choice(candidate.frames), slices_choice(candidate.frames)
            yield from open_image(path, frames=choice, at_least=at_least, slices=slices, ct_windows=ct_windows)
        except ImageError as error:
            failure = error
        after = path.stat()
    except (OSError, ImageError) as error:
        if not exists(path):
            yield Outcome("vanished")
            return
        reason = str(error) if isinstance(error, ImageError) else "the system could not read it; check the disk"
        yield Outcome("unreadable", size, mtime_ns, None, reason)
        return
    if (after.st_size, changed_ns(after)) != (size, mtime_ns):
        # Stored with the older stat, so that the next run reads it again.
        yield Outcome("unreadable", size, mtime_ns, None, _CHANGING)
    elif failure is None:
        yield Outcome("image", size, mtime_ns, digest)
    else:
        kind: Kind = "not_image" if isinstance(failure, NotAnImage) else "unreadable"
        yield Outcome(kind, size, mtime_ns, digest, str(failure))
