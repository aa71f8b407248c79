"""Folders as they are found: links, odd names, no permission, disks that are not there."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest

from roco_search.errors import InputError
from roco_search.imaging.walk import Walk
from roco_search.system.progress import Silent
from tests.library.toy import Opened, ToyEncoder, draw


def test_links_are_followed_once_and_cycles_end(opened: Opened, scans: Path, tmp_path: Path) -> None:
    outside = draw(tmp_path / "outside" / "o.png", 1)
    inside = draw(scans / "a.png", 2)
    (scans / "loop").symlink_to(scans)
    (scans / "other").symlink_to(outside.parent)
    (scans / "again.png").symlink_to(inside)
    (scans / "dangling.png").symlink_to(tmp_path / "nothing")
    assert opened.index(scans).indexed == 2
    assert opened.paths() == sorted([str(inside), str(outside)])
    (scans / "other").unlink()
    assert opened.index(scans).removed == 1, "what only a link led to is gone with the link"


def test_link_to_a_file_of_another_root(opened: Opened, scans: Path, tmp_path: Path) -> None:
    path = draw(tmp_path / "one" / "a.png", 1)
    draw(scans / "b.png", 2)
    opened.index(path.parent)
    (scans / "link.png").symlink_to(path)
    report = opened.index(scans)
    assert (report.indexed, report.unchanged) == (1, 1)
    (scans / "link.png").unlink()
    assert opened.index(scans).removed == 0, "it is the other root's file"


def test_hidden_and_macos_leftovers_are_passed_over(scans: Path) -> None:
    for name in (".hidden.png", ".git/a.png", "__MACOSX/a.png", "._a.png", "a.png"):
        draw(scans / name, 1)
    walk = Walk()
    walk.add(str(scans))
    assert list(walk.files) == [str(scans / "a.png")]


def test_hidden_root_is_meant(opened: Opened, scans: Path) -> None:
    path = draw(scans / ".kept" / "a.png", 1)
    draw(scans / "b.png", 2)
    opened.index(path.parent)
    report = opened.index(scans)
    assert (report.removed, report.indexed, report.unchanged) == (0, 1, 1)


def test_odd_names_round_trip(opened: Opened, scans: Path) -> None:
    names = [b"line\nbreak.png", b"\xff\xfe odd.png", "größe ☢.png".encode(), b"x" * 250 + b".png", b"q'\"%_*.png"]
    for seed, name in enumerate(names):
        draw(scans / os.fsdecode(name), seed)
    report = opened.index(scans)
    assert report.indexed == len(names)
    assert sorted(os.fsencode(Path(path).name) for path in opened.paths()) == sorted(names)
    assert opened.index(scans).unchanged == len(names)
    paths = [frame.path for frame in opened.library.frames.get(range(1, 6)).values()]
    assert json.loads(json.dumps(paths)) == paths
    assert all(Path(path).exists() for path in paths)
    shutil.move(paths[0], scans / "plain.png")
    assert opened.index(scans).moved == 1


def test_vanished_and_empty_roots_drop_nothing(opened: Opened, scans: Path, tmp_path: Path) -> None:
    for number in range(3):
        draw(scans / f"{number}.png", number)
    opened.index(scans)
    away = tmp_path / "away"
    scans.rename(away)
    with pytest.raises(InputError, match=r"3 files stay known.*`prune_missing=True`"):
        opened.index(scans)
    scans.mkdir()
    (scans / "README").write_text("mount point")
    with pytest.raises(InputError, match="3 files stay"):
        opened.index(scans)
    other = draw(tmp_path / "other" / "a.png", 9)
    report = opened.index(scans, other.parent)
    assert (report.indexed, report.removed, len(report.warnings)) == (1, 0, 1)
    assert len(opened.paths()) == 4
    shutil.rmtree(scans)
    away.rename(scans)
    assert opened.index(scans).unchanged == 3
    shutil.rmtree(scans)
    assert opened.index(scans, prune_missing=True).removed == 3
    assert opened.paths() == [str(other)]


def test_nested_root_that_vanished_is_kept(opened: Opened, scans: Path) -> None:
    draw(scans / "a.png", 1)
    disk = draw(scans / "disk" / "b.png", 2).parent
    opened.index(scans, disk)
    shutil.rmtree(disk)
    report = opened.index(scans)
    assert (report.removed, report.unchanged, len(report.warnings)) == (0, 1, 1)
    assert opened.index(scans, prune_missing=True).removed == 1


def test_dangling_link_keeps_what_it_led_to(opened: Opened, scans: Path, tmp_path: Path) -> None:
    draw(scans / "a.png", 1)
    disk = draw(tmp_path / "disk" / "b.png", 2).parent
    (scans / "link").symlink_to(disk)
    opened.index(scans)
    disk.rename(tmp_path / "unmounted")
    assert opened.index(scans).removed == 0
    assert len(opened.paths()) == 2


def test_file_that_vanishes_between_walk_and_read(opened: Opened, scans: Path) -> None:
    draw(scans / "a.png", 1)
    late = draw(scans / "b.png", 2)

    class Clearing(Silent):
        def start(self, total: int, done: int = 0) -> None:
            late.unlink()

    report = opened.index(scans, progress=Clearing())
    assert (report.indexed, report.skipped) == (1, [])


PLAIN_USER = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, sys.argv[1])
home = Path(sys.argv[2])
from tests.library.toy import Opened, ToyEncoder, draw

draw(home / "warm" / "a.png", 1)
with Opened(home / "warm-library", ToyEncoder()) as opened:
    opened.index(home / "warm")  # All modules are imported: the plain user may not be able to.
if os.getuid() == 0:
    os.chown(home, 65534, 65534)
    os.setgid(65534)
    os.setuid(65534)
scans = home / "scans"
closed, locked = draw(scans / "closed" / "a.png", 1).parent, draw(scans / "locked.png", 2)
draw(scans / "open.png", 3)
with Opened(home / "library", ToyEncoder()) as opened:
    reports = [opened.index(scans)]
    closed.chmod(0)
    locked.chmod(0)
    os.utime(locked, ns=(1, 1))
    reports.append(opened.index(scans))
    closed.chmod(0o755)
    locked.chmod(0o644)
    reports.append(opened.index(scans))
print(json.dumps([asdict(report) for report in reports]))
"""


def test_folders_and_files_without_permission() -> None:
    """In a process of a plain user, since root may read everything."""
    with tempfile.TemporaryDirectory() as home:
        arguments = [sys.executable, "-c", PLAIN_USER, str(Path(__file__).parents[2]), home]
        run = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        first, second, third = json.loads(run.stdout)
        assert first["indexed"] == 3
        assert [Path(entry["path"]).name for entry in second["skipped"]] == ["closed", "locked.png"]
        assert all("permission" in entry["reason"] for entry in second["skipped"])
        assert second["removed"] == 0
        assert third["skipped"] == [] and third["unchanged"] == 2 and third["indexed"] == 1


def test_walk_excludes_the_library_itself(scans: Path) -> None:
    with Opened(scans / "library", ToyEncoder()) as opened:
        draw(scans / "a.png", 1)
        draw(scans / "library" / "stray.png", 2)
        assert asdict(opened.index(scans))["indexed"] == 1
