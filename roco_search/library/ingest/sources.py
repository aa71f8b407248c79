"""Where a run gets its files from: folders of images, or what another process has embedded before."""

import os
from collections.abc import Container, Generator, Sequence
from typing import TYPE_CHECKING, Protocol

from roco_search.imaging.walk import Walk
from roco_search.library.ingest.pipeline import BATCH_SIZE, FinishedFile, embed_files
from roco_search.library.ingest.plan import Candidate
from roco_search.models.encoder import EncoderIdentity, announce_images

if TYPE_CHECKING:
    from roco_search.models.encoder import Encoder


class Source(Protocol):
    """Files with their frames and vectors, as an `IndexRun` asks for them.

    Attributes
    ----------
    encoder
        What made or makes the vectors.
    has_texts
        Whether captions and reports stand beside these files.
    whole
        Whether a file that is not here is gone.
    """

    @property
    def encoder(self) -> EncoderIdentity:
        """What made or makes the vectors."""

    @property
    def has_texts(self) -> bool:
        """Whether captions and reports stand beside these files."""

    @property
    def whole(self) -> bool:
        """Whether a file that is not here is gone."""

    def exists(self, root: str) -> bool:
        """Whether there is anything at a real path."""

    def walk(self, roots: Sequence[str], excluded: Sequence[str]) -> Walk:
        """Return the files below roots, real paths, but not those in the `excluded` folders."""

    def read(
        self, work: Sequence[Candidate], reusable: Container[tuple[bytes, str | None]]
    ) -> Generator[list[FinishedFile], None, None]:
        """Yield files, finished, in the order of `work`, some at a time; `reusable` is as in `embed_files`."""


class ImageFiles:
    """Images in folders, which are read and embedded now."""

    has_texts = True
    whole = True

    def __init__(self, encoder: "Encoder", batch_size: int = BATCH_SIZE) -> None:
        self.encoder: Encoder = encoder
        self._batch_size = batch_size

    def exists(self, root: str) -> bool:
        """See `Source.exists`."""
        return os.path.lexists(root)

    def walk(self, roots: Sequence[str], excluded: Sequence[str]) -> Walk:
        """See `Source.walk`."""
        walk = Walk()
        for root in roots:
            walk.add(root, excluded=excluded)
        return walk

    def read(
        self, work: Sequence[Candidate], reusable: Container[tuple[bytes, str | None]]
    ) -> Generator[list[FinishedFile], None, None]:
        """See `Source.read`."""
        announce_images(self.encoder, len(work))
        return embed_files(work, self.encoder, reusable=reusable, batch_size=self._batch_size)
