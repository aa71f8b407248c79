"""FileIndex are found in listings, and never outside of the folder that holds the data."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from roco_search.datasets.files import FileIndex, leaves_folder, read_text
from roco_search.errors import InputError
from tests.datasets.drawing import draw


def test_a_file_is_found_where_it_is(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png")
    files = FileIndex(tmp_path)
    assert files.find("a/1.png") == tmp_path / "a" / "1.png"
    assert files.find("1.png") is None and files.find("b/1.png") is None
    assert files.find("a") is None, "a folder is no file"


def test_names_that_file_systems_take_for_the_same(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "é.PNG")
    draw(tmp_path / unicodedata.normalize("NFD", composed))
    found = FileIndex(tmp_path).find("é.png")
    assert found is not None and found.is_file()


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(20):
        draw(tmp_path / "images" / f"{i}.png")
    listed: list[str] = []
    real = os.scandir

    def scandir(path: str) -> Any:
        listed.append(str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "stat", lambda *_, **__: pytest.fail("asked of a single file"))
    files = FileIndex(tmp_path)
    assert sum(files.find(f"images/{i}.png") is not None for i in range(30)) == 20
    assert listed == [str(tmp_path / "images")]


def test_an_image_is_found_by_its_name_without_extension(tmp_path: Path) -> None:
    for name in ("ROCO_1.jpg", "ROCO_2.PNG", "ROCO_3.txt", "._ROCO_4.jpg", "ROCO_5.dcm"):
        (tmp_path / name).touch()
    files = FileIndex(tmp_path)
    found = {n: path.name for n in range(1, 6) if (path := files.find_image("", f"ROCO_{n}"))}
    assert found == {1: "ROCO_1.jpg", 2: "ROCO_2.PNG", 5: "ROCO_5.dcm"}
    assert files.count_images("") == 3 and files.count_images("absent") == 0


@pytest.mark.parametrize(
    "path", ["../a.png", "a/../../b.png", "/etc/a.png", "C:/a.png", r"C:\a.png", r"..\a", r"\a", ""]
)
def test_paths_that_lead_out(path: str) -> None:
    assert leaves_folder(path)


@pytest.mark.parametrize("path", ["a.png", "a/b.png", "./a.png", "a..b/c.png", "..a/b.png"])
def test_paths_that_stay_inside(path: str) -> None:
    assert not leaves_folder(path)


def test_text_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,caption\n1,fine\n2,caf\xe9\n")
    with pytest.raises(InputError, match=r"a\.csv, line 3: it is not UTF-8"):
        read_text(tmp_path / "a.csv")


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id", "utf-8-sig")
    assert read_text(tmp_path / "a.csv") == "id"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path)
