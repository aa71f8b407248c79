"""What probes say of a whole library: one product of its matrix, as a file, as conditions, and what to label next."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from mmap import MADV_DONTNEED, mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.library import Library
from roco_search.probe import shelf
from roco_search.probe.probe import Probe
from roco_search.system.files import replacing, write_errors

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

FORMATS = (".csv", ".jsonl", ".npz")
ROWS_AT_ONCE = 65_536  # 100 MB of a matrix of 384 dimensions, mapped and let go again.
POOL = 20  # Times as many uncertain pictures as are wanted, among which those unlike one another are chosen.
_CONDITION = re.compile(
    r"\s*(?:(?P<probe>[^:<>=]+):)?(?P<label>[^:<>=]+?)\s*(?P<sign>>=|<=|>|<)\s*(?P<value>[\d.]+)\s*"
)


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """Probabilities of pictures: ids, int64 ``(n,)``, and float32 ``(n, labels)``, in the same order."""

    ids: Ids
    probabilities: Vectors


def apply(library: Library, probe: Probe, ids: Ids | None = None) -> Applied:
    """Return the probabilities of a library's pictures, or of those with these ids that have a vector.

    Raises
    ------
    ModelMismatch
        If the library is of another model than the probe.
    LibraryEmpty
    """
    with library.snapshot():
        probe.check_library(library.active())
        index = library.vectors()
        rows = None if ids is None else index.rows(ids)
        count = len(index.ids) if rows is None else len(rows)
        found = np.empty((count, len(probe.labels)), np.float32)
        weights = np.ascontiguousarray(probe.weights.T)
        for start in range(0, count, ROWS_AT_ONCE):
            end = min(count, start + ROWS_AT_ONCE)
            part = index.matrix[start:end] if rows is None else index.matrix[rows[start:end]]
            logits = np.clip(part @ weights + probe.bias, -30, 30)
            found[start:end] = 1 / (1 + np.exp(-logits))
            _let_go(index.matrix)
        return Applied(index.ids if rows is None else index.ids[rows], found)


def by_all(library: Library, ids: Ids) -> dict[str, dict[int, float]]:
    """Return what every probe of the library's model says of some frames: probabilities by id, for each label.

    A label is named as its probe is, or as PROBE:LABEL where that has several. Probes of another model are passed over.

    Raises
    ------
    InputError
        If the file of a probe is damaged.
    """
    found: dict[str, dict[int, float]] = {}
    with library.snapshot():
        for probe in shelf.probes(library):
            if probe.fingerprint != library.active().fingerprint:
                continue
            said = apply(library, probe, np.unique(ids))
            for place, label in enumerate(probe.labels):
                name = probe.name if len(probe.labels) == 1 else f"{probe.name}:{label}"
                shares = (round(share, 4) for share in said.probabilities[:, place].tolist())
                found[name] = dict(zip(said.ids.tolist(), shares, strict=True))
    return found


def _let_go(matrix: Vectors) -> None:
    """Give back the pages of a mapped matrix: what was read once would count as this process's memory until it ends."""
    at: object = matrix
    while isinstance(at, np.ndarray | memoryview):
        at = at.base if isinstance(at, np.ndarray) else at.obj
    if isinstance(at, mmap) and hasattr(at, "madvise"):
        at.madvise(MADV_DONTNEED)


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
                writer.writerows([path, frame, *[f"{share:.4f}" for share in shares]] for path, frame, shares in rows)
                return
            for path, frame, shares in rows:
                shown = dict(zip(probe.labels, (round(share, 4) for share in shares), strict=True))
                text.write(json.dumps({"path": os.fspath(path), "frame": frame, "probabilities": shown}) + "\n")


def _rows(library: Library, said: Applied) -> Iterator[tuple[str, int, list[float]]]:
    listed = _listed(said)
    wanted = next(listed, None)
    for frame_id, path, number in library.frames.places(library.active()):
        while wanted is not None and wanted[0] < frame_id:
            wanted = next(listed, None)
        if wanted is not None and wanted[0] == frame_id:
            yield path, number, wanted[1]


