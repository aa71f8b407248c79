"""The vectors of a library, in one set for each model that embedded it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from roco_search.errors import ModelMismatch
from roco_search.library.faults import corrupt
from roco_search.library.truth.connection import Connection, raw
from roco_search.models.encoder import RecordedEncoder, image_arithmetic

if TYPE_CHECKING:
    from roco_search.models.encoder import EncoderIdentity

RETIRE_CHUNK = 20_000  # Vectors deleted in one transaction: enough to be fast, few enough for a small journal.
_COLUMNS = "id, model, fingerprint, dim, image_size, logit_scale, state, count, last_id"
_ARITHMETIC_SINCE = 2  # the version of the schema

State = Literal["active", "pending"]


@dataclass(frozen=True, slots=True)
class EmbeddingSet:
    """The vectors of one model. (`last_id`, `count`) determine its state: vectors are only added and removed.

    `arithmetic` is how all of its images were embedded: "fp32", or the name of a form of lower precision such as
    "openvino-bf16". It is None for a set that was begun before this was recorded: the first images of each of its runs
    were embedded in fp32 and the others in whatever was fastest, so that the same picture may differ by up to 0.003 in
    a score.
    """

    id: int
    model: str
    fingerprint: str
    dim: int
    image_size: int
    logit_scale: float
    state: str
    count: int
    last_id: int
    arithmetic: str | None

    def is_of(self, encoder: "EncoderIdentity") -> bool:
        """Whether all of these vectors are what an encoder would give."""
        return (self.fingerprint, self.arithmetic) == (encoder.fingerprint, image_arithmetic(encoder))

    def check_model(self, encoder: "EncoderIdentity") -> None:
        """Refuse an encoder whose embeddings cannot be compared with these.

        Raises
        ------
        ModelMismatch
        """
        if self.fingerprint == encoder.fingerprint:
            return
        other = "another version of it" if self.model == encoder.name else encoder.name
        raise ModelMismatch(
            f"This library was made with the model {self.model}, and {other} was asked for; use `model={self.model}`, "
            f"or embed the library again with `roco index --reembed --model {encoder.name}`."
        )

    def check_arithmetic(self, encoder: "EncoderIdentity") -> None:
        """Refuse an encoder that embeds images in another precision than those that are here.

        Raises
        ------
        ModelMismatch
        """
        mine, other = self.arithmetic or "fp32", image_arithmetic(encoder)
        if mine != other:
            wanted = "exact" if other == "fp32" else "fast"
            raise ModelMismatch(
                f"The images of this library were embedded in {mine}, and {other} was asked for; leave `precision` "
                f"out, or embed the library again with `roco index --reembed --precision {wanted}`."
            )


class Embeddings:
    """Sets of vectors: at most one is active (searched), and at most one pending (being filled by a re-embedding)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Sets.

    def active(self) -> EmbeddingSet | None:
        """Return the set that answers queries; None if nothing was ever indexed."""
        return self._set("active")

    def pending(self) -> EmbeddingSet | None:
        """Return the set that a re-embedding is filling; None if there is none."""
        return self._set("pending")

    def _set(self, state: State) -> EmbeddingSet | None:
        arithmetic = "arithmetic" if self._connection.version() >= _ARITHMETIC_SINCE else "NULL"
        rows = self._connection.read(f"SELECT {_COLUMNS}, {arithmetic} FROM embedding_sets WHERE state = ?", [state])
        if not rows:
            return None
        found = EmbeddingSet(*rows[0])
        if not all(isinstance(value, int) and value >= 0 for value in (found.dim, found.count, found.last_id)):
            raise corrupt(self._connection.directory)
        return found

    def begin(self, encoder: "EncoderIdentity", state: State) -> EmbeddingSet:
        """Begin an empty set for the vectors of `encoder`."""
        sql = """
            INSERT INTO embedding_sets (model, fingerprint, dim, image_size, logit_scale, state, arithmetic)
            VALUES (CAST(? AS TEXT), ?, ?, ?, ?, ?, ?)
        """
        values = [raw(encoder.name), encoder.fingerprint, encoder.dim, encoder.image_size]
        with self._connection.transaction():
            self._connection.write(sql, [*values, float(encoder.logit_scale), state, image_arithmetic(encoder)])
        created = self._set(state)
        assert created is not None
        return created

    def find_model_at(self, active: EmbeddingSet, encoder: "EncoderIdentity") -> EmbeddingSet:
        """Record where the model of a set is now, if its folder was moved or renamed; return the set."""
        if active.model == encoder.name or active.fingerprint != encoder.fingerprint:
            return active
        with self._connection.transaction():
            sql = "UPDATE embedding_sets SET model = CAST(? AS TEXT) WHERE id = ?"
            self._connection.write(sql, [raw(encoder.name), active.id])
        return replace(active, model=encoder.name)

    def abandon_pending(self, keep: "EncoderIdentity | None") -> None:
        """Give up a pending set unless `keep` has its model and arithmetic, and delete all that no longer serves."""
        pending = self.pending()
        if pending is not None and not (keep is not None and pending.is_of(keep)):
            with self._connection.transaction():
                self._connection.write("UPDATE embedding_sets SET state = 'retired' WHERE id = ?", [pending.id])
        self.delete_retired()

    def activate(self, pending: EmbeddingSet) -> None:
        """Let a pending set take the place of the active one; inside a transaction."""
        self._connection.write("UPDATE embedding_sets SET state = 'retired' WHERE state = 'active'")
        self._connection.write("UPDATE embedding_sets SET state = 'active' WHERE id = ?", [pending.id])

    def delete_retired(self) -> None:
        """Delete what no longer serves, a chunk at a time; an interruption leaves the rest for the next time."""
        for (set_id,) in self._connection.read("SELECT id FROM embedding_sets WHERE state = 'retired'"):
            chunk = "SELECT id FROM vectors WHERE set_id = ? LIMIT ?"
            while self._connection.read(chunk, [set_id, 1]):
                with self._connection.transaction():
                    self._connection.write(f"DELETE FROM vectors WHERE id IN ({chunk})", [set_id, RETIRE_CHUNK])
            with self._connection.transaction():
                self._connection.write("DELETE FROM embedding_sets WHERE id = ?", [set_id])

    # Vectors. As bytes they are float32 little-endian; all are of unit norm.

    def add(self, chosen: EmbeddingSet, frame_id: int, vector: npt.NDArray[np.float32]) -> None:
        """Store the vector of a frame, float32 ``(dim,)`` of unit norm; inside a transaction."""
        sql = "INSERT INTO vectors (set_id, frame_id, vector) VALUES (?, ?, ?)"
        self._connection.write(sql, [chosen.id, frame_id, np.ascontiguousarray(vector, dtype="<f4").tobytes()])

    def copy(self, chosen: EmbeddingSet, source: int, target: int) -> None:
        """Give the frame `target` the vector of the frame `source`; inside a transaction."""
        sql = """
            INSERT INTO vectors (set_id, frame_id, vector)
            SELECT set_id, ?, vector FROM vectors WHERE set_id = ? AND frame_id = ?
        """
        self._connection.write(sql, [target, chosen.id, source])

    def vector(self, chosen: EmbeddingSet, frame_id: int) -> bytes | None:
        """Return the vector of one frame."""
        sql = "SELECT vector FROM vectors WHERE set_id = ? AND frame_id = ?"
        rows = self._connection.read(sql, [chosen.id, frame_id])
        return rows[0][0] if rows else None

    def vectors(self, chosen: EmbeddingSet) -> Iterator[tuple[int, bytes]]:
        """Yield (frame id, vector) of a set, ascending by frame id.

        Raises
        ------
        LibraryCorrupt
            If the length of a vector is not that of the set's dimension.
        """
        sql = "SELECT frame_id, vector FROM vectors WHERE set_id = ? ORDER BY frame_id"
        for frame_id, vector in self._connection.stream(sql, [chosen.id]):
            if not isinstance(vector, bytes) or len(vector) != 4 * chosen.dim:
                raise corrupt(self._connection.directory)
            yield frame_id, vector

    def added_since(self, chosen: EmbeddingSet, last_id: int) -> list[tuple[int, bytes]]:
        """Return (frame id, vector) of what came into a set after the state `last_id`, ascending by frame id.

        Raises
        ------
        LibraryCorrupt
            If the length of a vector is not that of the set's dimension.
        """
        sql = "SELECT frame_id, vector FROM vectors WHERE set_id = ? AND id > ? ORDER BY frame_id"
        rows = self._connection.read(sql, [chosen.id, last_id])
        if any(not isinstance(vector, bytes) or len(vector) != 4 * chosen.dim for _, vector in rows):
            raise corrupt(self._connection.directory)
        return rows

    def count(self, chosen: EmbeddingSet | None = None) -> int:
        """Return the number of vectors of a set, or of all sets, counting them one by one."""
        condition, parameters = ("", []) if chosen is None else ("WHERE set_id = ?", [chosen.id])
        return int(self._connection.read(f"SELECT COUNT(*) FROM vectors {condition}", parameters)[0][0])

    def count_misshapen(self, chosen: EmbeddingSet) -> int:
        """Return the number of vectors of a set whose length is not that of its dimension."""
        sql = "SELECT COUNT(*) FROM vectors WHERE set_id = ? AND LENGTH(vector) != ?"
        return int(self._connection.read(sql, [chosen.id, 4 * chosen.dim])[0][0])


def recorded(chosen: EmbeddingSet) -> RecordedEncoder:
    """Return the encoder that made the vectors of a set, which is of one arithmetic."""
    assert chosen.arithmetic is not None
    about = (chosen.model, chosen.dim, chosen.image_size, chosen.logit_scale)
    return RecordedEncoder(*about, chosen.fingerprint, chosen.arithmetic)
