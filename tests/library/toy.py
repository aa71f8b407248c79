"""A real, deterministic encoder of a few lines, and files to index: these tests are about the library, not a model."""

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from roco_search.imaging import Tags
from roco_search.library import Library
from roco_search.library.reports import IndexReport, ReembedReport
from roco_search.library.truth.files import FileRecord
from roco_search.library.truth.store import Store


class ToyEncoder:
    """Projects a small grey copy of an image, and the hashed words of a text, into one space."""

    image_size = 16
    logit_scale = 10.0
    logit_bias = None

    def __init__(self, dim: int = 24, seed: int = 0, name: str = "toy") -> None:
        self.name = name
        self.dim = dim
        self.fingerprint = f"toy-{dim}-{seed}"
        self.batches: list[int] = []
        self._projection = np.random.default_rng(seed).normal(size=(16 * 16 + 1, dim)).astype(np.float32)

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append(len(images))
        return np.concatenate([self.encode_one(image) for image in images])

    def encode_one(self, image: np.ndarray) -> np.ndarray:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        small = np.asarray(Image.fromarray(image).convert("L").resize((16, 16)), np.float32).reshape(1, -1)
        return self._unit(np.append(small / 255, [[0.1]], axis=1).astype(np.float32) @ self._projection)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        rows = []
        for text in texts:
            seeds = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:8]) for word in text.split()]
            rows.append(sum(np.random.default_rng(seed).normal(size=self.dim) for seed in seeds))
        return self._unit(np.asarray(rows, np.float32))

    @staticmethod
    def _unit(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Opened:
    """A library in a temporary place with its encoder, and short names for what tests do all the time."""

    def __init__(self, directory: Path, encoder: ToyEncoder) -> None:
        self.directory = directory
        self.encoder = encoder
        self.library = Library.create_or_open(directory)

    def index(self, *paths: Path | str, **options: Any) -> IndexReport:
        return self.library.index(paths, self.encoder, **options)

    def reembed(self, encoder: ToyEncoder, **options: Any) -> ReembedReport:
        """Embed everything with another encoder; return the report of that."""
        report = self.library.index(None, encoder, reembed=True, **options).reembedding
        assert report is not None
        return report

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Read with SQL alone, on a connection of its own: what is on the disk, by nobody's account."""
        with closing(connect(self.directory)) as connection:
            return connection.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        """Change the tables behind the library's back."""
        with closing(connect(self.directory)) as connection, connection:
            connection.execute(sql)

    def describe(self, ids: Sequence[int], **values: str | int) -> None:
        """Give frames what their headers did not say, such as ``series="one"``."""
        assignments = ", ".join(f"{name} = ?" for name in values)
        with closing(connect(self.directory)) as connection, connection:
            for frame_id in ids:
                connection.execute(f"UPDATE frames SET {assignments} WHERE id = ?", [*values.values(), frame_id])

    def paths(self) -> list[str]:
        return [path for (path,) in self.rows("SELECT path FROM files WHERE status = 'indexed' ORDER BY path")]

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.library.close()


class Builder:
    """Puts files with their frames and vectors into a library as indexing would, without reading or embedding any."""

    def __init__(self, store: Store) -> None:
        self._store = store
        chosen = store.embeddings.active()
        assert chosen is not None, "the library has no model yet"
        self._chosen = chosen
        self._root_id = store.files.roots()[0].id

    @classmethod
    @contextmanager
    def of(cls, directory: Path) -> "Iterator[Builder]":
        """Build in a library that holds at least one image; everything is stored at the end, in one transaction."""
        with closing(Store.open(directory)) as store, store.transaction():
            yield cls(store)

    def add(self, path: str, content: int, vectors: Sequence[np.ndarray], case: str | None = None, **tags: Any) -> None:
        """Add a file of as many frames as there are vectors, all with the same tags; see `Tags`."""
        record = FileRecord(
            path=path,
            root_id=self._root_id,
            size=1,
            mtime_ns=1,
            content_hash=content.to_bytes(32),
            frames=None,
            status="indexed",
            reason=None,
        )
        file_id = self._store.files.add(record)
        self._store.files.set_cases([(case, file_id)])
        for number, vector in enumerate(vectors):
            frame_id = self._store.files.add_frame(file_id, number, len(vectors), Tags(**tags))
            self._store.embeddings.add(self._chosen, frame_id, vector)


def connect(directory: Path) -> sqlite3.Connection:
    """Open the database of a library as any program could."""
    connection = sqlite3.connect(directory / "library.db")
    connection.text_factory = os.fsdecode
    return connection


def draw(path: Path, seed: int, size: int = 24) -> Path:
    """Write a PNG whose content is told by `seed`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path


def draw_pages(path: Path, seeds: Sequence[int]) -> Path:
    """Write a TIFF of several pages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = [Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24), dtype=np.uint8)) for seed in seeds]
    pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:])
    return path


def spoil(path: Path, seed: int = 0) -> Path:
    """Write a PNG that is cut short, with a content of its own."""
    draw(path, seed)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def tables(directory: Path, *, keyed: bool = True) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table, apart from times and the salt, and what it keys unless `keyed`."""
    connection = connect(directory)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    content = {}
    for name in sorted(set(names) - {"settings", "_sqlite_migrations"}):
        cursor = connection.execute(f"SELECT * FROM {name} ORDER BY 1")
        columns = [column[0] for column in cursor.description]
        left_out = set() if keyed else {"series", "study", "case_key"}
        rows = [dict(zip(columns, row, strict=True)) for row in cursor]
        content[name] = [{k: v for k, v in row.items() if k not in left_out} for row in rows]
    connection.close()
    return content


def assert_same_library(one: Path, other: Path) -> None:
    """Row for row, ids included; vectors within 1e-5."""
    left, right = tables(one, keyed=False), tables(other, keyed=False)
    for row, twin in zip(left.pop("vectors"), right.pop("vectors"), strict=True):
        vector, twin_vector = (np.frombuffer(item.pop("vector"), "<f4") for item in (row, twin))
        np.testing.assert_allclose(vector, twin_vector, atol=1e-5)
        assert row == twin
    assert left == right