def _listed(said: Applied) -> Iterator[tuple[int, list[float]]]:
    """Yield each id with its probabilities of what was applied; lists are read several times as fast as arrays."""
    for start in range(0, len(said.ids), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        yield from zip(said.ids[part].tolist(), said.probabilities[part].tolist(), strict=True)


def where(library: Library, conditions: Iterable[str]) -> Ids:
    """Return the ids of the frames that meet all of some conditions, int64, ascending.

    Parameters
    ----------
    library
        The library, and its probes.
    conditions
        Such as ``"effusion>0.8"`` or ``"chest:effusion<=0.2"``: a label, that of one probe alone or after the name of
        its probe and a colon, and a probability.

    Raises
    ------
    InputError
        If a condition cannot be read, or names no label, or one of several probes.
    ModelMismatch, LibraryEmpty
    """
    passing = library.embedded()
    for condition in conditions:
        read = _CONDITION.fullmatch(condition)
        value = _number(read["value"]) if read else None
        if read is None or value is None:
            raise InputError(f"{condition!r} is no condition; write it as in 'effusion>0.8' or 'PROBE:LABEL<=0.2'.")
        probe, place = _label(library, read["probe"], read["label"].strip())
        said = apply(library, probe, passing)
        shares = said.probabilities[:, place]
        signs = {">": shares > value, ">=": shares >= value, "<": shares < value, "<=": shares <= value}
        passing = said.ids[signs[read["sign"]]]
    return passing


def find(library: Library, text: str) -> tuple[Probe, int]:
    """Return a probe and the number of one of its labels, named as ``NAME`` or ``NAME:LABEL``; raises `InputError`."""
    name, _, label = text.partition(":")
    probe = shelf.read_probe(library, name)
    return probe, probe.place(label or None)


def _label(library: Library, probe: str | None, label: str) -> tuple[Probe, int]:
    if probe is not None:
        return find(library, f"{probe.strip()}:{label}")
    known = shelf.probes(library)
    if alone := next((found for found in known if found.name == label and len(found.labels) == 1), None):
        return alone, 0
    having = [found for found in known if label in found.labels]
    if not having:
        raise InputError(f"No probe of this library has the label {label!r}; `roco probe list` shows those there are.")
    if len(having) > 1:
        several = ", ".join(f"{found.name}:{label}" for found in having)
        raise InputError(f"Several probes have the label {label!r}; write which: {several}.")
    return having[0], having[0].place(label)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def worth_labelling(
    library: Library, probe: Probe, place: int, n: int = 10, *, ids: Ids | None = None, without: Sequence[int] = ()
) -> Applied:
    """Return the pictures whose label would teach the most: uncertain ones, unlike one another.

    The nearest to the probability on which the label turns (Youden's) are candidates, `POOL` times as many as wanted.
    The most uncertain is taken first; then, each time, the one whose uncertainty and distance to what is taken already
    have the greatest product (after Brinker 2003).

    Parameters
    ----------
    library, probe
        A library, and a probe of its model.
    place
        The number of the label.
    n
        How many.
    ids, without
        Among which frames, or all; and those that are passed over besides what the probe was taught with.
    """
    with library.snapshot():
        said = apply(library, probe, ids)
        known = np.isin(said.ids, np.union1d(probe.learned, np.asarray(without, np.int64)))
        shares = said.probabilities[~known, place].astype(np.float64)
        open_ids, turn = said.ids[~known], min(max(probe.limits[place].best, 1e-3), 1 - 1e-3)
        distance = np.abs(_logit(shares) - _logit(np.array(turn)))
        nearest = np.argsort(distance, kind="stable")[: n * POOL]
        vectors = library.embeddings(open_ids[nearest])
    uncertain = 1 / (1 + distance[nearest])
    apart = np.ones(len(nearest))
    chosen: list[int] = []
    for _ in range(min(n, len(nearest))):
        gain = uncertain * apart
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        apart = np.minimum(apart, np.maximum(1 - vectors @ vectors[best], 0))
    picked = open_ids[nearest[chosen]]
    return Applied(picked, said.probabilities[~known][nearest[chosen]])


def _logit(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    kept = np.clip(shares, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(kept / (1 - kept)))
