"""Embed a library again with another model, while the old vectors keep serving.

The new vectors grow in a pending set beside the active one, a transaction a batch, so that an interrupted run continues
where it stopped. One transaction makes the pending set the active one.

Files are read again, so they may have changed meanwhile:

- a file that is gone while its root is there, or that is no image any more, is dropped at the switch, as indexing
  would do;
- a file whose content changed is stored anew as indexing would do, in the new set only;
- a file that cannot be read now (its disk is not mounted, no permission, no decoder any more) holds the switch back
  and is reported: dropping it could not be undone. With `prune_missing` it is dropped instead.
"""

import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

from roco_search.errors import InputError
from roco_search.imaging.walk import is_below
from roco_search.library.directory import is_shared
from roco_search.library.faults import no_image_yet
from roco_search.library.ingest.pipeline import BATCH_SIZE, FinishedFile, embed_files
from roco_search.library.ingest.plan import Candidate
from roco_search.library.ingest.writing import Writer
from roco_search.library.reports import ReembedReport
from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.files import Skipped
from roco_search.library.truth.store import Store
from roco_search.models.encoder import announce_images
from roco_search.system.progress import Pace, Progress, following

if TYPE_CHECKING:
    from roco_search.models.encoder import Encoder

_NOT_THERE = "it is not there; mount its disk"


class ReembedRun:
    """One run of a re-embedding. The caller holds the writer's lock."""

    def __init__(
        self, store: Store, encoder: "Encoder", *, progress: Progress | None = None, batch_size: int = BATCH_SIZE
    ) -> None:
        self.store = store
        self.encoder = encoder
        self.progress = progress
        self.batch_size = batch_size
        self.report = ReembedReport(str(store.directory), encoder.name)
        self.gone: list[int] = []
        self.unavailable: list[tuple[int, Skipped]] = []

    def run(self, prune_missing: bool) -> ReembedReport:
        """Embed what the pending set lacks, and switch to it if nothing is missing."""
        started = time.monotonic()
        active = self.store.embeddings.active()
        if active is None:
            raise no_image_yet(self.store.directory)
        if active.is_of(self.encoder):
            self.store.embeddings.abandon_pending(keep=None)
            self.report.complete = True
            return self.report
        if is_shared(self.store.directory):
            raise InputError(
                "A shared library keeps its model and precision; index the images into another library, with another "
                "`directory`."
            )
        self.store.embeddings.abandon_pending(keep=self.encoder)
        pending = self.store.embeddings.pending() or self.store.embeddings.begin(self.encoder, "pending")
        self._embed(pending)
        self.report.unavailable = sorted(entry for _, entry in self.unavailable)
        if not self.unavailable or prune_missing:
            self._switch(pending)
        self.report.seconds = time.monotonic() - started
        return self.report

    def _embed(self, pending: EmbeddingSet) -> None:
        roots = {root.id: root.path for root in self.store.files.roots()}
        there = [root for root in roots.values() if os.path.isfile(root) or _has_entries(root)]  # noqa: PTH113
        # Where every choice of frames gives the same, "all" is the one that cannot leave a frame out.
        work = [
            Candidate(known.path, roots.get(known.root_id or 0, ""), known.frames or "all", known, None)
            for known in self.store.files.lacking(pending)
        ]
        writer = Writer(self.store, pending, {path: root_id for root_id, path in roots.items()})
        announce_images(self.encoder, len(work))
        pace = Pace()
        with (
            following(self.progress, len(work)) as progress,
            closing(embed_files(work, self.encoder, batch_size=self.batch_size)) as batches,
        ):
            for files in batches:
                with self.store.transaction():
                    frames = sum(self._put(writer, file, there) for file in files)
                self.report.files += sum(file.outcome.kind == "image" for file in files)
                self.report.frames += frames
                progress.advance(len(files), images_per_second=pace.add(frames))

    def _put(self, writer: Writer, file: FinishedFile, there: list[str]) -> int:
        """Store the vectors of one file; return how many."""
        known, outcome = file.candidate.known, file.outcome
        assert known is not None
        vanished = outcome.kind == "vanished" and any(is_below(known.path, root) for root in there)
        if vanished or outcome.kind == "other":
            self.gone.append(known.id)
            return 0
        if outcome.content_hash not in {None, known.content_hash}:
            return writer.put(file)[1]
        if outcome.kind != "image":
            reason = outcome.reason or _NOT_THERE
            self.unavailable.append((known.id, Skipped(known.path, reason)))
            return 0
        ids = self.store.files.frame_ids(known.id)
        for frame, vector in zip(file.frames, file.vectors, strict=True):
            self.store.embeddings.add(writer.chosen, ids[frame.index], vector)
        return len(file.frames)

    def _switch(self, pending: EmbeddingSet) -> None:
        dropped = self.gone + [file_id for file_id, _ in self.unavailable]
        with self.store.transaction():
            self.store.files.delete(dropped)
            self.store.embeddings.activate(pending)
        self.report.removed = len(dropped)
        self.report.complete = True
        self.store.embeddings.delete_retired()


def _has_entries(folder: str) -> bool:
    """Whether a root exists and is not empty, as the place of an unmounted disk would be."""
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except OSError:
        return False
