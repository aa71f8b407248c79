"""What is in none of the layouts is refused, and nothing is downloaded by mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from roco_search.datasets import layouts, open_pairs
from roco_search.datasets.layouts import find_layout
from roco_search.errors import InputError
from tests.datasets.drawing import draw, write_lines


def test_a_folder_of_pictures_is_no_layout(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png")
    with pytest.raises(InputError, match="a folder in none of the layouts that are read: the ROCO repository, "):
        find_layout(tmp_path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a file of a kind that is not read"):
        find_layout(draw(tmp_path / "1.png"))


@pytest.mark.parametrize("data", ["nowhere", "./nowhere/at", "/nowhere/at", "here/at", "some/list.csv", "a/b/c", ""])
def test_a_path_that_leads_nowhere_is_not_asked_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here" if data == "" else tmp_path)
    monkeypatch.setattr(layouts, "open_hub", lambda _: pytest.fail("the hub was asked"))
    with pytest.raises(InputError, match=r"does not exist|in none of the layouts"):
        find_layout(data)


def test_a_path_that_no_file_system_takes() -> None:
    with pytest.raises(InputError, match=r"cannot be read|does not exist"):
        find_layout("x" * 5000)


def test_a_folder_with_the_name_of_a_hub_data_set_is_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "eltorio" / "ROCO-radiology" / "1.png")
    write_lines(tmp_path / "eltorio" / "ROCO-radiology" / "metadata.jsonl", [{"file_name": "1.png", "text": "a"}])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(layouts, "open_hub", lambda _: pytest.fail("the hub was asked"))
    assert open_pairs("eltorio/ROCO-radiology", "train").layout == "imagefolder"


def test_the_room_is_light_until_a_layout_needs_more() -> None:
    program = "import sys, roco_search.datasets, roco_search.datasets.report; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not {"torch", "transformers", "datasets", "pyarrow", "pydicom", "PIL", "pandas"} & set(done.stdout.split())
