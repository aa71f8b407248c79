"""Libraries of random vectors and pictures that compress as radiographs do: speed does not depend on what they show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from roco_search.imaging import Tags
from roco_search.library import Library
from roco_search.library.truth.files import FileRecord
from roco_search.library.truth.store import Store
from roco_search.models.encoder import Encoder

AT_ONCE = 20_000


def write_library(place: Path, count: int, encoder: Encoder) -> None:
    """Make a library of `count` images that do not exist, with random vectors of unit norm."""
    if (place / "library.db").exists():
        return
    Library.create_or_open(place).close()
    add_images(place, 0, count, encoder)
    with Library.open(place) as library:
        library.vectors()


def add_images(place: Path, first: int, count: int, encoder: Encoder) -> None:
    """Add images as `roco index` would, without reading any."""
    with closing(Store.open(place)) as store:
        chosen = store.embeddings.active() or store.embeddings.begin(encoder, "active")
        random = np.random.default_rng(first)
        for start in range(first, first + count, AT_ONCE):
            number = min(AT_ONCE, first + count - start)
            vectors = random.normal(size=(number, chosen.dim)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            with store.transaction():
                for i, vector in enumerate(vectors, start):
                    record = FileRecord(
                        path=f"/images/{i // 1000:04}/{i:08}.png",
                        root_id=None,
                        size=1,
                        mtime_ns=1,
                        content_hash=i.to_bytes(32),
                        frames=None,
                        status="indexed",
                        reason=None,
                    )
                    frame_id = store.files.add_frame(store.files.add(record), 0, 1, Tags(rows=512, columns=512))
                    store.embeddings.add(chosen, frame_id, vector)


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
