"""Export a cohort of real scans to every layout, load each where it is meant to, and look into de-identified copies.

    ROCO_SCANS=DIR python scripts/proofs/cohorts.py [--count FILES] [--seed N]

The scans are taken twice: as they are, and with canaries in every text (see `canaries`). Each layout has to load in
`datasets`, with the rows and splits of the manifest, and in ``roco train``. No de-identified copy may hold a canary;
pydicom has to read each, with its pixels wherever it reads those of the original; and a UID of the original has to be
one new UID in all copies, and that of nothing else.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import counting
import datasets
import pydicom
from canaries import Planter, Search
from canary import sources
from counting import ROOT, Proof

from roco_search.curation.cohorts.cohort import Cohort, Definition, gather, members_of
from roco_search.curation.cohorts.export import Exported, Options, export_cohort
from roco_search.curation.cohorts.layouts import Layout
from roco_search.imaging import sniff
from roco_search.library import Library
from roco_search.models import load_encoder

datasets.disable_progress_bars()
warnings.simplefilter("ignore")  # of what pydicom says of canaries

EXAMPLES = ROOT / "roco_search" / "examples"
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


def prove(proof: Proof) -> None:
    """Do all of it."""
    planter = Planter()
    files = sources(proof.count, random.Random(proof.seed))
    plain, planted = proof.folder / "plain", proof.folder / "planted"
    for number, source in enumerate(files):
        place = f"series{number % 9}/{number:04}.dcm"
        (plain / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, plain / place)
        planter.dicom(source, planted / place, number)
    planter.pictures(planted / "said")
    for number, source in enumerate(sorted(Path(os.environ.get("ROCO_SCANS", EXAMPLES)).rglob("*.[pj][np]g"))):
        shutil.copyfile(source, plain / f"{number:04}{source.suffix}")
    from tests.models.checkpoints import clip

    base = clip(proof.folder / "clip")
    with filled(proof, plain) as (library, cohort):
        for layout in get_args(Layout):
            done = export_cohort(library, cohort, proof.folder / f"plain-{layout}", Options(layout=layout))
            loads(proof, done, layout)
            trains(proof, done, base)
        out = proof.folder / "renamed"
        export_cohort(library, cohort, out, Options(deidentify=True))
        consistent(proof, library, cohort, out)
    with filled(proof, planted) as (library, cohort):
        for layout in get_args(Layout):
            done = export_cohort(
                library, cohort, proof.folder / f"nameless-{layout}", Options(layout=layout, deidentify=True)
            )
            if layout != "imagefolder":  # whose loader in `datasets` knows no DICOM
                loads(proof, done, layout)
            nameless(proof, planter, done)
        trains(proof, done, base)


@contextmanager
def filled(proof: Proof, scans: Path) -> Iterator[tuple[Library, Cohort]]:
    """Index a folder, and yield its library with a cohort of everything in it."""
    with Library.create_or_open(proof.folder / f"library of {scans.name}") as library:
        library.index([scans], load_encoder("roco-mini"))
        cohort = gather(library, "everything", Definition(path=("*",)))
        proof.counts[f"images, {scans.name}"] = len(cohort.members)
        yield library, cohort


def loads(proof: Proof, done: Exported, layout: Layout) -> None:
    """Load an export in `datasets`, and decode every picture that is one."""
    folder, cache = Path(done.folder), str(proof.folder / "cache")
    found: Any
    match layout:
        case "imagefolder":
            found = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=cache)
        case "datasets":
            found = datasets.load_from_disk(str(folder))
        case "csv":
            tables = {split: str(folder / f"{split}.csv") for split in done.splits}
            found = datasets.load_dataset("csv", data_files=tables, cache_dir=cache)
        case "coco":
            tables = {split: str(folder / "annotations" / f"captions_{split}.json") for split in done.splits}
            found = datasets.load_dataset("json", data_files=tables, field="annotations", cache_dir=cache)
    if {split: part.num_rows for split, part in found.items()} != done.splits:
        proof.fail(f"{folder.name}: datasets has other splits than the manifest: {found}")
    for part in found.values():
        for row in part:
            if "image" in row and min(row["image"].size) < 1:
                proof.fail(f"{folder.name}: an empty picture")
            proof.counts["rows in datasets"] += 1


def trains(proof: Proof, done: Exported, base: Path) -> None:
    """Train on an export for a few steps."""
    tuned = proof.folder / f"tuned on {Path(done.folder).name}"
    sizes = ("--batch-size", "8", "--micro-batch", "4", "--max-steps", "3")
    command = [sys.executable, "-m", "roco_search", "train", done.folder, "--base", str(base), "--output", str(tuned)]
    ended = subprocess.run([*command, *sizes], check=False, cwd=ROOT, capture_output=True, text=True)
    proof.counts["trained"] += 1
    if ended.returncode or not (tuned / "model.safetensors").exists():
        proof.fail(f"roco train {Path(done.folder).name}: {ended.stderr[-2000:]}")


def nameless(proof: Proof, planter: Planter, done: Exported) -> None:
    """Search every byte of an export, and every name."""
    search = Search(planter.digests)
    proof.counts["canaries"] = planter.planted
    for file in sorted(path for path in Path(done.folder).rglob("*") if path.is_file()):
        name = str(file.relative_to(done.folder))
        proof.counts["files searched"] += 1
        for sentence in (*search.found(name.encode(), "a name"), *search.found(file.read_bytes(), name)):
            proof.fail(f"{Path(done.folder).name}: {sentence}")


def consistent(proof: Proof, library: Library, cohort: Cohort, folder: Path) -> None:
    """Compare each copy with its original: pixels that can be read, and UIDs, one for one."""
    paths = list(dict.fromkeys(entry.frame.path for entry in members_of(library, cohort)))
    originals = [path for path in paths if sniff(path) == "dicom"]
    copies = sorted(folder.rglob("*.dcm"), key=lambda file: file.name)
    if len(originals) != len(copies):
        proof.fail(f"{len(originals)} originals have {len(copies)} copies")
    new_of: dict[str, str] = {}
    inside = ""
    for source, copy in zip(originals, copies, strict=True):
        before, after = pydicom.dcmread(source, force=True), pydicom.dcmread(copy)
        proof.counts["copies"] += 1
        if readable(before) and not readable(after):
            proof.fail(f"{source}: the pixels of the copy cannot be read")
        if after.file_meta.MediaStorageSOPInstanceUID != after.SOPInstanceUID:
            proof.fail(f"{source}: two UIDs of one object")
        for keyword in UIDS:
            old, new = str(before.get(keyword) or ""), str(after.get(keyword) or "")
            if old and new and new_of.setdefault(old, new) != new:
                proof.fail(f"{source}: {keyword} {old} is {new} here and {new_of[old]} elsewhere")
        inside += after.to_json()
    if len(set(new_of.values())) != len(new_of):
        proof.fail("two UIDs became one")
    proof.counts["UIDs"] = len(new_of)
    for old in new_of:
        if f'"{old}"' in inside and old not in pydicom.uid.UID_dictionary:
            proof.fail(f"{old} is still in a copy")


def readable(dataset: pydicom.Dataset) -> bool:
    """Whether pydicom reads the pixels."""
    try:
        return bool(dataset.pixel_array.size)
    except Exception:  # whatever a decoder says of them
        return False


if __name__ == "__main__":
    counting.run("cohorts", __doc__, 300, "DICOM files", prove)
