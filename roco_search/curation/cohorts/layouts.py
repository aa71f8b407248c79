"""The layouts of an exported cohort: those that Hugging Face's `datasets` and ``roco train`` read."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from roco_search.datasets.layouts.arrow import datasets_module
from roco_search.datasets.splits import sort_splits
from roco_search.errors import InputError

Layout = Literal["imagefolder", "datasets", "csv", "coco"]

IMAGES: dict[Layout, str] = {
    "imagefolder": "{split}",
    "datasets": ".images/{split}",
    "csv": "images",
    "coco": "{split}",
}
"""The folder of the images of a split."""
PROBABILITY = "probability_"
"""What the name of a column begins with that a probe filled; the name of the probe, or PROBE:LABEL, follows."""
UNKNOWN = "unknown"
"""What CSV has for a term that no header says: `datasets` would take a split without any for a column of numbers."""


@dataclass(frozen=True, slots=True)
class Row:
    """An image of an export: its path in the folder, its split, its caption, and its other columns."""

    name: str
    split: str
    text: str
    columns: dict[str, Any]


def checked_layout(layout: str) -> Layout:
    """Read the name of a layout. Raises `InputError` if it is none, or what writes it is not installed."""
    if layout not in get_args(Layout):
        raise InputError(f"{layout!r} is no layout; choose imagefolder, datasets, csv or coco.")
    if layout == "datasets":
        datasets_module()
    return cast("Layout", layout)


def write_tables(folder: Path, layout: Layout, rows: Sequence[Row]) -> None:
    """Write what names the images of an export, which are in the folder already.

    A column that says nothing of any image is left out, and one that says nothing of some has empty text there:
    `datasets` wants the same columns, of the same types, in every split. A probability that is not known stays empty.
    """
    empty = {name for name in rows[0].columns if all(row.columns[name] is None for row in rows)}
    rows = [replace(row, columns=_filled(row.columns, empty)) for row in rows]
    parts = {split: [row for row in rows if row.split == split] for split in sort_splits({row.split for row in rows})}
    match layout:
        case "imagefolder":
            for split, part in parts.items():
                _write_metadata(folder / split / "metadata.jsonl", part)
        case "csv":
            for split, part in parts.items():
                _write_csv(folder / f"{split}.csv", part)
        case "coco":
            (folder / "annotations").mkdir()
            for split, part in parts.items():
                _write_coco(folder / "annotations" / f"captions_{split}.json", part)
        case "datasets":
            _write_data_set(folder, parts)


def _filled(columns: dict[str, Any], empty: set[str]) -> dict[str, Any]:
    numbers = {"rows": 0, "columns": 0, "score": 0.0}
    said = {name: value for name, value in columns.items() if name not in empty}
    return {
        name: numbers.get(name, "") if value is None and not name.startswith(PROBABILITY) else value
        for name, value in said.items()
    }


def _write_metadata(file: Path, rows: Sequence[Row]) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as opened:
        for row in rows:
            cells = {"file_name": Path(row.name).name, "text": row.text, **row.columns}
            opened.write(json.dumps(cells, ensure_ascii=False) + "\n")


def _write_csv(file: Path, rows: Sequence[Row]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(["file_name", "text", *rows[0].columns])
        for row in rows:
            writer.writerow([row.name, row.text, *(UNKNOWN if cell == "" else cell for cell in row.columns.values())])


def _write_coco(file: Path, rows: Sequence[Row]) -> None:
    numbered = list(enumerate(rows, start=1))
    sizes = {
        number: {"width": row.columns.get("columns", 0), "height": row.columns.get("rows", 0)}
        for number, row in numbered
    }
    labels = {row.columns["label"]: None for row in rows}
    content = {
        "images": [{"id": number, "file_name": row.name, **sizes[number]} for number, row in numbered],
        "annotations": [
            {"id": number, "image_id": number, "caption": row.text, **row.columns} for number, row in numbered
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(labels, start=1)],
    }
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _write_data_set(folder: Path, parts: dict[str, list[Row]]) -> None:
    """Write what `datasets.load_from_disk` reads: the pictures are in its tables, and their files are removed."""
    import shutil

    from datasets import Dataset, DatasetDict, Features, Image, Value
    from datasets.arrow_writer import ArrowWriter
    from datasets.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    kinds: dict[str, Any] = {"rows": Value("int64"), "columns": Value("int64"), "score": Value("float64")}
    names = next(iter(parts.values()))[0].columns
    kinds |= {name: Value("float64") for name in names if name.startswith(PROBABILITY)}
    cells: dict[str, Any] = {"image": Image(), "text": Value("string")}
    features: Any = Features(cells | {name: kinds.get(name, Value("string")) for name in names})  # type: ignore[no-untyped-call, arg-type]
    scratch = folder / ".tables"
    scratch.mkdir()
    made = {}
    for split, part in parts.items():
        file = scratch / f"{split}.arrow"
        with ArrowWriter(path=str(file), features=features, writer_batch_size=64) as writer:
            for written in _cells(folder, part):
                writer.write(written)
            writer.finalize()
        made[split] = Dataset.from_file(str(file))
    shows_bars = not are_progress_bars_disabled()
    disable_progress_bars()  # roco has its own
    try:
        DatasetDict(made).save_to_disk(str(folder / ".saved"))
    finally:
        if shows_bars:
            enable_progress_bars()
    del made
    for entry in (folder / ".saved").iterdir():
        entry.rename(folder / entry.name)
    for name in (".saved", ".tables", ".images"):
        shutil.rmtree(folder / name)


def _cells(folder: Path, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for row in rows:
        image = {"bytes": (folder / row.name).read_bytes(), "path": Path(row.name).name}
        yield {"image": image, "text": row.text, **row.columns}
