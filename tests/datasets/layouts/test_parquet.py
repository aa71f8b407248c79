"""Parquet files with images in their cells, read a row group at a time."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.datasets.layouts.parquet import ParquetPicture, RowGroups
from roco_search.errors import InputError, UnreadableImage
from tests.datasets.drawing import draw, encoded, grey_of
from tests.imaging.drawing import draw_dicom, ramp


def write(path: Path, greys: list[int], rows_in_group: int = 2, **columns: list[Any]) -> Path:
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
def test_splits_are_told_by_the_names(tmp_path: Path, files: list[str], splits: str) -> None:
    for file in files:
        write(tmp_path / file, [1])
    with pytest.raises(InputError, match=rf"it has {splits}\."):
        open_pairs(tmp_path, "another")


def test_a_single_file(repository: Path) -> None:
    found = open_pairs(repository / "data" / "train-00001-of-00002.parquet", "train")
    assert len(found) == 2


def test_opening_reads_no_image(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowGroups, "cell", lambda *_: pytest.fail("an image was read"))
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *_, **__: pytest.fail("a row group was read"))
    assert len(open_pairs(repository, "train")) == 7


def test_in_order_each_row_group_is_read_once(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, i, **options: (read.append(i), real(self, i, **options))[1]
    )
    pairs = open_pairs(repository, "train").pairs
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(grey_of, pairs)) == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(read) == [0, 0, 1, 2]  # three of the first file, one of the second


def test_few_row_groups_are_kept(repository: Path) -> None:
    file = repository / "data" / "train-00000-of-00002.parquet"
    groups = RowGroups(kept_bytes=1)
    source = groups.add(file, "image", pq.read_metadata(file))
    pictures = [ParquetPicture(groups, source, n // 2, n % 2, n + 1) for n in (0, 4, 1, 2, 3)]
    assert [int(picture.read()[0, 0, 0]) for picture in pictures] == [1, 5, 2, 3, 4]
    assert len(groups._kept) == 1 and groups._bytes == next(iter(groups._kept.values())).nbytes
    assert not groups._loading


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


def test_a_file_that_is_damaged_later(repository: Path) -> None:
    pairs = open_pairs(repository, "validation").pairs
    (repository / "data" / "validation-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(UnreadableImage, match="damaged"):
        pairs[0].picture.read()


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
