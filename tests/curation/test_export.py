"""What is handed on is what is stored, whole or not at all."""

import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.curation import export as module
from roco_search.curation.export import export
from roco_search.errors import InputError, LibraryEmpty, StorageFull
from tests.disk import files_up_to
from tests.library.toy import Opened, ToyEncoder, draw, draw_pages

NAMES = [
    "id", "path", "frame", "frames", "modality", "body_part", "view", "laterality", "rows", "columns", "series",
    "study", "series_number", "instance_number", "localizer", "case",
]  # fmt: skip


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Seven pictures in five files; of two, the header says something."""
    scans = tmp_path / "scans"
    for seed in range(4):
        draw(scans / f"{seed}.png", seed)
    draw_pages(scans / "pages.tif", [7, 8, 9])
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        opened.index(scans, frames="all")
        opened.describe([2], modality="CT", series="abc", instance_number=3, localizer=1)
        opened.describe([5], modality="MR", body_part="BRAIN", localizer=0)
        yield opened


def stored(opened: Opened) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Every row and vector, read with SQL alone."""
    sql = """
        SELECT frames.id, path, number, count, modality, body_part, view, laterality, rows, columns, series, study,
            series_number, instance_number, localizer, case_key, vector
        FROM vectors JOIN frames ON frames.id = frame_id JOIN files ON files.id = file_id ORDER BY frames.id
    """
    rows = opened.rows(sql)
    return [dict(zip(NAMES, row, strict=False)) for row in rows], np.array([np.frombuffer(r[-1], "<f4") for r in rows])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_json_lines_hold_everything(opened: Opened, tmp_path: Path) -> None:
    rows, vectors = stored(opened)
    done = export(opened.library, tmp_path / "all.jsonl")
    assert (done.images, done.dim, done.format, done.model) == (7, 24, "jsonl", "toy")
    found = lines(tmp_path / "all.jsonl")
    given = np.array([row.pop("vector") for row in found], np.float32)
    np.testing.assert_array_equal(given, vectors)
    assert {(row.pop("model"), row.pop("fingerprint")) for row in found} == {("toy", "toy-24-0")}
    assert found == rows
    export(opened.library, tmp_path / "few.ndjson", vectors=False, under=tmp_path / "scans" / "pages.tif")
    assert [row["frame"] for row in lines(tmp_path / "few.ndjson")] == [0, 1, 2]
    assert "vector" not in lines(tmp_path / "few.ndjson")[0]


def test_numpy_and_its_rows_are_in_one_order(opened: Opened, tmp_path: Path) -> None:
    rows, vectors = stored(opened)
    done = export(opened.library, tmp_path / "all.npy")
    assert done.files == [str(tmp_path / "all.jsonl"), str(tmp_path / "all.npy")]
    found = np.load(tmp_path / "all.npy", mmap_mode="r")
    assert found.dtype == np.float32 and found.shape == (7, 24)
    np.testing.assert_array_equal(found, vectors)
    assert [row["id"] for row in lines(tmp_path / "all.jsonl")] == [row["id"] for row in rows]


@pytest.mark.parametrize("at_once", [1, 3, 7, 100])
def test_parquet_holds_everything(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(module, "ROWS_AT_ONCE", at_once)
    rows, vectors = stored(opened)
    export(opened.library, tmp_path / "all.parquet")
    table = parquet.read_table(tmp_path / "all.parquet")
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), np.float32), vectors)
    assert table.schema.field("vector").type.list_size == 24
    assert table.drop_columns("vector").to_pylist() == [
        row | {"localizer": None if row["localizer"] is None else bool(row["localizer"])} for row in rows
    ]
    noted = json.loads(table.schema.metadata[b"roco"])
    assert (noted["model"], noted["fingerprint"], noted["dim"]) == ("toy", "toy-24-0", 24)
    export(opened.library, tmp_path / "bare.parquet", vectors=False)
    assert parquet.read_schema(tmp_path / "bare.parquet").names == NAMES


