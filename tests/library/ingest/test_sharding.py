"""Shards that many machines embed, merged, are the library that one process makes."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from roco_search.errors import Busy, InputError
from roco_search.library.ingest import parts as parts_module
from roco_search.library.ingest.manifest import KEY, Shard
from roco_search.library.ingest.merging import merge
from roco_search.library.ingest.parts import absolute, relative
from roco_search.library.ingest.sharding import parse_shard, share_of, write_shard
from roco_search.system.files import locked
from tests.library.toy import Opened, ToyEncoder, assert_same_library, draw, draw_pages, spoil, tables

ALL = range(8)


def fill(scans: Path) -> None:
    """Pictures, files of several frames, equal contents, series, cases, broken files, and what is no image."""
    for number in range(30):
        draw(scans / f"case{number % 4}" / f"{number:02}.png", number % 25)
    draw_pages(scans / "pages.tiff", range(5))
    spoil(scans / "broken.png", 1)
    for name in ("CT_small.dcm", "MR_small.dcm", "reportsi.dcm"):
        shutil.copy(str(get_testdata_file(name, download=False)), scans / name)
    shutil.copy(scans / "CT_small.dcm", scans / "case1" / "again.dcm")
    (scans / "notes.txt").write_text("Doe^Jane was here")
    odd = os.fsdecode(os.fsencode(scans) + b"/caf\xe9.png")
    (scans / "case0" / "00.png").rename(odd)


def run(scans: Path, folder: Path, number: int, of: int = 8, encoder: ToyEncoder | None = None, **options: Any) -> Any:
    return write_shard([scans], encoder or ToyEncoder(), folder, Shard(number, of), batch_size=4, **options)


def one_process(scans: Path, directory: Path, **options: Any) -> Path:
    with Opened(directory, ToyEncoder()) as opened:
        opened.index(scans, **options)
    return directory


class Killed(BaseException):
    """What no code of ours catches, as nothing catches kill -9."""


def killed_after(frames: int) -> ToyEncoder:
    class Mortal(ToyEncoder):
        def encode_images(self, images: Any) -> np.ndarray:
            if sum(self.batches) >= frames:
                raise Killed
            return super().encode_images(images)

    return Mortal()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "FRAMES_IN_PART", 2)
    monkeypatch.setattr(parts_module, "ROWS_AT_ONCE", 2)


def groups(directory: Path) -> list[set[str]]:
    """Which files are of one series, of one study or of one case."""
    with Opened(directory, ToyEncoder()) as opened:
        rows = opened.rows("SELECT series, study, case_key, path FROM frames JOIN files ON files.id = file_id")
    keys = {key for *keys, _ in rows for key in keys if key}
    return sorted(({path for *keys, path in rows if key in keys} for key in keys), key=sorted)


@pytest.mark.usefixtures("small_parts")
def test_eight_shards_of_which_three_are_killed_are_one_library(scans: Path, tmp_path: Path) -> None:
    fill(scans)
    folder = tmp_path / "parts"
    order = list(ALL)
    random.Random(5).shuffle(order)
    mortal = [number for number in order if sum(path.endswith(".png") for path in share(scans, number)) > 2][:3]
    for number in order:
        if number in mortal:
            with pytest.raises(Killed):
                run(scans, folder, number, encoder=killed_after(1), frames="all")
            with pytest.raises(InputError, match=r"missing or unfinished: .*`partial=True`"):
                merge(tmp_path / "none", [folder])
        else:
            run(scans, folder, number, frames="all")
    for number in reversed(mortal):
        run(scans, folder, number, frames="all")
    merged = tmp_path / "merged"
    report = merge(merged, [folder])
    alone = one_process(scans, tmp_path / "alone", frames="all")
    assert_same_library(merged, alone)
    assert groups(merged) == groups(alone) and len(groups(merged)) == 4 + 2 * 2
    assert (report.indexed, len(report.skipped), len(report.not_images)) == (34, 1, 1)
    again = merge(merged, [folder])
    assert (again.indexed, again.moved, again.removed, again.unchanged) == (0, 0, 0, 34)
    with Opened(merged, ToyEncoder()) as opened:
        found = opened.index(scans)
        assert (found.indexed, found.unchanged, opened.encoder.batches) == (0, 34, []), (
            "and `roco index` goes on with it"
        )
        assert opened.library.verify().problems == []


def share(scans: Path, number: int) -> list[str]:
    paths = [str(path) for path in scans.rglob("*") if path.is_file()]
    return [path for path in paths if share_of(path, str(scans), 8) == number]


@pytest.mark.usefixtures("small_parts")
def test_second_run_does_what_is_new_and_merging_it_is_indexing_it(scans: Path, tmp_path: Path) -> None:
    """New, changed, moved, gone, touched, and a damaged part deleted; row for row as an index would."""
    fill(scans)
    folder, merged, alone = tmp_path / "parts", tmp_path / "merged", tmp_path / "alone"
    for number in range(3):
        run(scans, folder, number, 3)
    merge(merged, [folder])
    one_process(scans, alone)
    quiet = ToyEncoder()
    for number in range(3):
        run(scans, folder, number, 3, encoder=quiet)
    assert quiet.batches == [], "nothing is new"
    draw(scans / "case0" / "04.png", 700)
    (scans / "case1" / "01.png").rename(scans / "moved.png")
    (scans / "case2" / "02.png").unlink()
    os.utime(scans / "case3" / "03.png", ns=(1, 1))
    draw(scans / "case0" / "new.png", 701)
    reports = [run(scans, folder, number, 3, encoder=quiet) for number in range(3)]
    assert sum(quiet.batches) == 3 and sum(report.removed for report in reports) == 2, "changed, moved here, new"
    report = merge(merged, [folder])
    with Opened(alone, ToyEncoder()) as opened:
        indexed = opened.index(scans)
    counts = [(r.indexed, r.moved, r.removed, r.unchanged) for r in (report, indexed)]
    assert counts[0] == counts[1] == (2, 1, 1, 31)
    assert_same_library(merged, alone)
    first = next(path for path in sorted(folder.glob("*.parquet")))
    first.unlink()
    with pytest.raises(InputError, match="is missing; run shard 0/3 again"):
        merge(merged, [folder])
    run(scans, folder, 0, 3)
    assert merge(merged, [folder]).indexed == 0
    assert_same_library(merged, alone)


def test_machines_with_other_mount_points_agree(scans: Path, tmp_path: Path) -> None:
    fill(scans)
    elsewhere = tmp_path / "mnt" / "elsewhere"
    shutil.copytree(scans, elsewhere, copy_function=shutil.copy2)
    run(scans, tmp_path / "parts", 0, 2)
    run(elsewhere, tmp_path / "parts", 1, 2)
    with pytest.raises(InputError, match="are here with `images`"):
        merge(tmp_path / "merged", [tmp_path / "parts"])
    merge(tmp_path / "merged", [tmp_path / "parts"], images=[tmp_path / "third"])
    alone = one_process(scans, tmp_path / "alone")
    names = [[Path(row["path"]).name for row in tables(place)["files"]] for place in (tmp_path / "merged", alone)]
    assert names[0] == names[1], "each file once, none twice, in the same order"
    with Opened(tmp_path / "merged", ToyEncoder()) as opened:
        assert all(path.startswith(str(tmp_path / "third")) for path in opened.paths())


NAMES = st.binary(min_size=1, max_size=6).filter(lambda name: not set(name) & {0, 47} and name not in (b".", b".."))


@given(
    name=st.lists(NAMES, min_size=1, max_size=3),
    root=st.sampled_from(["/", "/a", "/data/b c", "/data/x.zip"]),
)
def test_a_path_is_the_same_below_another_root(name: list[bytes], root: str) -> None:
    below = os.fsdecode(b"/".join(name))
    path = f"{root.rstrip('/')}/{below}"
    assert absolute(relative(path, root), root) == path
    assert absolute(relative(root, root), "/new") == "/new"
    assert share_of(path, root, 64) == share_of(f"/new/{below}", "/new", 64)
    assert absolute(relative(f"{root}!/{below}", root), "/n.zip") == f"/n.zip!/{below}" or root == "/"


def test_nothing_about_patients_is_in_parts_and_they_are_private(scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    fill(scans)
    folder = tmp_path / "parts"
    run(scans, folder, 0, 1)
    [part] = folder.glob("*.parquet")
    rows = pyarrow.parquet.read_table(part).to_pylist()
    with Opened(one_process(scans, tmp_path / "alone"), ToyEncoder()) as opened:
        columns = {row[1] for row in opened.rows("PRAGMA table_info(frames)")} - {"id", "file_id", "number", "count"}
    files = {"root", "path", "size", "mtime_ns", "content_hash", "choice", "status", "reason"}
    assert set(rows[0]) == files | columns | {"frame", "frames", "vector"}
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    uid = b"1.3.6.1.4.1.5962.1.3.1.1.20040119072730"  # of CT_small's series, beginning
    assert b"Doe" not in content and b"CompressedSamples" not in content and uid not in content
    assert str(rows).count("5962") == 0
    assert folder.stat().st_mode & 0o777 == 0o700 and all(p.stat().st_mode & 0o777 == 0o600 for p in folder.iterdir())


def test_libraries_are_merged_too(scans: Path, tmp_path: Path) -> None:
    fill(scans)
    more = tmp_path / "more"
    draw(more / "a.png", 900)
    one, two = one_process(scans, tmp_path / "one", frames=3), one_process(more, tmp_path / "two")
    report = merge(tmp_path / "both", [one, two])
    assert report.indexed == 35 and report.frames == 37
    with Opened(tmp_path / "alone", ToyEncoder()) as opened:
        opened.index(scans, frames=3)
        opened.index(more)
    assert_same_library(tmp_path / "both", tmp_path / "alone")
    assert groups(tmp_path / "both") == groups(one)
    with pytest.raises(InputError, match="is the library itself"):
        merge(one, [one])


def spoil_part(folder: Path) -> None:
    path = next(folder.glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


def cut_part(folder: Path) -> None:
    path = next(folder.glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-40])


def rewrite_part(folder: Path) -> None:
    """As another program would, with a column less."""
    import pyarrow.parquet

    path = next(folder.glob("*.parquet"))
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).drop_columns(["status"]), path)


def misplace_part(folder: Path) -> None:
    import pyarrow.parquet

    path = next(folder.glob("*.parquet"))
    table = pyarrow.parquet.read_table(path)
    elsewhere = pyarrow.array([7] * len(table), pyarrow.int32())
    pyarrow.parquet.write_table(table.set_column(0, "root", elsewhere), path)


def swap_part(folder: Path) -> None:
    one, two = sorted(folder.glob("*.parquet"))[:2]
    shutil.copy(one, two)


def change(folder: Path, **content: Any) -> None:
    path = min(folder.glob("*.json"))
    known = json.loads(path.read_text())
    for name, value in content.items():
        known[name] = known[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(known))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (spoil_part, r"(is damaged, or is no part of|is another part).*delete it and run"),
        (cut_part, r"is damaged, or is no part of shard ./2; delete it and run that shard again"),
        (rewrite_part, r"is damaged, or is no part of"),
        (misplace_part, r"is damaged, or is no part of"),
        (swap_part, r"is damaged, or is no part of shard 1/2; delete it"),
        (lambda folder: next(folder.glob("*.parquet")).unlink(), r"is missing; run shard ./2 again"),
        (lambda folder: next(folder.glob("*.json")).unlink(), r"missing or unfinished: ./2; run them"),
        (lambda folder: next(folder.glob("*.json")).write_text("{"), "is no manifest of parts; run its shard again"),
        (lambda folder: (folder / KEY).unlink(), r"series.key is missing; copy the folder"),
        (lambda folder: (folder / KEY).write_text("00"), "made with another key; copy that folder"),
        (lambda folder: change(folder, encoder={"fingerprint": "other"}), "by different models"),
        (lambda folder: change(folder, frames="all"), "come from different commands"),
        (lambda folder: change(folder, format=2), "newer roco; update"),
        (shutil.rmtree, "neither parts nor a library"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_and_nothing_is_merged(
    sharded: Path, tmp_path: Path, damage: Any, said: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(sharded, folder)
    damage(folder)
    with pytest.raises(InputError, match=said) as caught:
        merge(tmp_path / "merged", [folder])
    assert "\n" not in str(caught.value)
    merged = tmp_path / "merged"
    assert not merged.exists() or tables(merged)["files"] == []


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("sharded")
    for number in range(12):
        draw(base / "scans" / f"{number}.png", number)
    for number in range(2):
        run(base / "scans", base / "parts", number, 2)
    return base / "parts"


def test_what_cannot_be_written_together_is_refused(
    sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = sharded.parent / "scans"
    with pytest.raises(InputError, match="holds shards of 2, and 0/3 was asked for"):
        run(scans, sharded, 0, 3)
    with pytest.raises(InputError, match="holds parts of the model toy in fp32"):
        run(scans, sharded, 0, 2, encoder=ToyEncoder(seed=1))
    with pytest.raises(InputError, match="parts of 1 folders, and 2 were given"):
        write_shard([scans, tmp_path], ToyEncoder(), sharded, Shard(0, 2))
    with pytest.raises(InputError, match="no file or folder"):
        run(tmp_path / "nowhere", sharded, 0, 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="There are no images in"):
        run(tmp_path / "empty", sharded, 0, 2)
    with locked(sharded / ".shard-00000-of-00002.lock"), pytest.raises(Busy, match=r"Shard 0/2 in .* is being written"):
        run(scans, sharded, 0, 2)
    with Opened(tmp_path / "other", ToyEncoder(seed=1)) as opened:
        opened.index(scans)
        opened.library.close()
        with pytest.raises(InputError, match="was embedded by toy in fp32, and the library"):
            merge(tmp_path / "other", [sharded])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match="pyarrow, which is not installed; run"):
        run(scans, tmp_path / "new", 0, 2)
    assert not list((tmp_path / "new").glob("*.parquet"))


def test_what_is_finished_is_kept_at_ctrl_c(scans: Path, tmp_path: Path) -> None:
    for number in range(12):
        draw(scans / f"{number:02}.png", number)

    class Stopped(ToyEncoder):
        def encode_images(self, images: Any) -> np.ndarray:
            if sum(self.batches) >= 8:
                raise KeyboardInterrupt
            return super().encode_images(images)

    with pytest.raises(KeyboardInterrupt):
        run(scans, tmp_path / "parts", 0, 1, encoder=Stopped())
    encoder = ToyEncoder()
    run(scans, tmp_path / "parts", 0, 1, encoder=encoder)
    assert 4 <= sum(encoder.batches) <= 8, "the batch in flight, and the file that it ended in"


@pytest.mark.parametrize("text", ["8/8", "-1/8", "1", "a/b", "1/0", "", "0/1000001"])
def test_shards_are_counted_from_zero(text: str) -> None:
    assert parse_shard("7/8") == Shard(7, 8)
    with pytest.raises(InputError, match="counted from 0"):
        parse_shard(text)


def test_partial_shards_drop_nothing(sharded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(sharded, folder)
    merge(tmp_path / "merged", [sharded])
    for path in folder.glob("shard-00001*"):
        path.unlink()
    report = merge(tmp_path / "merged", [folder], partial=True)
    assert report.removed == 0 and len(tables(tmp_path / "merged")["files"]) == 12
    report = merge(tmp_path / "new", [folder], partial=True)
    assert 0 < report.indexed < 12


@pytest.mark.usefixtures("small_parts")
def test_every_kind_of_root_and_another_choice_of_frames(scans: Path, tmp_path: Path) -> None:
    """Two folders, an archive, a file, links out of a folder; then all pages for the middle ones."""
    fill(scans)
    far, archive = tmp_path / "far", tmp_path / "export.zip"
    draw_pages(far / "pages.tiff", range(20, 24))
    draw(far / "linked.png", 30)
    (scans / "link").symlink_to(far)
    with zipfile.ZipFile(archive, "w") as members:
        for number in range(6):
            members.write(draw(tmp_path / "made" / f"{number}.png", 40 + number), f"DICOM/{number}.png")
    given = [archive, scans, draw(tmp_path / "single.png", 50)]
    for frames in (None, "all"):
        for number in (2, 0, 1):
            write_shard(given, ToyEncoder(), tmp_path / "parts", Shard(number, 3), frames=frames, batch_size=4)
        merge(tmp_path / "merged", [tmp_path / "parts"])
        with Opened(tmp_path / "alone", ToyEncoder()) as opened:
            opened.index(*given, frames=frames)
        assert_same_library(tmp_path / "merged", tmp_path / "alone")
    assert len(tables(tmp_path / "merged")["frames"]) == 33 + 5 + 4 + 1 + 6 + 1
