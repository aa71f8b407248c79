"""Libraries of random vectors and pictures that compress as radiographs do: speed does not depend on what they show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from roco_search.library import Library
from roco_search.library.truth.store import Store, raw
from roco_search.models.encoder import Encoder

AT_ONCE = 20_000


def write_library(place: Path, count: int, encoder: Encoder) -> None:
    """Make a library of so many images that are not there, with random vectors of unit norm."""
    if (place / "library.db").exists():
        return
    with Library.create_or_open(place) as library:
        add_images(library._store, 0, count, encoder)
        library._refresh()


def add_images(store: Store, first: int, count: int, encoder: Encoder) -> None:
    """Add images as `roco index` would, without reading any."""
    chosen = store.embedding_set("active") or store.add_set(encoder, "active")
    random = np.random.default_rng(first)
    for start in range(first, first + count, AT_ONCE):
        number = min(AT_ONCE, first + count - start)
        vectors = random.normal(size=(number, chosen.dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        [(file_id,)] = store.read("SELECT COALESCE(MAX(id), 0) FROM files")
        [(frame_id,)] = store.read("SELECT COALESCE(MAX(id), 0) FROM frames")
        with store.transaction():
            store.connection.executemany(
                "INSERT INTO files (path, size, mtime_ns, content_hash, status) "
                "VALUES (CAST(? AS TEXT), 1, 1, ?, 'indexed')",
                ((raw(f"/images/{i // 1000:04}/{i:08}.png"), i.to_bytes(32)) for i in range(start, start + number)),
            )
            store.connection.executemany(
                "INSERT INTO frames (file_id, number, count, rows, columns) VALUES (?, 0, 1, 512, 512)",
                ((file_id + 1 + i,) for i in range(number)),
            )
            store.connection.executemany(
                "INSERT INTO vectors (set_id, frame_id, vector) VALUES (?, ?, ?)",
                ((chosen.id, frame_id + 1 + i, vector.tobytes()) for i, vector in enumerate(vectors)),
            )


def radiographs(count: int, sizes: tuple[int, ...] = (512, 768, 1024)) -> Iterator[np.ndarray]:
    """Yield smooth grey pictures with some noise, uint8 ``(height, width)``."""
    random = np.random.default_rng(0)
    for i in range(count):
        size = sizes[i % len(sizes)]
        coarse = Image.fromarray(random.integers(0, 255, (24, 24), np.uint8))
        smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.int16)
        yield np.clip(smooth + random.normal(0, 3, (size, size)), 0, 255).astype(np.uint8)


def write_pngs(folder: Path, count: int) -> list[Path]:
    """Write PNGs of 512 to 1024 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:05}.png" for i in range(count)]
    for path, pixels in zip(paths, radiographs(count), strict=True):
        if not path.exists():
            Image.fromarray(pixels).save(path)
    return paths
