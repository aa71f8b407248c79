"""Exact search in a matrix of millions of vectors: time, memory, disk, and whether the answers are exact.

    python scripts/benchmarks/large.py --vectors 10000000 --scratch DIR

The matrix and its 8-bit copy are those of a library; SQLite, which the search does not read, is left out. Vectors lie
between two of the example images, with noise, each of unit norm. Queries are further such vectors, and texts such as
people ask for. The judge is a product of all queries with all rows, in blocks.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from roco_search.library.vectors.index import VectorIndex
from roco_search.library.vectors.matrix import Generation
from roco_search.library.vectors.prefilter import Prefilter, write_prefilter

BLOCK = 50_000
NEIGHBOURS = 10
FILTERS = {"none": 1, "one in 5": 5, "one in 200": 200}


def bases() -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of the example images, and of texts."""
    import roco_search
    from roco_search.imaging import open_image
    from roco_search.models import load_encoder
    from roco_search.vocabulary.concepts import typical_queries

    files = sorted((Path(roco_search.__file__).parent / "examples").rglob("*.jpg"))
    files += sorted((Path(roco_search.__file__).parent / "examples").rglob("*.png"))
    encoder = load_encoder("roco-mini", "cpu")
    images = encoder.encode_images([next(open_image(file)).pixels for file in files])
    texts = typical_queries()
    chosen = np.random.default_rng(0).permutation(len(texts))
    return images, encoder.encode_texts([texts[number] for number in chosen[:100]])


def between(images: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Vectors between two images, with noise."""
    one, other = images[random.integers(0, len(images), (2, count))]
    share = random.random((count, 1), np.float32)
    found = share * one + (1 - share) * other
    found += random.standard_normal((count, images.shape[1]), np.float32) * np.float32(0.4 / images.shape[1] ** 0.5)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found, np.float32)


@contextmanager
def timed(found: dict[str, Any], name: str) -> Iterator[None]:
    wall, used = time.monotonic(), time.process_time()
    yield
    found[name] = {"wall_s": round(time.monotonic() - wall, 3), "cpu_s": round(time.process_time() - used, 3)}
    print(name, found[name], flush=True)


def private() -> int:
    """Bytes of this process's own memory, without what is mapped from files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--scratch", type=Path, required=True, help="an empty folder; its files are deleted")
    options = parser.parse_args()
    images, texts = bases()
    dim, count = images.shape[1], options.vectors
    queries = {"images": between(images, 100, np.random.default_rng(1)), "texts": texts}
    both = np.concatenate(list(queries.values()))
    found: dict[str, Any] = {"vectors": count, "dim": dim}
    path = options.scratch / "matrix"
    exact = {name: np.full((len(both), NEIGHBOURS), -2, np.float32) for name in FILTERS}
    try:
        with timed(found, "write"), path.open("wb") as file:
            random = np.random.default_rng(0)
            for start in range(0, count, BLOCK):
                block = between(images, min(BLOCK, count - start), random)
                block.tofile(file)
                for name, every in FILTERS.items():  # while it is in memory
                    first = -start % every
                    scores = np.concatenate([exact[name], both @ block[first::every].T], axis=1)
                    exact[name] = -np.partition(-scores, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        matrix = np.memmap(path, np.float32, "r", shape=(count, dim))
        parts = [(count, "0" * 64)]
        with timed(found, "copy in 8 bits"):
            write_prefilter(options.scratch, matrix, parts)
        prefilter = Prefilter.open(options.scratch, matrix, parts)
        files = sum(file.stat().st_size for file in options.scratch.iterdir())
        found["disk_GB"] = {"matrix": round(path.stat().st_size / 1e9, 2), "all": round(files / 1e9, 2)}
        generation = Generation("0", 1, "0", dim, count, count)
        index = VectorIndex(options.scratch, generation, np.arange(count), matrix, prefilter, parts)
        index.search(both[:1], NEIGHBOURS, "exact")
        before = private()
        for name, every in FILTERS.items():
            among = None if every == 1 else np.arange(0, count, every)
            for kind, asked in queries.items():
                wall, used, right = [], [], 0
                for number, query in enumerate(asked):
                    began = time.monotonic(), time.process_time()
                    _, scores = index.search(query[None], NEIGHBOURS, "exact", among)
                    wall.append(time.monotonic() - began[0])
                    used.append(time.process_time() - began[1])
                    judged = np.sort(exact[name][number + (0 if kind == "images" else len(queries["images"]))])[::-1]
                    right += bool(np.allclose(scores[0], judged, atol=2e-6))
                found[f"{kind}, filter {name}"] = {
                    "exact": f"{right} of {len(asked)}", "cpu_s": round(float(np.median(used)), 3),
                    "wall_s": round(float(np.median(wall)), 3),
                }  # fmt: skip
                print(f"{kind}, filter {name}", found[f"{kind}, filter {name}"], flush=True)
        found["own_memory_MB"] = round((private() - before) / 1e6)
        found["peak_MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(found, indent=1))
    finally:
        for file in options.scratch.iterdir():
            file.unlink()


if __name__ == "__main__":
    main()
