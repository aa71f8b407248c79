"""Turn finished files into rows. Everything here happens inside the caller's transaction, in the order of the scan."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from roco_search.library.ingest.pipeline import FinishedFile
from roco_search.library.ingest.reading import Outcome
from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.files import FileRecord, KnownFile, Status
from roco_search.library.truth.store import Store

Effect = Literal["indexed", "unchanged", "moved", "removed", "refused", "unstored"]
STATUS: dict[str, Status] = {"image": "indexed", "unreadable": "unreadable", "not_image": "not_image"}


class Writer:
    """Stores files with the vectors of one embedding set, and returns what became of each."""

    def __init__(
        self, store: Store, chosen: EmbeddingSet, root_ids: dict[str, int], gone: Iterable[KnownFile] = ()
    ) -> None:
        self.store = store
        self.chosen = chosen
        self.root_ids = root_ids
        self.adopted: set[int] = set()
        self._gone: dict[bytes, list[KnownFile]] = defaultdict(list)
        for file in gone:
            if file.content_hash is not None:
                self._gone[file.content_hash].append(file)

    @staticmethod
    def stored_choice(file: FinishedFile) -> str | None:
        """Return the choice of frames to store: None where every choice gives the same."""
        return None if file.frames and file.frames[0].count == 1 else file.candidate.frames

    def put(self, file: FinishedFile) -> tuple[Effect, int]:
        """Store one file; return what became of it and how many frames were stored."""
        outcome, known = file.outcome, file.candidate.known
        if outcome.kind == "vanished":
            return "unstored", 0
        if outcome.kind == "other":
            if known is None:
                return "unstored", 0
            self.store.files.delete([known.id])
            return "removed", 0
        moved_from = self._moved_from(outcome) if known is None else None
        row = known or moved_from
        if outcome.kind == "same" or (outcome.kind == "known" and moved_from and self._fits(moved_from, file)):
            assert row is not None
            self._keep(row.id, file)
            return ("moved" if moved_from else "unchanged" if row.status == "indexed" else "refused"), 0
        if outcome.kind == "known":
            return "indexed", self._copy(file, row)
        status = STATUS[outcome.kind]
        file_id = self._file(file, row, status, self.stored_choice(file))
        for frame, vector in zip(file.frames, file.vectors, strict=True):
            frame_id = self.store.files.add_frame(file_id, frame.index, frame.count, frame.tags, keyed=frame.keyed)
            self.store.embeddings.add(self.chosen, frame_id, vector)
        if status != "indexed":
            return ("moved" if moved_from else "refused"), 0
        return ("moved" if moved_from else "indexed"), len(file.frames)

    def _moved_from(self, outcome: Outcome) -> KnownFile | None:
        """Return a file that is gone and had the same content: it was moved to here."""
        waiting = self._gone.get(outcome.content_hash or b"")
        if not waiting:
            return None
        row = waiting.pop(0)
        self.adopted.add(row.id)
        return row

    @staticmethod
    def _fits(row: KnownFile, file: FinishedFile) -> bool:
        return row.status == "indexed" and row.frames in {None, file.candidate.frames}

    def _keep(self, file_id: int, file: FinishedFile) -> None:
        """Note where a file is now and its new stat; its content is what it was."""
        outcome, candidate = file.outcome, file.candidate
        root_id = self.root_ids.get(candidate.root)
        self.store.files.touch(file_id, candidate.path, root_id, outcome.size, outcome.mtime_ns)

    def _file(self, file: FinishedFile, row: KnownFile | None, status: Status, frames: str | None) -> int:
        """Write the row of a file, new or in the place of `row`, without frames; return its id."""
        outcome, candidate = file.outcome, file.candidate
        record = FileRecord(
            path=candidate.path,
            root_id=self.root_ids.get(candidate.root),
            size=outcome.size,
            mtime_ns=outcome.mtime_ns,
            content_hash=outcome.content_hash,
            frames=frames,
            status=status,
            reason=outcome.reason,
        )
        if row is None:
            return self.store.files.add(record)
        self.store.files.replace(row.id, record)
        return row.id

    def _copy(self, file: FinishedFile, row: KnownFile | None) -> int:
        """Store a file whose content the library has under another path: nothing needs to be embedded."""
        own = row.id if row else None
        source, choice = self.store.files.equal_to(file.outcome.content_hash, file.candidate.frames, self.chosen, own)
        file_id = self._file(file, row, "indexed", choice)
        frames = self.store.files.frame_ids(source).values()
        for frame in frames:
            self.store.embeddings.copy(self.chosen, frame, self.store.files.copy_frame(frame, file_id))
        return len(frames)
