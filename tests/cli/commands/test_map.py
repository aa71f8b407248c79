"""``roco map``: a page or a picture of the library, and which method made it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.cli.conftest import Roco


def test_map_of_a_library(roco: Roco, scans: Path, tmp_path: Path) -> None:
    assert roco("map").code == 1, "there is no library yet"
    roco("index", scans)
    done = roco("map", "--out", tmp_path / "map.html", "--method", "pca", "--color", "folder")
    assert (done.code, done.out) == (0, "")
    assert "shows 3 images, laid out by PCA" in done.err.replace("\n", " ")
    page = (tmp_path / "map.html").read_text()
    assert "MR_small.dcm" in page and "dicom (2)" in page and "Doe" not in page
    done = roco("map", "--out", tmp_path / "map.png", "--color", "body_part", "--guess", "--redact-paths")
    assert done.code == 0
    assert Image.open(tmp_path / "map.png").size == (1152, 864)


def test_what_cannot_be_made_is_refused_in_one_sentence(roco: Roco, scans: Path, tmp_path: Path) -> None:
    roco("index", scans)
    for options, says in (
        (["--color", "age"], "not by 'age'"),
        (["--method", "tsne"], "umap or pca"),
        (["--out", tmp_path / "map.svg", "--method", "pca"], "as .html or .png"),
        (["--out", scans / "ramp.png", "--method", "pca"], "is kept"),
    ):
        done = roco("map", "--out", tmp_path / "x.html", *options)
        assert done.code == 1 and says in done.err.replace("\n", " "), done.err
    assert not list(tmp_path.glob("*.html"))
