"""The flat matrix of a library on disk: a cache that grows at its end.

Three files. ``vectors.matrix`` holds the vectors as float32, ``vectors.ids`` their frame ids as int64, both
little-endian, ascending by frame id, after a page with a magic word and a token that ties the two to each other.
``vectors.json``, the manifest, is replaced whole and last: it says of which generation of the library the files are,
how many rows of them count, the SHA-256 of each part that was written, and the seals by which damage is found before a
query is answered. What follows those rows was left by a process that was killed, and is overwritten by the next;
nothing is ever cut off that another process may have mapped.

New images come at the end, so that bringing a million vectors up to date with a hundred new ones writes a hundred.
Anything else, a deletion or another order, is built again from SQLite.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from roco_search.errors import LibraryCorrupt
from roco_search.library.directory import IDS, MATRICES, MATRIX, MATRIX_MANIFEST, discard_caches
from roco_search.library.faults import corrupt
from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.store import Store
from roco_search.library.vectors.prefilter import Prefilter, prefilter_damaged, write_prefilter
from roco_search.system.files import locked_folder, replacing, sync
from roco_search.system.seals import Seal, read_record, write_record

MAGIC = b"ROCOVECT"
FORMAT = 3  # 3: with seals.
HEADER = 4096
ROWS_AT_ONCE = 1024
LONGEST = 1.1  # Square of the norm: all vectors are of norm 1, within rounding.
PARTS = 64  # Parts after which the files are written anew as one: each is a line of the manifest to check.

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Chunk = tuple[bytes, bytes]


class Mapped(NamedTuple):
    """Frame ids, int64 ``(n,)``; vectors, float32 ``(n, dim)``; (rows, SHA-256) of the parts they were written in."""

    ids: Ids
    matrix: Vectors
    parts: list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Generation:
    """What a cache was made of. Equal means: made of the same vectors in the same library."""

    library: str
    set_id: int
    fingerprint: str
    dim: int
    count: int
    last_id: int

    @classmethod
    def of(cls, store: Store, chosen: EmbeddingSet) -> "Generation":
        """Return the present state of a set."""
        library = store.settings["id"]
        return cls(library, chosen.id, chosen.fingerprint, chosen.dim, chosen.count, chosen.last_id)

    def kin(self, other: "Generation") -> bool:
        """Whether both are states of one set."""
        return (self.library, self.set_id, self.fingerprint, self.dim) == (
            other.library,
            other.set_id,
            other.fingerprint,
            other.dim,
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """The state of the files.

    `parts` are (rows, SHA-256 of ids and vectors), in order; `token` is in both files, and `seals` are theirs by name.
    """

    generation: Generation
    token: str
    parts: list[tuple[int, str]]
    seals: dict[str, Seal]

    @classmethod
    def read(cls, directory: Path) -> "Manifest | None":
        """Return the manifest, or None if there is none that can be read."""
        content = read_record(directory / MATRIX_MANIFEST)
        if content is None or content.get("format") != FORMAT or "parts" not in content:  # a record of something else
            return None
        parts = [(int(rows), str(digest)) for rows, digest in content["parts"]]
        seals = {name: Seal(**seal) for name, seal in content["seals"].items()}
        return cls(Generation(**content["generation"]), str(content["token"]), parts, seals)

    def write(self, directory: Path) -> None:
        """Put the manifest into its place.

        Raises
        ------
        OSError
        """
        content = asdict(self)
        content["parts"] = [list(part) for part in self.parts]
        write_record(directory / MATRIX_MANIFEST, {"format": FORMAT, **content})


def map_matrix(directory: Path, generation: Generation) -> Mapped | None:
    """Map the files if they are of this generation, and still what was written as far as their seals show."""
    manifest = Manifest.read(directory)
    if manifest is None or manifest.generation != generation or not generation.count:
        return None
    return _mapped(directory, manifest)


def _mapped(directory: Path, manifest: Manifest) -> Mapped | None:
    head = np.frombuffer(_head(manifest.token), np.uint8)
    found = [manifest.seals[name].open(directory / name) for name in (IDS, MATRIX)]
    parts = [content for content in found if content is not None and np.array_equal(content[:HEADER], head)]
    if len(parts) != len(found):  # damaged, or of another state than the manifest
        return None
    ids, matrix = (content[HEADER:] for content in parts)
    return Mapped(ids.view("<i8"), matrix.view("<f4").reshape(-1, manifest.generation.dim), manifest.parts)


def ends_alike(store: Store, chosen: EmbeddingSet, mapped: Mapped) -> bool:
    """Whether the last row is what SQLite has.

    A database put back from a backup can come to the same ids and count with other images.
    """
    last = np.ascontiguousarray(mapped.matrix[-1], "<f4")
    return store.embeddings.vector(chosen, int(mapped.ids[-1])) == last.tobytes()


def write_matrix(store: Store, chosen: EmbeddingSet, generation: Generation) -> None:
    """Bring the files up to date: add what is new at the end if nothing else has changed, else write them anew.

    Raises
    ------
    OSError
        If they could not be written whole; the manifest is then as it was.
    LibraryError
    """
    with locked_folder(store.directory):  # one process at a time writes the cache
        mapped = map_matrix(store.directory, generation)
        by_another = mapped is not None and ends_alike(store, chosen, mapped)
        if not by_another and not _append(store, chosen, generation):
            _write(store, chosen, generation)
        if mapped := map_matrix(store.directory, generation):
            write_prefilter(store.directory, mapped.matrix, mapped.parts)


def _append(store: Store, chosen: EmbeddingSet, generation: Generation) -> bool:
    directory = store.directory
    manifest = Manifest.read(directory)
    if manifest is None or not manifest.generation.kin(generation) or len(manifest.parts) >= PARTS:
        return False
    old = manifest.generation
    if not 0 < old.count < generation.count or old.last_id >= generation.last_id:
        return False
    mapped = _mapped(directory, manifest)
    if mapped is None or not ends_alike(store, chosen, mapped):
        return False
    # Vectors are only added and removed. If as many came as there are more now, none went.
    added = store.embeddings.added_since(chosen, old.last_id)
    if len(added) != generation.count - old.count or added[0][0] <= int(mapped.ids[-1]):
        return False
    digest = hashlib.sha256()
    with (directory / IDS).open("rb+") as ids, (directory / MATRIX).open("rb+") as matrix:
        ids.seek(HEADER + old.count * 8)
        matrix.seek(HEADER + old.count * 4 * old.dim)
        _pour(ids, matrix, _chunks(added, store.directory), digest)
    for name in (IDS, MATRIX):
        sync(directory / name)
    parts = [*manifest.parts, (len(added), digest.hexdigest())]
    Manifest(generation, manifest.token, parts, _seals(directory, generation, manifest.seals)).write(directory)
    return True


def _seals(directory: Path, generation: Generation, before: dict[str, Seal] | None = None) -> dict[str, Seal]:
    widths = {IDS: 8, MATRIX: 4 * generation.dim}
    return {
        name: Seal.put_on(directory / name, HEADER + generation.count * width, before[name] if before else None)
        for name, width in widths.items()
    }


def _write(store: Store, chosen: EmbeddingSet, generation: Generation) -> None:
    directory = store.directory
    # The old manifest is of other files from here on.
    with suppress(FileNotFoundError):
        (directory / MATRIX_MANIFEST).unlink()
    digest = hashlib.sha256()
    token = hashlib.sha256(json.dumps(asdict(generation), sort_keys=True).encode()).hexdigest()

    try:
        with (
            replacing(directory / MATRIX) as new_matrix,
            replacing(directory / IDS) as new_ids,
            new_ids.open("rb+") as ids,
            new_matrix.open("rb+") as matrix,
        ):
            ids.write(_head(token))
            matrix.write(_head(token))
            rows = _pour(ids, matrix, _chunks(store.embeddings.vectors(chosen), directory), digest)
            if rows != generation.count:
                raise corrupt(directory)
        parts = [(generation.count, digest.hexdigest())]
        Manifest(generation, token, parts, _seals(directory, generation)).write(directory)
    except OSError:
        discard_caches(directory, MATRICES)
        raise


def _pour(ids: BinaryIO, matrix: BinaryIO, chunks: Iterable[Chunk], digest: Any) -> int:
    """Write rows at the ends of both files, and hash them as `intact` does; return how many they were."""
    count = 0
    for numbers, vectors in chunks:
        ids.write(numbers)
        matrix.write(vectors)
        digest.update(numbers)
        digest.update(vectors)
        count += len(numbers) // 8
    return count


def _chunks(rows: Iterable[tuple[int, bytes]], directory: Path) -> Iterator[Chunk]:
    """Yield frame ids as int64 and vectors as float32, little-endian, `ROWS_AT_ONCE` at a time.

    Raises
    ------
    LibraryCorrupt
        If a number of a vector is none, or its norm is above 1: such a row would be among the answers to every query.
    """
    rows = iter(rows)
    while part := list(islice(rows, ROWS_AT_ONCE)):
        vectors = b"".join(vector for _, vector in part)
        norms = np.square(np.frombuffer(vectors, "<f4").reshape(len(part), -1), dtype=np.float64).sum(axis=1)
        if not (norms < LONGEST).all():  # not a number is not below anything
            raise corrupt(directory)
        yield np.array([frame_id for frame_id, _ in part], "<i8").tobytes(), vectors


def intact(directory: Path, generation: Generation) -> bool:
    """Whether every byte that counts is what was written; reads all of them."""
    manifest = Manifest.read(directory)
    mapped = map_matrix(directory, generation)
    if manifest is None or mapped is None:
        return False
    ids, matrix, _ = mapped
    start = 0
    for rows, expected in manifest.parts:
        digest = hashlib.sha256()
        for first in range(start, start + rows, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, start + rows)
            digest.update(ids[first:last].tobytes())
            digest.update(matrix[first:last].tobytes())
        if digest.hexdigest() != expected:
            return False
        start += rows
    if prefilter_damaged(directory):
        return False
    prefilter = Prefilter.open(directory, matrix, manifest.parts)
    return prefilter is None or prefilter.equals(matrix)


def renewed_prefilter(directory: Path, mapped: Mapped) -> Prefilter | None:
    """Write the 8-bit copy of a matrix anew, and map it. Raises OSError."""
    with locked_folder(directory):
        write_prefilter(directory, mapped.matrix, mapped.parts)
    return Prefilter.open(directory, mapped.matrix, mapped.parts)


def load_matrix(store: Store, chosen: EmbeddingSet) -> tuple[Ids, Vectors]:
    """Read all vectors into memory."""
    chunks = list(_chunks(store.embeddings.vectors(chosen), store.directory))
    ids = np.frombuffer(b"".join(numbers for numbers, _ in chunks), "<i8")
    if len(ids) != chosen.count:
        raise corrupt(store.directory)
    return ids, np.frombuffer(b"".join(vectors for _, vectors in chunks), "<f4").reshape(len(ids), chosen.dim)


def are_sound(store: Store, chosen: EmbeddingSet) -> bool:
    """Whether every vector in SQLite is one, reading all of them."""
    try:
        return all(_chunks(store.embeddings.vectors(chosen), store.directory))
    except LibraryCorrupt:
        return False


def _head(token: str) -> bytes:
    return (MAGIC + json.dumps({"format": FORMAT, "token": token}).encode()).ljust(HEADER)
