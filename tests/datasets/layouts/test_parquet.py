"""Parquet files with images in their cells."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.errors import InputError, StorageFull, UnreadableImage
from tests.datasets.drawing import draw, encoded, grey_of
from tests.datasets.layouts.test_arrow import FEATURES, made
from tests.disk import files_up_to
from tests.imaging.drawing import draw_dicom, ramp


def write(path: Path, greys: list[int], rows_in_group: int = 2, **columns: Any) -> Path:
    """Write pictures of these greys as the hub does, with their captions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": encoded(grey), "path": f"{grey}.png"} for grey in greys]
    columns = {"caption": [f" a grey of {grey}" for grey in greys], **columns}
    pq.write_table(pa.table({"image": cells, **columns}), path, row_group_size=rows_in_group)
    return path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "ROCO-radiology"
    write(root / "data" / "train-00000-of-00002.parquet", [1, 2, 3, 4, 5], cui=[["C1"], [], None, [], []])
    write(root / "data" / "train-00001-of-00002.parquet", [6, 7], cui=[[], []])
    write(root / "data" / "validation-00000-of-00001.parquet", [8], cui=[[]])
    return root


def test_a_repository_of_the_hub(repository: Path) -> None:
    found = open_pairs(repository, "train")
    assert (found.name, found.layout, found.split) == ("ROCO-radiology", "Parquet", "train")
    assert [grey_of(pair) for pair in found.pairs] == [1, 2, 3, 4, 5, 6, 7]
    assert [pair.caption for pair in found.pairs[:2]] == ["a grey of 1", "a grey of 2"]
    assert [pair.columns for pair in found.pairs[:3]] == [{"cui": ["C1"]}, {"cui": []}, {"cui": None}]
    assert found.pairs[6].picture.name.endswith("data/train-00001-of-00002.parquet row 2")
    data = open_training(repository)
    assert not data.cut and [grey_of(pair) for pair in data.validation.pairs] == [8]


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["train.parquet", "test.parquet"], "train, test"),
        (["dev-00000-of-00001.parquet"], "dev"),
        (["default/train/0000.parquet", "default/validation/0000.parquet"], "train, validation"),
        (["images.parquet"], "train"),
        (["fold_1-00000-of-00002.parquet", "fold_2-00000-of-00002.parquet"], "fold_1, fold_2"),
    ],
)
def test_names_determine_the_splits(tmp_path: Path, files: list[str], splits: str) -> None:
    for file in files:
        write(tmp_path / file, [1])
    with pytest.raises(InputError, match=rf"it has {splits}\."):
        open_pairs(tmp_path, "another")


def test_a_single_file(repository: Path) -> None:
    found = open_pairs(repository / "data" / "train-00001-of-00002.parquet", "train")
    assert len(found) == 2


def test_the_copy_has_no_name_and_is_for_nobody_else(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("ROCO_CACHE", str(cache))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hugging-face")
    pairs = open_pairs(repository, "train").pairs
    mapped = {
        line.split()[-2] for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("(deleted)")
    }
    assert any(path.startswith(str(cache)) for path in mapped), "the copy is in roco's cache folder"
    assert list(cache.iterdir()) == [], "and cannot be found there"
    assert cache.stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "hugging-face").exists()
    shutil.rmtree(repository)
    assert [grey_of(pair) for pair in pairs] == [1, 2, 3, 4, 5, 6, 7], "the copy needs the files no more"


def test_nothing_is_printed_and_no_network_is_needed(repository: Path) -> None:
    program = (
        "import socket, sys; socket.socket.connect = lambda *_: sys.exit('connects')\n"
        "from roco_search.datasets import open_pairs\n"
        "print(len(open_pairs(sys.argv[1], 'train')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(repository)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_a_full_disk_is_one_sentence(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCO_CACHE", str(tmp_path / "cache"))
    with files_up_to(500), pytest.raises(StorageFull, match="is full"):
        open_pairs(repository, "train")


def test_many_threads_at_random(tmp_path: Path) -> None:
    greys = list(range(200))
    write(tmp_path / "train.parquet", greys, rows_in_group=7)
    pairs = open_pairs(tmp_path, "train").pairs
    barrier = threading.Barrier(8)

    def read(part: int) -> list[int]:
        barrier.wait()
        return [grey_of(pairs[(i * 37 + part * 11) % 200]) for i in range(60)]

    with ThreadPoolExecutor(8) as pool:
        for part, found in enumerate(pool.map(read, range(8))):
            assert found == [(i * 37 + part * 11) % 200 for i in range(60)]


