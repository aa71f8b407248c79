"""Probabilities of a whole library as a file: CSV, JSON Lines, or NumPy's for programs."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from roco_search.library import Library
from roco_search.probe.applying import Applied
from roco_search.probe.probe import Probe
from roco_search.system.files import replacing, write_errors

FORMATS = (".csv", ".jsonl", ".npz")


def write(library: Library, probe: Probe, said: Applied, target: Path) -> None:
    """Write the probability of each label for each picture, whole or not at all, for its owner alone.

    CSV and JSON Lines have path, frame (from 0) and a column for each label; ``.npz`` has the arrays ``ids``,
    ``probabilities`` and ``labels``. The caller holds a snapshot of the library.

    Raises
    ------
    InputError, StorageFull
        If it cannot be written.
    """
    with write_errors(target), replacing(target) as made:
        if target.suffix.lower() == ".npz":
            with made.open("wb") as binary:
                np.savez(binary, ids=said.ids, probabilities=said.probabilities, labels=np.array(probe.labels))
            return
        with made.open("w", encoding="utf-8", errors="surrogateescape", newline="") as text:
            rows = _rows(library, said)
            if target.suffix.lower() == ".csv":
                writer = csv.writer(text, lineterminator="\n")
                writer.writerow(["path", "frame", *probe.labels])
                writer.writerows((path, frame, *(f"{share:.4f}" for share in shares)) for path, frame, shares in rows)
                return
            for path, frame, shares in rows:
                shown = dict(zip(probe.labels, (round(share, 4) for share in shares), strict=True))
                text.write(json.dumps({"path": os.fspath(path), "frame": frame, "probabilities": shown}) + "\n")


def _rows(library: Library, said: Applied) -> Iterator[tuple[str, int, list[float]]]:
    wanted = 0
    for frame_id, path, number in library.frames.places(library.active()):
        while wanted < len(said.ids) and said.ids[wanted] < frame_id:
            wanted += 1
        if wanted < len(said.ids) and said.ids[wanted] == frame_id:
            yield path, number, said.probabilities[wanted].tolist()
