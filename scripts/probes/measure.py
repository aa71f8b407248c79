"""Heads of few labels against zero-shot, on real images: the tables of ``manual/teach.md``.

    scripts/probes/measure.py PAIRS --library DIR

PAIRS holds ``dev`` and ``train``, imagefolders whose metadata has ``labels``, ``source`` and ``group`` (the case).
The library is made if it is not there. Two tables are printed:

- **labels of unseen images**: labels are drawn from ``dev``, which the embedded model was not trained on, and measured
  on all other cases of ``dev``. This is what somebody with their own images can expect.
- **labels of the training sources**: labels are drawn from ``train``, which the embedded model has seen with its texts,
  and measured on ``dev``.

Each figure is the mean AUC over draws, with a 95 % bootstrap interval by case over the images that were measured.
Zero-shot, what ``roco classify`` answers, is measured on the same images. Nothing is chosen here: penalties are weighed
within each draw's own labels by cross-validation.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.probe.examples import Examples, from_labels
from roco_search.probe.teaching.fitting import Material, learning_curve
from roco_search.probe.teaching.teach import Coordinates
from roco_search.probe.teaching.zero_shot import start_from_text
from roco_search.statistics.binary import cluster_weights
from roco_search.statistics.classification import weighted_auc

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]

SIZES = (5, 20, 50)
DRAWS = 10


@dataclass(frozen=True)
class Task:
    """Which rows take part, which labels are learned, and what is to be said beside the figures."""

    name: str
    labels: tuple[str, ...]
    takes: Callable[[Row], bool]
    remark: str = ""
    by_file: bool = False


def of(source: str, *labels: str) -> Callable[[Row], bool]:
    return lambda row: row["source"] == source and (not labels or bool(set(labels) & set(row["labels"])))


def bones(row: Row) -> bool:
    unbroken = {"normal knee", "Hand", "hand"} & set(row["labels"]) or (row["source"], *row["labels"][:1]) == (
        "scoliosis_xr",
        "normal",
    )
    return row["source"] == "bone_break_xr" or bool(unbroken and row["modality"] == "XR")


TASKS = (
    Task("brain tumour, MR", ("glioma", "meningioma", "pituitary tumor", "no tumor"), of("brain_tumor_mri")),
    Task("breast ultrasound", ("malignant",), of("busi_us", "malignant", "benign")),
    Task("coronary angiogram", ("stenosis",), of("arcade_xa")),
    Task("child's chest X-ray", ("pneumonia",), of("kermany_cxr")),
    Task(
        "pneumonia of children", ("bacterial pneumonia",), of("kermany_cxr", "bacterial pneumonia", "viral pneumonia")
    ),
    Task("adult chest X-ray", ("pneumonia",), of("nih_talo")),
    Task("bone X-ray", ("fracture",), bones, "the two sides are of different sources"),
    Task(
        "ultrasound",
        ("kidney stone",),
        lambda row: row["modality"] == "US",
        "no patients are stated; the two sides are of different sources",
        by_file=True,
    ),
    Task("MedPix CT and MR", ("axial", "coronal", "sagittal"), of("medpix2", "Axial", "Coronal", "Sagittal")),
)


def rows_of(pairs: Path, split: str, task: Task) -> Iterator[Row]:
    folder = (pairs / split).absolute()
    for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if not task.takes(row):
            continue
        labels = [str(label).lower() for label in row["labels"]]
        if any("fracture" in label for label in labels):
            labels.append("fracture")
        path = str(folder / row["file_name"])
        yield {"path": path, "labels": labels, "group": path if task.by_file else row["group"], "split": split}


@dataclass(frozen=True)
class Measured:
    """The material of one task: examples of both splits, and which of them are of ``dev``."""

    examples: Examples
    vectors: npt.NDArray[np.float32]
    dev: npt.NDArray[np.bool_]
    zero_shot: Floats
    space: Coordinates


def of_pairs(place: Path, pairs: Path) -> Library:
    """Open the library of the pairs' images; make it if it is not there."""
    if not (place / "library.db").exists():
        with Library.create_or_open(place) as made:
            made.index([pairs], load_encoder("roco-mini"))
    return Library.open(place)


