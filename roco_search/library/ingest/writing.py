"""Turn finished files into rows. Everything here happens inside the caller's transaction, in the order of the scan."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Literal

from roco_search.library.ingest.pipeline import FinishedFile, FrameRecord
from roco_search.library.ingest.plan import Known
from roco_search.library.ingest.reading import Outcome
from roco_search.library.records import EmbeddingSet
from roco_search.library.truth.store import EMBEDDED, Store, raw, to_blob

Effect = Literal["indexed", "unchanged", "moved", "removed", "refused", "unstored"]

_FRAME_COLUMNS = (
    "number, count, modality, body_part, view, laterality, rows, columns, photometric, sop_class, transfer_syntax, "
    "burned_in, instance_number, series_number, localizer, series, study"
)


class Writer:
    """Stores files with the vectors of one embedding set, and tells for each what that meant."""

    def __init__(
        self, store: Store, chosen: EmbeddingSet, root_ids: dict[str, int], gone: Iterable[Known] = ()
    ) -> None:
        self.store = store
        self.chosen = chosen
        self.root_ids = root_ids
        self.adopted: set[int] = set()
        self._gone: dict[bytes, list[Known]] = defaultdict(list)
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
            self.store.write("DELETE FROM files WHERE id = ?", [known.id])
            return "removed", 0
        moved_from = self._moved_from(outcome) if known is None else None
        row = known or moved_from
        if outcome.kind == "same" or (outcome.kind == "known" and moved_from and self._fits(moved_from, file)):
            assert row is not None
            self._keep(row.id, file)
            return ("moved" if moved_from else "unchanged" if row.status == "indexed" else "refused"), 0
        if outcome.kind == "known":
            return "indexed", self._copy(file, row)
        status = {"image": "indexed"}.get(outcome.kind, outcome.kind)
        file_id = self._file(file, row, status, self.stored_choice(file))
        self._frames(file_id, file)
        if status != "indexed":
            return ("moved" if moved_from else "refused"), 0
        return ("moved" if moved_from else "indexed"), len(file.frames)

    def _moved_from(self, outcome: Outcome) -> Known | None:
        """Return a file that is gone and had the same content: it was moved to here."""
        waiting = self._gone.get(outcome.content_hash or b"")
        if not waiting:
            return None
        row = waiting.pop(0)
        self.adopted.add(row.id)
        return row

    @staticmethod
    def _fits(row: Known, file: FinishedFile) -> bool:
        return row.status == "indexed" and row.frames in {None, file.candidate.frames}

    def _keep(self, file_id: int, file: FinishedFile) -> None:
        """Note where a file is now and its new stat; its content is what it was."""
        sql = "UPDATE files SET path = CAST(? AS TEXT), root_id = ?, size = ?, mtime_ns = ? WHERE id = ?"
        outcome, candidate = file.outcome, file.candidate
        root = self.root_ids.get(candidate.root)
        self.store.write(sql, [raw(candidate.path), root, outcome.size, outcome.mtime_ns, file_id])

    def _file(self, file: FinishedFile, row: Known | None, status: str, frames: str | None) -> int:
        """Write the row of a file, new or in the place of `row`, without frames; return its id."""
        outcome, candidate = file.outcome, file.candidate
        values: list[bytes | str | int | None] = [
            raw(candidate.path),
            self.root_ids.get(candidate.root),
            outcome.size,
            outcome.mtime_ns,
        ]
        values += [outcome.content_hash, frames, status, outcome.reason]
        if row is None:
            sql = """
                INSERT INTO files (path, root_id, size, mtime_ns, content_hash, frames, status, reason)
                VALUES (CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?)
            """
            return self.store.write(sql, values)
        sql = """
            UPDATE files SET path = CAST(? AS TEXT), root_id = ?, size = ?, mtime_ns = ?, content_hash = ?, frames = ?,
            status = ?, reason = ? WHERE id = ?
        """
        self.store.write(sql, [*values, row.id])
        self.store.write("DELETE FROM frames WHERE file_id = ?", [row.id])
        return row.id

    def _frames(self, file_id: int, file: FinishedFile) -> None:
        for frame, vector in zip(file.frames, file.vectors, strict=True):
            frame_id = self._frame(file_id, frame)
            self.add_vector(frame_id, to_blob(vector))

    def _frame(self, file_id: int, frame: FrameRecord) -> int:
        tags = frame.tags
        values: list[str | int | None] = [
            file_id,
            frame.index,
            frame.count,
            tags.modality,
            tags.body_part,
            tags.view,
            tags.laterality,
        ]
        values += [tags.rows, tags.columns, tags.photometric, tags.sop_class, tags.transfer_syntax, tags.burned_in]
        values += [tags.instance_number, tags.series_number, tags.localizer]
        values += [self.store.keyed_hash(tags.series_uid, "series"), self.store.keyed_hash(tags.study_uid, "study")]
        marks = ", ".join("?" * len(values))
        return self.store.write(f"INSERT INTO frames (file_id, {_FRAME_COLUMNS}) VALUES ({marks})", values)

    def add_vector(self, frame_id: int, vector: bytes) -> None:
        """Store the vector of a frame."""
        sql = "INSERT INTO vectors (set_id, frame_id, vector) VALUES (?, ?, ?)"
        self.store.write(sql, [self.chosen.id, frame_id, vector])

    def _copy(self, file: FinishedFile, row: Known | None) -> int:
        """Store a file whose content the library has under another path: nothing needs to be embedded."""
        sql = f"""
            SELECT id, frames FROM files
            WHERE content_hash = ? AND (frames IS NULL OR frames = ?) AND id IS NOT ? AND {EMBEDDED}
            ORDER BY id LIMIT 1
        """
        own = row.id if row else None
        values = [file.outcome.content_hash, file.candidate.frames, own, self.chosen.id]
        [(donor, frames)] = self.store.read(sql, values)
        file_id = self._file(file, row, "indexed", frames)
        sources: Collection[tuple[int]] = self.store.read(
            "SELECT id FROM frames WHERE file_id = ? ORDER BY number", [donor]
        )
        for (source,) in sources:
            sql = f"INSERT INTO frames (file_id, {_FRAME_COLUMNS}) SELECT ?, {_FRAME_COLUMNS} FROM frames WHERE id = ?"
            frame_id = self.store.write(sql, [file_id, source])
            vector = self.store.vector(self.chosen, source)
            assert vector is not None
            self.add_vector(frame_id, vector)
        return len(sources)
