"""``roco similar``, ``duplicates``, ``outliers`` and ``export``: none of them loads a model."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Roco
from tests.library.toy import Opened, ToyEncoder, draw


@pytest.fixture
def indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of fifteen pictures, two of them twice; the toy model is known to nobody, so nothing can load it."""
    folder = tmp_path / "scans"
    for seed in range(13):
        draw(folder / f"{seed:02}.png", seed)
    shutil.copy(folder / "00.png", folder / "copy.png")
    Image.open(folder / "01.png").save(folder / "again.bmp")
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        opened.index(folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_similar(roco: Roco, indexed: Path) -> None:
    hits = roco("similar", "scans/00.png", "-n", 4, "--json").json
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4]
    assert not {"00.png", "copy.png"} & {Path(hit["path"]).name for hit in hits}
    table = roco("similar", "scans/00.png", "-n", 4)
    assert [line.split()[-1] for line in table.out.splitlines()[1:]] == [
        str(Path(hit["path"]).relative_to(indexed.parent)) for hit in hits
    ]
    assert roco("similar", "scans/00.png", "-n", 2, "--paths").out.split() == [hit["path"] for hit in hits[:2]]


def test_similar_of_the_only_image(roco: Roco, tmp_path: Path) -> None:
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        opened.index(draw(tmp_path / "0.png", 0))
    alone = roco("similar", tmp_path / "0.png", "--json")
    assert (alone.code, alone.json) == (0, [])
    assert "no other image" in alone.err


def test_duplicates(roco: Roco, indexed: Path) -> None:
    found = roco("duplicates", "--json")
    assert found.err == ""
    assert [(g["kind"], [Path(i["path"]).name for i in g["images"]]) for g in found.json["groups"]] == [
        ("identical file", ["00.png", "copy.png"]),
        ("same pixels", ["01.png", "again.bmp"]),
    ]
    table = roco("duplicates")
    assert table.err == "2 images occur again, in 2 groups; 15 images compared.\n"
    lines = [line.split("  ") for line in table.out.splitlines()]
    assert [line[-1].strip() for line in lines[1:]] == [
        "scans/00.png",
        "scans/copy.png",
        "scans/01.png",
        "scans/again.bmp",
    ]
    rows = list(csv.DictReader(io.StringIO(roco("duplicates", "--csv", "--exact").out)))
    assert [(row["group"], row["relation"], Path(row["path"]).name) for row in rows] == [
        ("1", "first", "00.png"),
        ("1", "identical file", "copy.png"),
        ("2", "first", "01.png"),
        ("2", "same pixels", "again.bmp"),
    ]
    (indexed / "again.bmp").unlink()
    assert "Not compared: scans/again.bmp" in roco("duplicates").err


def test_outliers(roco: Roco, indexed: Path) -> None:
    found = roco("outliers", "--json").json
    assert (found["found"], found["judged"], found["unjudged"]) == ([], 15, 0)
    assert roco("outliers").err == "0 outliers among 15 images.\n"
    shown = roco("outliers", "--deviation", "-9", "-n", 3)
    assert len(shown.out.splitlines()) == 4
    assert shown.out.splitlines()[0].split() == ["score", "off", "why", "folder", "image"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.npy", "a.parquet"])
def test_export(roco: Roco, indexed: Path, tmp_path: Path, name: str) -> None:
    done = roco("export", name, "--json").json
    assert (done["images"], done["model"]) == (15, "toy")
    again = roco("export", name)
    assert again.code == 1 and "--force" in again.err
    assert roco("export", name, "--force").code == 0
    if name == "a.npy":
        assert np.load(tmp_path / name).shape == (15, 24)


def test_export_redacts(roco: Roco, indexed: Path, tmp_path: Path) -> None:
    assert roco("export", "a.txt", "--format", "jsonl", "--redact-paths", "--no-vectors").code == 0
    rows = [json.loads(line) for line in (tmp_path / "a.txt").read_text().splitlines()]
    assert len(rows) == 15 and not any("/" in str(row["path"]) for row in rows)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["similar", "notes.txt"], 1, "no such file"),
        (["similar", "scans"], 1, "is a folder"),
        (["similar", "new.png"], 1, "roco query new.png"),
        (["similar", "scans/00.png", "-n", "0"], 2, "0 is less than 1"),
        (["similar", "scans/00.png", "--frame", "3"], 1, "frame 1, not 3"),
        (["similar", "scans/00.png", "--json", "--csv"], 2, "choose one of them"),
        (["duplicates", "--threshold", "7"], 1, "at most 1"),
        (["duplicates", "--under", "elsewhere"], 1, "no image under elsewhere"),
        (["duplicates", "--exact", "--embedding-only"], 1, "leave out --exact"),
        (["outliers", "--under", "elsewhere"], 1, "no image under elsewhere"),
        (["outliers", "-n", "0"], 2, "0 is less than 1"),
        (["export", "a.csv"], 1, "end it in .parquet, .npy or .jsonl"),
        (["export", "a.csv", "--format", "csv"], 2, "choose parquet, npy or jsonl"),
        (["export"], 2, "is missing"),
        (["export", "scans"], 1, "does not show the format"),
    ],
)
def test_bad_input_is_one_sentence(roco: Roco, indexed: Path, arguments: list[str], code: int, says: str) -> None:
    draw(indexed.parent / "new.png", 99)
    result = roco(*arguments)
    assert (result.code, result.out) == (code, "")
    assert says in " ".join(result.err.replace("│", " ").split())
    if code == 1:
        assert len(result.err.splitlines()) == 1 and result.err.startswith("Error: ")


@pytest.mark.parametrize("command", ["similar x.png", "duplicates", "outliers", "export x.npy"])
def test_without_a_library_the_remedy_is_told(roco: Roco, command: str) -> None:
    refused = roco(*command.split())
    assert refused.code == 1 and "roco index PATH" in refused.err


def test_nothing_heavy_is_imported(indexed: Path, tmp_path: Path) -> None:
    for command in ("similar scans/00.png", "duplicates", "outliers", "export a.jsonl", "library verify"):
        script = f"""
            import sys
            from roco_search.cli import main
            sys.argv = ["roco", *{command.split()!r}, "--library", {str(tmp_path / "library")!r}]
            try:
                main()
            finally:
                print([name for name in ("torch", "transformers", "onnxruntime", "pyarrow") if name in sys.modules])
        """
        lines = textwrap.dedent(script)
        done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]", command