def read(library: Library, encoder: Any, pairs: Path, task: Task) -> Measured:
    rows = [row for split in ("dev", "train") for row in rows_of(pairs, split, task)]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "labels.jsonl"
        table.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        examples = from_labels(library, table, labels=task.labels)
    frames = list(library.frames.get(examples.ids.tolist()).values())
    vectors = library.embeddings(examples.ids)
    start = start_from_text(encoder, examples.names, frames, vectors, exclusive=examples.exclusive)
    in_dev = (pairs / "dev").resolve()
    dev = np.array([Path(frame.path).is_relative_to(in_dev) for frame in frames])
    return Measured(examples, vectors, dev, start.probabilities, Coordinates.of(library, start))


def interval(runs: Sequence[Floats], positive: npt.NDArray[np.bool_], cases: npt.NDArray[np.int64]) -> Floats:
    """Return the mean AUC over draws and what it is on resamples of cases, float64 ``(1 + resamples,)``."""
    ones = np.ones((1, len(positive)))
    found = []
    for weights in (ones, *cluster_weights(cases, 0)):
        areas = []
        for logits in runs:
            there = np.isfinite(logits)
            areas.append(weighted_auc(logits[there], positive[there], weights[:, there]))
        found.append(np.nanmean(areas, axis=0))
    return np.concatenate(found)


def table(title: str, measured: Sequence[tuple[Task, Measured]], *, from_train: bool) -> None:
    print(f"\n## {title}\n")
    print("| images | label | positive of | zero-shot | " + " | ".join(f"{size} a class" for size in SIZES) + " |")
    print("|---|---|---|---|" + "---|" * len(SIZES))
    gains: dict[int, list[float]] = {size: [] for size in SIZES}
    for task, material in measured:
        own: dict[int, list[float]] = {size: [] for size in SIZES}
        for column, label in enumerate(material.examples.names):
            cells = figures(material, column, from_train=from_train)
            if cells is None:
                continue
            counts, before, after = cells
            shown = [shown_interval(after[size]) if size in after else "–" for size in SIZES]
            print(f"| {task.name} | {label} | {counts} | {shown_interval(before)} | {' | '.join(shown)} |", flush=True)
            for size, drawn in after.items():
                own[size].append(float(drawn[0] - before[0]))
        for size, values in own.items():
            if values:
                gains[size].append(float(np.mean(values)))
    for size, values in gains.items():
        if values:
            print(f"\n{size} a class: {np.mean(values):+.3f} over zero-shot, mean of {len(values)} tasks", end="")
            print(f" ({', '.join(f'{value:+.3f}' for value in values)})")


def figures(material: Measured, column: int, *, from_train: bool) -> tuple[str, Floats, dict[int, Floats]] | None:
    rows = np.flatnonzero(material.dev | from_train)
    known = np.isfinite(material.examples.truth[rows, column])
    rows = rows[known]
    positive = material.examples.truth[rows, column] == 1
    cases, dev = material.examples.cases[rows], material.dev[rows]
    coordinates = material.space.basis.coordinates(material.vectors[rows])
    prior = material.space.prior(material.vectors[rows], column)
    among = ~dev if from_train else None
    if from_train and min((positive & ~dev).sum(), (~positive & ~dev).sum()) < SIZES[0]:
        return None
    curve = learning_curve(Material(coordinates, prior, positive, cases), SIZES, among=among, repeats=DRAWS)
    zero_shot = material.zero_shot[rows, column]
    after: dict[int, Floats] = {}
    before = None
    for size, runs in curve.items():
        kept = [np.where(dev, logits, np.nan) for logits in runs]
        after[size] = interval(kept, positive, cases)
        same = [np.where(np.isfinite(logits), zero_shot, np.nan) for logits in kept]
        before = interval(same, positive, cases) if before is None or size == 20 else before
    if before is None:
        return None
    return f"{int((positive & dev).sum())} of {int(dev.sum())}", before, after


def shown_interval(drawn: Floats) -> str:
    low, high = np.nanpercentile(drawn[1:], (2.5, 97.5))
    return f"{drawn[0]:.3f} ({low:.3f}–{high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--library", type=Path, required=True)
    options = parser.parse_args()
    pairs = options.pairs.resolve()
    with of_pairs(options.library, pairs) as library:
        encoder = load_encoder(library.active().model)
        measured = [(task, read(library, encoder, pairs, task)) for task in TASKS]
        table("Labels of unseen images", measured, from_train=False)
        table("Labels of the training sources", measured, from_train=True)


if __name__ == "__main__":
    main()
