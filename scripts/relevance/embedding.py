"""The pictures that relevance is fitted and judged with, embedded once per model and kept under ``build/``.

Three sets: `dev` (the imagefolder with columns), `scans` (real DICOM files with headers, and cases of PNG files), and
`train`, of which at most `CAP` pictures of each source, modality, body part and first labels are taken.
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
from roco_search.models.encoder import Encoder
from roco_search.search.senses import DETECTABLE, detectable_key
from roco_search.search.understanding import understand

CAP = 300
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
    had: dict[str, tuple[np.ndarray, bool]] = {}
    if kept.exists():
        found = np.load(kept)
        had = dict(zip(found["files"].tolist(), zip(found["vectors"], found["good"], strict=True), strict=True))
    vectors = np.zeros((len(rows), encoder.dim), np.float32)
    good = np.zeros(len(rows), bool)
    missing = []
    for place, row in enumerate(rows):
        if row["file"] in had:
            vectors[place], good[place] = had[row["file"]]
        else:
            missing.append(place)
    for start in range(0, len(missing), AT_ONCE):
        places, pictures = [], []
        for place in missing[start : start + AT_ONCE]:
            try:
                pictures.append(next(open_image(Path(rows[place]["file"]))).pixels)
            except ImageError:
                continue
            places.append(place)
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
    """Return at most `CAP` rows of each source, modality, body part and first labels, spread over the cases."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in listed(folder):
        found[row["source"], row["modality"], row["body_part"], *row["labels"][:2]].append(row)
    return [row for rows in found.values() for row in rows[:: max(1, len(rows) // CAP)][:CAP]]


def findings(row: dict[str, Any]) -> frozenset[str]:
    """Return what the labels and the text of a picture name and do not deny, as `detectable_key` calls it.

    Those are findings, views, sequences and contrast. Where findings are only denied, the picture is normal.
    """
    found: set[str] = set()
    denied = False
    for text in (*row["labels"], row["text"]):
        if "doubtful" in text.lower():  # KL1 of a knee is no osteoarthritis (Kellgren and Lawrence 1957)
            continue
        read = understand(text, correct=False)
        found |= {detectable_key(concept) for concept in read.wanted if concept.kind in DETECTABLE}
        denied |= any(concept.kind == "finding" for concept in read.excluded)
    if denied and not any(name.startswith("finding:") for name in found):
        found.add("finding:normal")
    return frozenset(found)


def scanned(folder: Path) -> list[dict[str, Any]]:
    """Return the files of the folder of scans."""
    return [{"file": str(path)} for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".jsonl"]
