"""Embed a library again with another model, while the old vectors keep serving.

The new vectors grow in a pending set beside the active one, a transaction a batch, so that an interrupted run goes
on where it stopped. One transaction makes the pending set the active one.

Files are read again, so they may have changed meanwhile:

- a file that is gone while its root is there, or that is no image any more, is dropped at the switch, as indexing
  would do;
- a file whose content changed is stored anew as indexing would do, in the new set only;
- a file that cannot be read now (its disk is not mounted, no permission, no decoder any more) holds the switch back
  and is reported: dropping it could not be undone. With `prune_missing` it is dropped instead.
"""

import os
import time
from typing import TYPE_CHECKING

from roco_search.imaging.walk import is_below
from roco_search.library.faults import no_image_yet
from roco_search.library.ingest.pipeline import BATCH_SIZE, FinishedFile, embed_files
from roco_search.library.ingest.plan import Candidate, Known
from roco_search.library.ingest.writing import Writer
from roco_search.library.records import EmbeddingSet, Progress, ReembedReport, Skipped
from roco_search.library.truth.store import Store, to_blob

if TYPE_CHECKING:
    from roco_search.models.encoder import Encoder

_NOT_THERE = "it is not there; mount its disk, or drop it with --prune-missing"

_WITHOUT_VECTOR = """
    SELECT files.id, path, root_id, size, mtime_ns, content_hash, files.frames, status FROM files
    WHERE status = 'indexed' AND EXISTS (
        SELECT 1 FROM frames WHERE file_id = files.id
        AND NOT EXISTS (SELECT 1 FROM vectors WHERE set_id = ? AND frame_id = frames.id))
    ORDER BY path
"""


class ReembedRun:
    """One run of `Library.reembed`. The caller holds the writer's lock."""

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
        active = self.store.embedding_set("active")
        if active is None:
            raise no_image_yet(self.store.directory)
        if active.fingerprint == self.encoder.fingerprint:
            self._abandon(keep=None)
            self.report.complete = True
            return self.report
        self._abandon(keep=self.encoder.fingerprint)
        pending = self.store.embedding_set("pending") or self.store.add_set(self.encoder, "pending")
        self._embed(pending)
        self.report.unavailable = sorted(entry for _, entry in self.unavailable)
        if not self.unavailable or prune_missing:
            self._switch(active, pending)
        self.report.seconds = time.monotonic() - started
        return self.report

    def _abandon(self, keep: str | None) -> None:
        """Give up a pending set of another model than `keep`, and finish deleting what an earlier run left."""
        with self.store.transaction():
            sql = "UPDATE embedding_sets SET state = 'retired' WHERE state = 'pending' AND fingerprint IS NOT ?"
            self.store.write(sql, [keep])
        self.store.delete_retired()

    def _embed(self, pending: EmbeddingSet) -> None:
        roots = [path for (path,) in self.store.read("SELECT path FROM roots")]
        there = [root for root in roots if os.path.isfile(root) or _has_entries(root)]  # noqa: PTH113
        work = [self._candidate(Known(*row)) for row in self.store.read(_WITHOUT_VECTOR, [pending.id])]
        writer = Writer(self.store, pending, dict(self.store.read("SELECT path, id FROM roots")))
        if self.progress is not None:
            self.progress.start(len(work))
        batches = embed_files(work, self.encoder, batch_size=self.batch_size)
        try:
            for files in batches:
                with self.store.transaction():
                    frames = sum(self._put(writer, file, there) for file in files)
                self.report.files += sum(file.outcome.kind == "image" for file in files)
                self.report.frames += frames
                if self.progress is not None:
                    self.progress.advance(len(files), frames)
        finally:
            batches.close()
            if self.progress is not None:
                self.progress.stop()

    def _candidate(self, known: Known) -> Candidate:
        rows = self.store.read("SELECT path FROM roots WHERE id = ?", [known.root_id])
        root = rows[0][0] if rows else ""
        # Where every choice gives the same, "all" is the one that cannot leave a frame out.
        return Candidate(known.path, root, known.frames or "all", known, None)

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
        ids = dict(self.store.read("SELECT number, id FROM frames WHERE file_id = ?", [known.id]))
        for frame, vector in zip(file.frames, file.vectors, strict=True):
            writer.add_vector(ids[frame.index], to_blob(vector))
        return len(file.frames)

    def _switch(self, active: EmbeddingSet, pending: EmbeddingSet) -> None:
        dropped = self.gone + [file_id for file_id, _ in self.unavailable]
        with self.store.transaction():
            for file_id in dropped:
                self.store.write("DELETE FROM files WHERE id = ?", [file_id])
            self.store.write("UPDATE embedding_sets SET state = 'retired' WHERE id = ?", [active.id])
            self.store.write("UPDATE embedding_sets SET state = 'active' WHERE id = ?", [pending.id])
        self.report.removed = len(dropped)
        self.report.complete = True
        self.store.delete_retired()


def _has_entries(folder: str) -> bool:
    """Tell whether a root is there and not empty, as the place of an unmounted disk would be."""
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except OSError:
        return False
