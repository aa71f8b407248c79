"""The pictures that relevance is fitted and judged with, embedded once per model and kept under ``build/``.

Three sets: `dev` (the imagefolder with columns), `scans` (real DICOM files with headers, and cases of PNG files), and
`train`, of which at most `CAP` pictures of each source, modality, body part and set of findings are taken.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.errors import ImageError
from roco_search.imaging import open_image
from roco_search.models.encoder import Encoder, announce_images
from roco_search.search.understanding import understand

CAP = 24
AT_ONCE = 32

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures with what is known of them: one row and one vector, float32 ``(n, dim)`` of unit norm, each."""

    rows: list[dict[str, Any]]
    vectors: Vectors


def embedded(name: str, folder: Path, encoder: Encoder, cache: Path) -> Pictures:
    """Return one of the sets, embedded now or before."""
    rows = {"dev": listed, "train": sampled, "scans": scanned}[name](folder)
    kept = cache / f"{name}-{encoder.fingerprint[:16]}.npz"
    if kept.exists():
        found = np.load(kept)
        if found["files"].tolist() == [row["file"] for row in rows]:
            good = found["good"]
            return Pictures([row for row, fine in zip(rows, good, strict=True) if fine], found["vectors"][good])
    vectors = np.zeros((len(rows), encoder.dim), np.float32)
    good = np.zeros(len(rows), bool)
    announce_images(encoder, len(rows))
    for start in range(0, len(rows), AT_ONCE):
        places, pictures = [], []
        for place in range(start, min(start + AT_ONCE, len(rows))):
            try:
                frame = next(open_image(Path(rows[place]["file"])))
            except ImageError:
                continue
            rows[place]["tags"] = frame.tags
            places.append(place)
            pictures.append(frame.pixels)
        if places:
            vectors[places] = encoder.encode_images(pictures)
            good[places] = True
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(kept, files=np.array([row["file"] for row in rows]), vectors=vectors, good=good)
    return Pictures([row for row, fine in zip(rows, good, strict=True) if fine], vectors[good])


def drawn(encoder: Encoder, each: int = 6) -> Pictures:
    """Return pictures of nothing (test patterns, pages, noise, drawings), embedded now, which takes seconds."""
    sys.path.append(str(Path(__file__).parents[1] / "roco_mini"))
    from drawn import drawn_pairs

    pairs = drawn_pairs(each)
    rows = [
        {"file": pair.picture.name, "modality": "none", "body_part": "none", "labels": [], "text": ""} for pair in pairs
    ]
    pictures = [pair.picture.read() for pair in pairs]
    parts = [encoder.encode_images(pictures[start : start + AT_ONCE]) for start in range(0, len(pictures), AT_ONCE)]
    return Pictures(rows, np.concatenate(parts))


def listed(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of an imagefolder's ``metadata.jsonl``."""
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]
    return [{**row, "file": str(folder / row["file_name"])} for row in rows]


def sampled(folder: Path) -> list[dict[str, Any]]:
    """Return at most `CAP` rows of each source, modality, body part and set of findings, spread over the cases."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in listed(folder):
        found[row["source"], row["modality"], row["body_part"], findings(row)].append(row)
    return [row for rows in found.values() for row in rows[:: max(1, len(rows) // CAP)][:CAP]]


def findings(row: dict[str, Any]) -> frozenset[str]:
    """Return the keys of the findings that the labels and the text of a picture name and do not deny."""
    found: set[str] = set()
    for text in (*row["labels"], row["text"]):
        found |= {concept.key for concept in understand(text, correct=False).of("finding")}
    return frozenset(found)


def scanned(folder: Path) -> list[dict[str, Any]]:
    """Return the files of the folder of scans."""
    return [{"file": str(path)} for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".jsonl"]
