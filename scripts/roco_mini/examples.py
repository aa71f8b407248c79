"""The example library: which images of the data may be shown, and so are never trained on.

    python scripts/roco_mini/examples.py DATA

copies the images that ``roco_search/examples/captions.csv`` names out of DATA into that folder. They were chosen by
hand, each looked at, of rows whose licence is CC0 or CC BY. No image of a case of theirs is trained on.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from roco_search.datasets.pair import Pair

EXAMPLES = Path(__file__).parents[2] / "roco_search/examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    args = parser.parse_args()
    rows = {}
    for split in ("train", "dev"):
        for line in (args.data / split / "metadata.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            rows[row["file_name"]] = {**row, "path": args.data / split / row["file_name"]}
    for shown in table():
        row = rows[shown["origin"]]
        if row["license_class"] != "permissive" or not _may_be_shown(row["license"]):
            raise SystemExit(f"{shown['origin']} is under {row['license']!r} and may not be shown")
        shutil.copyfile(row["path"], EXAMPLES / shown["file"])


def table() -> Iterator[dict[str, str]]:
    """Yield the rows of the example library's table."""
    with (EXAMPLES / "captions.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def without_shown(pairs: Sequence[Pair]) -> list[Pair]:
    """Leave out every pair of a case of which the example library shows an image."""
    cases = {row["case"] for row in table()}
    return [pair for pair in pairs if pair.case not in cases]


def _may_be_shown(licence: str) -> bool:
    words = licence.upper().replace("-", " ")
    free = "CC0" in words or "CC BY" in words
    return free and not any(f"BY {limit}" in words for limit in ("SA", "NC", "ND"))


if __name__ == "__main__":
    main()
