"""Reading pairs: what is there is read, what is wrong is said with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from roco_search.errors import TrainingError
from roco_search.training.pairs import read_imagefolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    for name in ("a/1.png", "2.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    return tmp_path


def write(folder: Path, *lines: object) -> None:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "metadata.jsonl").write_text(text)


def test_captions_and_columns_are_read(folder: Path) -> None:
    write(
        folder,
        {"file_name": "a/1.png", "text": " a chest ", "group": "g"},
        {"file_name": "2.png", "caption": "b"},
    )
    first, second = read_imagefolder(folder)
    assert (first.image, first.caption, first.captions, first.columns) == (
        folder / "a/1.png",
        "a chest",
        {"a chest": 1.0},
        {"group": "g"},
    )
    assert second.caption == "b"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 1: not a JSON object"),
        ([1], "line 1: not a JSON object"),
        ({"file_name": "2.png"}, "line 1: no text"),
        ({"file_name": "3.png", "text": "x"}, "3.png is not there"),
    ],
)
def test_a_bad_line_is_named(folder: Path, line: object, says: str) -> None:
    write(folder, line)
    with pytest.raises(TrainingError, match=says):
        read_imagefolder(folder)


def test_a_folder_without_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"metadata\.jsonl"):
        read_imagefolder(tmp_path)