def test_other_ways_to_hold_an_image(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "3.png", 3)
    dicom = draw_dicom(tmp_path / "a.dcm", ramp()).read_bytes()
    table = {"jpg": [encoded(1), dicom], "txt": ["of an archive", "a ramp"], "text": ["one", "two"]}
    pq.write_table(pa.table(table), tmp_path / "test.parquet")
    pq.write_table(pa.table({"image": ["images/3.png"], "text": ["three"]}), tmp_path / "dev.parquet")
    cells = [{"bytes": None, "path": "images/3.png"}]
    pq.write_table(
        pa.table({"scan": pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()})), "text": ["x"]}),
        tmp_path / "train.parquet",
    )
    first, second = open_pairs(tmp_path, "test").pairs
    assert grey_of(first) == 1 and second.picture.read().shape == (64, 64, 3)
    assert first.columns == {"txt": "of an archive"}
    assert [grey_of(pair) for split in ("dev", "train") for pair in open_pairs(tmp_path, split).pairs] == [3, 3]


@pytest.mark.parametrize("kind", ["struct", "bytes", "path"])
def test_cells_of_equal_content_are_one_image(tmp_path: Path, kind: str) -> None:
    cells: list[Any] = [encoded(1), encoded(2), encoded(1), None]
    for number, cell in enumerate(cells[:3]):
        (tmp_path / f"{number}.png").write_bytes(cell)
    if kind == "struct":
        cells = [None if cell is None else {"bytes": cell, "path": "a.png"} for cell in cells]
    if kind == "path":
        cells = ["0.png", "1.png", "2.png", None]
    pq.write_table(pa.table({"image": cells, "caption": list("abcd")}), tmp_path / "train.parquet")
    pairs = open_pairs(tmp_path / "train.parquet", "train").pairs
    assert [pair.image == pairs[0].image for pair in pairs] == [True, False, True, False]
    assert pairs[2].captions == {"c": 1.0, "a": 0.0}


def test_masks_are_no_columns(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [1, 2], mask=[b"x", b"y"], case=["c", None], licence=["CC BY", ""])
    first, second = open_pairs(tmp_path, "train").pairs
    assert first.columns == {"case": "c", "licence": "CC BY"}
    assert (first.case, second.case) == ("c", None)


def test_an_empty_cell_shows_when_it_is_read(tmp_path: Path) -> None:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = pa.array([None, {"bytes": b"", "path": None}, {"bytes": b"text", "path": None}], kind)
    pq.write_table(pa.table({"image": cells, "text": ["a", "b", "c"]}), tmp_path / "train.parquet")
    for pair, says in zip(open_pairs(tmp_path, "train").pairs, ("empty", "empty", "not a picture"), strict=True):
        with pytest.raises(UnreadableImage, match=says):
            pair.picture.read()


def test_damage_in_the_middle_is_found_when_it_is_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", list(range(50)))
    content = bytearray(path.read_bytes())
    content[8:60] = bytes(52)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train\.parquet is damaged"):
        open_pairs(path, "train")


def test_types_that_pandas_and_the_hub_write(tmp_path: Path) -> None:
    kinds = pa.array(["CT", "MR", "CT"]).dictionary_encode()
    write(tmp_path / "train.parquet", [1, 2, 3], modality=kinds, day=[date(2026, 1, 2)] * 3, nothing=[None] * 3)
    pairs = open_pairs(tmp_path, "train").pairs
    assert [pair.columns["modality"] for pair in pairs] == ["CT", "MR", "CT"]
    assert pairs[0].columns["day"] == date(2026, 1, 2) and pairs[0].columns["nothing"] is None
    features = {**FEATURES, "modality": datasets.ClassLabel(names=["CT", "MR"])}
    made([4, 5], features, modality=[1, 0]).to_parquet(str(tmp_path / "test.parquet"))
    found = open_pairs(tmp_path, "test")
    assert [(grey_of(pair), pair.columns["modality"]) for pair in found.pairs] == [(4, "MR"), (5, "CT")]


def test_a_type_that_is_not_read_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [1], pairs=pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())))
    with pytest.raises(InputError, match="a column of a type that datasets does not read"):
        open_pairs(tmp_path, "train")


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"PAR1 and no more", "is damaged, or is no Parquet file"), (None, "has no column of images; it has text")],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "train.parquet"
    if content is None:
        pq.write_table(pa.table({"text": ["a"]}), path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        open_pairs(tmp_path, "train")


def test_without_pyarrow_the_command_is_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"needs the package pyarrow.*pip install 'roco-search\[train\]'"):
        open_pairs(repository, "train")