def test_redacted_paths_can_be_joined_and_not_read(opened: Opened, tmp_path: Path) -> None:
    for name in ("one.jsonl", "other.jsonl"):
        export(opened.library, tmp_path / name, redact_paths=True, vectors=False)
    one = lines(tmp_path / "one.jsonl")
    assert one == lines(tmp_path / "other.jsonl"), "equal paths have equal hashes"
    assert len({row["path"] for row in one}) == 5, "different paths have different ones"
    everything = (tmp_path / "one.jsonl").read_text()
    assert "png" not in everything and str(tmp_path) not in everything
    with Opened(tmp_path / "second", ToyEncoder()) as second:
        second.index(tmp_path / "scans")
        export(second.library, tmp_path / "second.jsonl", redact_paths=True)
    hashes = {row["path"] for row in lines(tmp_path / "second.jsonl")}
    assert not hashes & {row["path"] for row in one}, "another library has another key"


def test_the_folder_of_a_model_is_redacted_too(tmp_path: Path) -> None:
    with Opened(tmp_path / "library", ToyEncoder(name="/home/doe/model")) as opened:
        opened.index(draw(tmp_path / "0.png", 0))
        assert export(opened.library, tmp_path / "a.jsonl").model == "/home/doe/model"
        assert export(opened.library, tmp_path / "b.jsonl", redact_paths=True).model == "model"
    assert "doe" not in (tmp_path / "b.jsonl").read_text()


def test_a_name_that_is_no_text_is_escaped(opened: Opened, tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path / "scans") + b"/\xff.png")
    shutil.copy(tmp_path / "scans" / "0.png", odd)
    opened.index(tmp_path / "scans")
    for name in ("a.jsonl", "a.parquet"):
        export(opened.library, tmp_path / name)
    assert lines(tmp_path / "a.jsonl")[-1]["path"] == f"{tmp_path}/scans/\\xff.png"


def test_files_are_private_and_never_overwritten_unasked(opened: Opened, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        for name in ("a.jsonl", "b.npy", "c.parquet"):
            export(opened.library, tmp_path / name)
    finally:
        os.umask(old)
    written = [tmp_path / name for name in ("a.jsonl", "b.npy", "b.jsonl", "c.parquet")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    (tmp_path / "b.npy").unlink()
    for name in ("a.jsonl", "b.npy", "c.parquet"):
        with pytest.raises(InputError, match="`force=True`"):
            export(opened.library, tmp_path / name)
    assert not (tmp_path / "b.npy").exists()
    export(opened.library, tmp_path / "a.jsonl", force=True, vectors=False)
    assert "vector" not in lines(tmp_path / "a.jsonl")[0]


@pytest.mark.parametrize(
    ("target", "options", "says"),
    [
        ("a.csv", {}, "does not show the format"),
        ("library/a.jsonl", {}, "own folder"),
        ("library/library.db", {"force": True, "form": "jsonl"}, "own folder"),
        ("scans", {"form": "jsonl"}, "is a folder"),
        ("none/a.jsonl", {}, "There is no folder"),
        ("scans/0.png", {"form": "jsonl", "force": True}, "an image that the library knows"),
        ("a.npy", {"vectors": False}, "nothing but vectors"),
        ("a.jsonl", {"under": "/nowhere"}, "no image under /nowhere"),
    ],
)
def test_refusals_leave_nothing_behind(
    opened: Opened, tmp_path: Path, target: str, options: dict[str, Any], says: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=says):
        export(opened.library, tmp_path / target, **options)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_empty_library_is_refused(tmp_path: Path) -> None:
    with Opened(tmp_path / "library", ToyEncoder()) as opened, pytest.raises(LibraryEmpty, match="roco index"):
        export(opened.library, tmp_path / "a.jsonl")


def test_without_pyarrow_one_sentence_tells_what_to_do(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'roco-search\[export\]'"):
        export(opened.library, tmp_path / "a.parquet")
    assert not list(tmp_path.glob("a.parquet*"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.npy", "a.parquet"])
def test_on_a_full_disk_nothing_is_half_there(opened: Opened, tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text("what was here before")
    with files_up_to(500), pytest.raises(StorageFull, match="is full, or a quota is reached"):
        export(opened.library, tmp_path / name, force=True)
    assert (tmp_path / name).read_text() == "what was here before"
    assert [path.name for path in tmp_path.glob("a.*")] == [name]
