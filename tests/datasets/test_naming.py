"""A data set has a name that tells nothing of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from roco_search.datasets.report import name_of, relative_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("scans", "scans"),
        ("roco-dataset/data", "roco-dataset"),
        ("roco-dataset/data/test/radiology", "roco-dataset"),
        ("pairs/dev", "pairs"),
        ("pairs/train.csv", "pairs"),
        ("pairs/list.v2.csv", "list.v2"),
    ],
)
def test_its_name(tmp_path: Path, path: str, name: str) -> None:
    place = tmp_path / path
    if path.endswith(".csv"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    else:
        place.mkdir(parents=True)
    assert name_of(place) == name


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scans" / "train").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "scans" / "train")
    assert name_of(Path()) == "scans"


def test_a_path_in_a_report() -> None:
    assert relative_name(Path("/a/b/c.png"), Path("/a")) == "b/c.png"
    assert relative_name(Path("/x/c.png"), Path("/a")) == "/x/c.png"
