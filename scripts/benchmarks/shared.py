"""A shared library of many rows: sending it, pulling it, searching in the copy, and what an index in the table finds.

    python scripts/benchmarks/shared.py --rows 1000000 --scratch DIR [--index]

Two people share a table in a folder: one makes it from rows whose vectors are those of `large.py`, and then adds
1,000; the other pulls both times. Every step is a process of its own, so that its peak of memory is its own. With
`--index`, an IVF_PQ index is made in the table, and its recall@10 measured; roco itself makes none.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from large import BLOCK, NEIGHBOURS, bases, between, timed

MORE = 1_000
SETTINGS = ((20, 10), (40, 20), (60, 40), (122, 20))  # nprobes and refine_factor


def address(scratch: Path) -> str:
    return f"lance+file://{scratch}/share/scans"


def blocks(images: np.ndarray, count: int) -> Any:
    """The vectors of all rows, in blocks of `BLOCK`."""
    random = np.random.default_rng(0)
    for start in range(0, count, BLOCK):
        yield start, between(images, min(BLOCK, count - start), random)


def add(store: Any, active: Any, start: int, vectors: np.ndarray) -> None:
    """Store one file of one frame for each vector, four in a series."""
    from roco_search.imaging import Tags
    from roco_search.library.truth.files import FileRecord

    store.files.record_roots({"/mnt/scans": "middle"})
    [root] = store.files.roots()
    for number, vector in enumerate(vectors, start):
        path = f"/mnt/scans/study-{number // 16:06}/series-{number // 4 % 4}/image-{number:08}.dcm"
        content = number.to_bytes(32, "big")
        record = FileRecord(
            path=path, root_id=root.id, size=500_000 + number, mtime_ns=1_700_000_000_000_000_000 + number,
            content_hash=content, frames=None, status="indexed", reason=None,
        )  # fmt: skip
        tags = Tags(
            modality=("CT", "MR", "DX")[number % 3], body_part="CHEST", rows=512, columns=512,
            series_uid=f"1.2.3.{number // 4}", study_uid=f"1.2.3.{number // 16}", instance_number=number % 4,
        )  # fmt: skip
        store.embeddings.add(active, store.files.add_frame(store.files.add(record), 0, 1, tags), vector)


def send(scratch: Path, found: dict[str, Any], parts: Any) -> None:
    from roco_search.library import Library
    from roco_search.models import load_encoder

    encoder = load_encoder("roco-mini", "cpu")
    with Library.create_or_open(address(scratch)) as library:
        began: list[float] = []
        with library.writing(encoder) as store:
            with timed(found, "rows into SQLite"):
                for start, vectors in parts:
                    with store.transaction():
                        active = store.embeddings.active() or store.embeddings.begin(encoder, "active")
                        add(store, active, start, vectors)
            began += [time.monotonic(), time.process_time()]
        found["sent"] = {
            "wall_s": round(time.monotonic() - began[0], 1),
            "cpu_s": round(time.process_time() - began[1], 1),
        }


def step_build(scratch: Path, count: int, found: dict[str, Any]) -> None:
    send(scratch, found, blocks(bases()[0], count))


def step_more(scratch: Path, count: int, found: dict[str, Any]) -> None:
    send(scratch, found, [(count, between(bases()[0], MORE, np.random.default_rng(7)))])


def step_pull(scratch: Path, count: int, found: dict[str, Any]) -> None:
    from roco_search.library import Library

    with timed(found, "pulled"):
        Library.open(address(scratch)).close()
    with Library.open(address(scratch)) as library:
        assert library.active().count >= count
        with timed(found, "matrix"):
            library.vectors()


def judged(images: np.ndarray, count: int, both: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ten nearest of all rows: their scores, and their numbers."""
    scores = np.full((len(both), NEIGHBOURS), -2, np.float32)
    numbers = np.full((len(both), NEIGHBOURS), -1)
    for start, block in blocks(images, count):
        all_scores = np.concatenate([scores, both @ block.T], axis=1)
        all_numbers = np.concatenate([numbers, np.tile(np.arange(start, start + len(block)), (len(both), 1))], axis=1)
        best = np.argpartition(-all_scores, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        scores, numbers = np.take_along_axis(all_scores, best, 1), np.take_along_axis(all_numbers, best, 1)
    return scores, numbers


def asked(images: np.ndarray, texts: np.ndarray) -> dict[str, np.ndarray]:
    return {"images": between(images, 100, np.random.default_rng(1)), "texts": texts}


def step_search(scratch: Path, count: int, found: dict[str, Any]) -> None:
    from roco_search.library import Library

    images, texts = bases()
    queries = asked(images, texts)
    with Library.open(address(scratch)) as library:
        assert library.active().count == count
        scores, _ = judged(images, count, np.concatenate(list(queries.values())))
        library.search(texts[:1], NEIGHBOURS, "exact")
        row = 0
        for kind, vectors in queries.items():
            used, wall, right = [], [], 0
            for vector in vectors:
                began = time.monotonic(), time.process_time()
                _, answered = library.search(vector[None], NEIGHBOURS, "exact")
                wall.append(time.monotonic() - began[0])
                used.append(time.process_time() - began[1])
                right += bool(np.allclose(answered[0], np.sort(scores[row])[::-1], atol=2e-6))
                row += 1
            found[kind] = {
                "exact": f"{right} of {len(vectors)}", "cpu_s": round(float(np.median(used)), 3),
                "wall_s": round(float(np.median(wall)), 3),
            }  # fmt: skip


def step_index(scratch: Path, count: int, found: dict[str, Any]) -> None:
    import lancedb

    images, texts = bases()
    queries = asked(images, texts)
    _, numbers = judged(images, count, np.concatenate(list(queries.values())))
    table = lancedb.connect(str(scratch / "share" / "scans")).open_table("library")
    partitions = max(1, count // 8192)
    before = size(scratch / "share")
    with timed(found, "made"):
        table.create_index(
            metric="cosine", vector_column_name="vector", index_type="IVF_PQ", num_partitions=partitions,
            num_sub_vectors=48, sample_rate=32, max_iterations=10,
        )  # fmt: skip
    found["partitions"], found["disk_GB"] = partitions, round((size(scratch / "share") - before) / 1e9, 3)
    for probes, refine in SETTINGS:
        row = 0
        for kind, vectors in queries.items():
            used, wall, shares = [], [], []
            for vector in vectors:
                began = time.monotonic(), time.process_time()
                search = table.search(vector, vector_column_name="vector").distance_type("cosine").limit(NEIGHBOURS)
                hits = (
                    search.nprobes(probes)
                    .refine_factor(refine)
                    .select(["path", "_distance"])
                    .to_arrow()["path"]
                    .to_pylist()
                )
                wall.append(time.monotonic() - began[0])
                used.append(time.process_time() - began[1])
                right = {int(path[-12:-4]) for path in hits} & set(numbers[row].tolist())
                shares.append(len(right) / NEIGHBOURS)
                row += 1
            found[f"{kind}, {probes} probes, refined {refine} times"] = {
                "recall": round(float(np.mean(shares)), 3), "cpu_s": round(float(np.median(used)), 3),
                "wall_s": round(float(np.median(wall)), 3),
            }  # fmt: skip


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def in_process(options: argparse.Namespace, person: str, step: str) -> dict[str, Any]:
    data = options.scratch / person
    data.mkdir(exist_ok=True)
    command = [sys.executable, str(Path(__file__)), "--rows", str(options.rows)]
    command += ["--scratch", str(options.scratch), "--step", step]
    ran = subprocess.run(command, env=os.environ | {"XDG_DATA_HOME": str(data)}, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    found["GB"] = {name: round(size(options.scratch / name) / 1e9, 3) for name in ("share", person)}
    print(step, json.dumps(found, indent=1), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--scratch", type=Path, required=True, help="an empty folder; its files are deleted")
    parser.add_argument("--index", action="store_true", help="also measure an index in the table")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.scratch = options.scratch.resolve()
    if options.step:
        found: dict[str, Any] = {}
        globals()[f"step_{options.step}"](options.scratch, options.rows, found)
        found["peak_MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(found))
        return
    (options.scratch / "share").mkdir(parents=True)
    try:
        in_process(options, "anna", "build")
        if options.index:
            in_process(options, "anna", "index")
        in_process(options, "bert", "pull")
        in_process(options, "bert", "search")
        in_process(options, "anna", "more")
        in_process(options, "bert", "pull")
    finally:
        shutil.rmtree(options.scratch)


if __name__ == "__main__":
    main()
