"""An exported cohort loads where it is meant to, divides no case, and is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from roco_search.curation.cohorts.cohort import Cohort, Definition, gather, members_of
from roco_search.curation.cohorts.export import MANIFEST, Options, export_cohort
from roco_search.curation.cohorts.layouts import UNKNOWN, Layout, Row, write_tables
from roco_search.datasets import open_pairs, open_training
from roco_search.datasets.splits import divide_cases
from roco_search.errors import InputError
from roco_search.imaging import open_image
from roco_search.library import Library
from roco_search.probe.probe import Claim, Limits, Probe
from roco_search.probe.shelf import SHELF as PROBES
from roco_search.probe.shelf import read_probe
from tests.imaging.drawing import shipped
from tests.library.toy import Opened, ToyEncoder
from tests.planted import canaries

LAYOUTS: tuple[Layout, ...] = ("imagefolder", "datasets", "csv", "coco")
SOURCES = ("CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm", "SC_rgb_rle_2frame.dcm", "examples_palette.dcm")
needs_datasets = pytest.mark.skipif(find_spec("datasets") is None, reason="datasets is not installed")
needs_table = pytest.mark.skipif(find_spec("dicomanonymizer") is None, reason="dicom-anonymizer is not installed")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Opened, Any]]:
    """A library of scans that carry canaries in every element, two slices of one study, and drawn pictures."""
    folder = tmp_path_factory.mktemp("cohorts")
    scans = folder / f"scans of {canaries().MARK}"
    planter = canaries().Planter()
    for number, name in enumerate(SOURCES):
        assert planter.dicom(Path(shipped(name)), scans / f"{planter.word()}.dcm", number), name
    twin = pydicom.dcmread(min(scans.glob("*.dcm")))  # of one patient, study and series with the first
    twin.SOPInstanceUID = planter.uid()
    twin.ReferencedSOPInstanceUID = pydicom.dcmread(min(scans.glob("*.dcm"))).SOPInstanceUID
    twin.save_as(scans / f"{planter.word()} twin.dcm")
    for number in range(6):
        case = scans / f"patient{number // 2}"
        case.mkdir(exist_ok=True)
        Image.linear_gradient("L").rotate(31 * number).save(case / f"{number}.png")
    (scans / "captions.csv").write_text(
        "file_name,text,case\n"
        + "".join(f"patient{number // 2}/{number}.png,X-ray {number},{number // 2}\n" for number in range(6))
    )
    with Opened(folder / "library", ToyEncoder()) as opened:
        opened.index(scans, captions=True)
        for name, labels in (("sign", ("sign",)), ("kinds", ("round", "a square"))):
            PROBES.keep(opened.library, drawn_probe(opened.library, name, labels))
        yield opened, planter


def drawn_probe(library: Library, name: str, labels: tuple[str, ...]) -> Probe:
    """Return a probe of random weights, which says something else of each picture."""
    active, chance = library.active(), np.random.default_rng(len(labels))
    weights = chance.normal(size=(len(labels), active.dim)).astype(np.float32)
    claim = Claim(6, 3, 3, {"auc": (0.5, 0.4, 0.6)})
    limits, bias = Limits(0.5, 0.9, 0.1, 0.95, 0.95), np.zeros(len(labels), np.float32)
    both = (limits,) * len(labels), (claim,) * len(labels)
    return Probe(name, labels, weights, bias, *both, active.model, active.fingerprint, "")


@pytest.fixture
def cohort(planted: tuple[Opened, Any]) -> Cohort:
    return gather(planted[0].library, "all", Definition(path=("*",)))


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@needs_datasets
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_loads_here_and_in_datasets(
    planted: tuple[Opened, Any], cohort: Cohort, tmp_path: Path, layout: Layout
) -> None:
    import datasets

    found: Any
    done = export_cohort(planted[0].library, cohort, tmp_path / "out", Options(layout=layout, test=0.2, validation=0.2))
    assert done.images == len(cohort.members) == 12 and set(done.splits) == {"train", "validation", "test"}
    read = {split: open_pairs(tmp_path / "out", split) for split in done.splits}
    assert {split: len(pairs.pairs) for split, pairs in read.items()} == done.splits
    training = open_training(tmp_path / "out")
    assert not training.cut, "its own validation split is used"
    captions = {caption for pairs in read.values() for pair in pairs.pairs for caption in pair.captions}
    assert {f"X-ray {number}" for number in range(6)} <= captions and any("CT" in caption for caption in captions)

    match layout:
        case "imagefolder":
            found = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "c"))
        case "datasets":
            found = datasets.load_from_disk(str(tmp_path / "out"))
        case "csv":
            files = {split: str(tmp_path / "out" / f"{split}.csv") for split in done.splits}
            found = datasets.load_dataset("csv", data_files=files, cache_dir=str(tmp_path / "c"))
        case "coco":
            files = {split: str(tmp_path / "out" / "annotations" / f"captions_{split}.json") for split in done.splits}
            found = datasets.load_dataset("json", data_files=files, field="annotations", cache_dir=str(tmp_path / "c"))
    assert {split: part.num_rows for split, part in found.items()} == done.splits
    cases = {split: set(part["case"]) for split, part in found.items()}
    assert not cases["train"] & (cases["test"] | cases["validation"]) and not cases["test"] & cases["validation"]
    said = {round(row["probability_sign"], 4) for part in found.values() for row in part}
    ids = sorted(entry.frame.id for entry in members_of(planted[0].library, cohort))
    vectors = planted[0].library.embeddings(np.array(ids, np.int64))
    expected = read_probe(planted[0].library, "sign").probabilities(vectors)[:, 0]
    assert said == {round(float(share), 4) for share in expected} and len(said) > 6
    columns = set(found["test"].column_names)
    assert {"probability_kinds:round", "probability_kinds:a square"} <= columns
    if layout in {"imagefolder", "datasets"}:
        first = found["train"][0]
        pictures = [
            np.asarray(next(open_image(entry.frame.path, frames=(entry.frame.frame,))).pixels)
            for entry in members_of(planted[0].library, cohort)
        ]
        shown = np.asarray(first["image"].convert("RGB"))
        assert any(shown.shape == picture.shape and (shown == picture).all() for picture in pictures)
        assert first["label"] == "all"
    assert not list((tmp_path / "out").rglob(".*")), "nothing of the making is left"


@needs_datasets
def test_a_split_may_say_nothing_of_a_column(tmp_path: Path) -> None:
    """As where no image of the validation split has a laterality: pandas would take empty cells for numbers."""
    import datasets

    said = [("validation", None), ("train", "R"), ("train", None)]
    rows = [Row(f"images/{n}.png", split, "x", {"laterality": side, "rows": 9}) for n, (split, side) in enumerate(said)]
    write_tables(tmp_path, "csv", rows)
    files = {split: str(tmp_path / f"{split}.csv") for split in ("validation", "train")}
    found: Any = datasets.load_dataset("csv", data_files=files, cache_dir=str(tmp_path / "c"))
    assert {split: part["laterality"][:] for split, part in found.items()} == {
        "validation": [UNKNOWN],
        "train": ["R", UNKNOWN],
    }


@needs_table
def test_deidentified_copies_name_nobody_and_belong_together(
    planted: tuple[Opened, Any], cohort: Cohort, tmp_path: Path
) -> None:
    opened, planter = planted
    done = export_cohort(opened.library, cohort, tmp_path / "out", Options(deidentify=True))
    search = canaries().Search(planter.digests)
    said = [
        sentence
        for file in (tmp_path / "out").rglob("*")
        if file.is_file()
        for sentence in search.found(file.read_bytes(), file.name)
    ]
    assert said == []
    assert canaries().MARK not in " ".join(map(str, (tmp_path / "out").rglob("*")))
    copies = [pydicom.dcmread(file) for file in sorted((tmp_path / "out").rglob("*.dcm"))]
    assert len(copies) == len(SOURCES) + 1 and done.images == 12
    originals = [pydicom.dcmread(entry.frame.path) for entry in members_of(opened.library, cohort)[: len(copies)]]
    by_sop = {copy.SOPInstanceUID: copy for copy in copies}
    assert len(by_sop) == len(copies)
    for copy in copies:
        assert copy.PatientIdentityRemoved == "YES" and copy.PatientID.startswith("roco-")
        assert copy.file_meta.MediaStorageSOPInstanceUID == copy.SOPInstanceUID
        assert not [element for element in copy.iterall() if element.tag.is_private]
        assert copy.pixel_array.size
    twins = [copy for copy in copies if "ReferencedSOPInstanceUID" in copy and copy.ReferencedSOPInstanceUID in by_sop]
    assert len(twins) == 1, "a reference within the cohort leads to the copy"
    first = by_sop[twins[0].ReferencedSOPInstanceUID]
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert getattr(first, name) == getattr(twins[0], name)
    assert len({copy.StudyInstanceUID for copy in copies}) == len(SOURCES)
    assert not {original.StudyInstanceUID for original in originals} & {copy.StudyInstanceUID for copy in copies}
    listed = json.loads((tmp_path / "out" / MANIFEST).read_text())["may_carry_text_in_its_pixels"]
    capture = next(copy for copy in copies if copy.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7")
    assert any("secondary capture" in why for why in listed.values()) and capture.Rows
    assert listed == done.burned_in and sum(name.endswith(".png") for name in listed) == 6
    assert len(open_pairs(tmp_path / "out", "train").pairs) == done.splits["train"]


@pytest.mark.parametrize(
    ("name", "place", "marker"), [("SC_jpeg_no_color_transform.dcm", 2, 0xFE), ("693_J2KI.dcm", 0, 0x64)]
)
def test_comments_in_compressed_frames_are_removed(tmp_path: Path, name: str, place: int, marker: int) -> None:
    """Neither a comment nor what a camera wrote is in the copy, and the pixels are what they were."""
    from pydicom.encaps import encapsulate, generate_frames

    from roco_search.curation.cohorts.deidentify import Deidentifier

    dataset = pydicom.dcmread(shipped(name))
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    word = canaries().MARK.encode() * 3
    place = place or 4 + int.from_bytes(frame[4:6])  # of JPEG 2000, behind SIZ, which has to be first
    said = bytes([0xFF, marker]) + (len(word) + 4).to_bytes(2) + b"\0\1" + word
    dataset.PixelData = encapsulate([frame[:place] + said + frame[place:]])
    dataset.save_as(tmp_path / "said.dcm")
    before = next(open_image(tmp_path / "said.dcm")).pixels
    assert word in (tmp_path / "said.dcm").read_bytes()
    Deidentifier().copy(tmp_path / "said.dcm", tmp_path / "copy.dcm")
    assert word not in (tmp_path / "copy.dcm").read_bytes()
    assert np.array_equal(next(open_image(tmp_path / "copy.dcm")).pixels, before)


def test_the_manifest_describes_what_is_there(planted: tuple[Opened, Any], cohort: Cohort, tmp_path: Path) -> None:
    done = export_cohort(
        planted[0].library, cohort, tmp_path / "out", Options(label="scan", form="files", layout="csv")
    )
    found = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert found["files"] == {
        file.relative_to(tmp_path / "out").as_posix(): {"sha256": digest(file)}
        for file in (tmp_path / "out").rglob("*")
        if file.is_file() and file.name != MANIFEST
    }
    assert (found["images"], found["splits"], found["options"]["label"]) == (done.images, done.splits, "scan")
    assert found["model"]["fingerprint"] == cohort.fingerprint and found["definition"]["path"] == ["*"]
    known = {digest(Path(entry.frame.path)) for entry in members_of(planted[0].library, cohort)}
    assert {entry["sha256"] for name, entry in found["files"].items() if name.startswith("images/")} == known
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_it_is_written_whole_or_not_at_all(planted: tuple[Opened, Any], cohort: Cohort, tmp_path: Path) -> None:
    library = planted[0].library
    (tmp_path / "there").mkdir()
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / f".there.tmp-00000000-{gone.pid}").mkdir()  # of an export that was killed while another one ended
    wrong: list[tuple[Path, Options]] = [
        (tmp_path / "there", Options()),
        (tmp_path / "no" / "such", Options()),
        (library.directory / "out", Options()),
        (Path(library.roots()[0]) / "out", Options()),
        (tmp_path / "out", Options(layout="datasets", form="files")),
        (tmp_path / "out", Options(deidentify=True, form="files")),
        (tmp_path / "out", Options(test=0.6, validation=0.6)),
    ]
    for target, options in wrong:
        with pytest.raises(InputError):
            export_cohort(library, cohort, target, options)
    last = Path(members_of(library, cohort)[-1].frame.path)
    content = last.read_bytes()
    for damage in (content[: len(content) // 2], None):
        if damage is None:
            last.unlink()
        else:
            last.write_bytes(damage)
        with pytest.raises(InputError, match="no longer the file that was indexed"):
            export_cohort(library, cohort, tmp_path / "out")
        last.write_bytes(content)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]
    assert list((tmp_path / "there").iterdir()) == []
    nothing = replace(cohort, members=(replace(cohort.members[0], key="0" * 32),))
    with pytest.raises(InputError, match="no image"):
        export_cohort(library, nothing, tmp_path / "out")


def test_splits_divide_no_case_and_follow_the_seed() -> None:
    cases = [f"case {number % 17}" for number in range(100)]
    splits = divide_cases(cases, 0.1, 0.2, seed=3)
    assert splits == divide_cases(cases, 0.1, 0.2, seed=3) != divide_cases(cases, 0.1, 0.2, seed=4)
    assert all(len({split for other, split in zip(cases, splits, strict=True) if other == case}) == 1 for case in cases)
    assert 5 <= splits.count("validation") <= 15 and 10 <= splits.count("test") <= 25
    shuffled = cases[50:] + cases[:50]
    assert dict(zip(shuffled, divide_cases(shuffled, 0.1, 0.2, 3), strict=True)) == dict(
        zip(cases, splits, strict=True)
    )
    assert divide_cases(["a", "a"], 0.1, 0.1, 0) == ["train", "train"]
    assert sorted(divide_cases(["a", "b"], 0.1, 0.1, 0)) == ["test", "train"]
    assert sorted(divide_cases(["a", "b", "c"], 0.1, 0.1, 0)) == ["test", "train", "validation"]
    assert set(divide_cases(cases, 0, 0, 0)) == {"train"}
