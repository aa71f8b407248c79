"""The commands on a small folder of real files: what they print, how they exit, what they refuse."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import roco_search
from tests.cli.conftest import Roco


def test_index_says_what_it_did_as_json(roco: Roco, scans: Path) -> None:
    first = roco("index", scans, "--json")
    assert first.code == 3, "one image could not be read"
    report = first.json
    assert list(report) == [
        "library", "model", "indexed", "unchanged", "moved", "removed", "frames", "captions", "skipped",
        "not_images", "seconds", "images_per_second",
    ]  # fmt: skip
    assert (report["model"], report["indexed"], report["frames"]) == ("roco-mini", 3, 3)
    assert [entry["path"] for entry in report["skipped"]] == [str(scans / "broken.png")]
    assert [Path(entry["path"]).name for entry in report["not_images"]] == ["reportsi.dcm"]
    assert "notes.txt" not in first.out

    again = roco("index", scans, "--json")
    assert again.code == 3, "the image could not be read at the last attempt either"
    assert (again.json["indexed"], again.json["unchanged"]) == (0, 3)

    (scans / "broken.png").unlink()
    assert roco("index", "--json").code == 0, "without a folder, what was indexed before is looked at again"


def test_query_ranks_every_image_and_says_what_is_known_of_it(roco: Roco, scans: Path) -> None:
    roco("index", scans)
    hits = roco("query", "CT of the abdomen", "-n", 50, "--json").json
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert [hit["relevance"] for hit in hits] == sorted((hit["relevance"] for hit in hits), reverse=True)
    assert hits[0]["path"].endswith("CT_small.dcm"), "its header says CT"
    cosines = [hit["score"] for hit in roco("query", "CT of the abdomen", "-n", 50, "--cosine", "--json").json]
    assert cosines == sorted(cosines, reverse=True) and set(cosines) == {hit["score"] for hit in hits}
    assert list(hits[0])[:11] == [
        "rank", "score", "path", "frame", "frames", "modality", "body_part", "view", "series", "rows", "columns",
    ]  # fmt: skip
    ct = next(hit for hit in hits if hit["path"].endswith("CT_small.dcm"))
    assert (ct["modality"], ct["rows"], ct["columns"], ct["frames"]) == ("CT", 128, 128, 1)
    assert len(roco("query", "x", "--top", 2, "--json").json) == 2


def test_tables_for_people_hold_the_same(roco: Roco, scans: Path) -> None:
    indexed = roco("index", scans)
    assert "3 indexed, 1 not readable, 1 without a picture" in indexed.err
    assert "broken.png" in indexed.out
    table = roco("query", "CT")
    lines = table.out.splitlines()
    assert lines[0].split() == ["#", "score", "match", "modality", "body", "part", "image"]
    assert all("(guess)" in line for line in lines[1:]), "no header says a body part"
    assert len(lines) == 4
    assert all(line == line.rstrip() for line in lines)
    assert table.err.startswith("Understood: CT")


def test_status_names_everything(roco: Roco, scans: Path) -> None:
    roco("index", scans)
    shown = roco("status").out
    for expected in ("3 from 3 files", "CT 1", "MR 1", str(scans), "broken.png", "reportsi.dcm", "roco-mini"):
        assert expected in shown
    found = roco("status", "--json").json
    assert (found["files"], found["frames"], found["modalities"]) == (3, 3, {"CT": 1, "MR": 1})
    assert roco("library", "verify", "--json").json["files"] == 3, "files without an image do not count there, either"


def test_doctor_looks_at_everything(roco: Roco, scans: Path) -> None:
    before = roco("doctor")
    assert before.code == 0
    assert "none yet" in before.out
    roco("index", scans)
    report = roco("doctor", "--json").json
    assert report["problems"] == []
    names = {check["name"] for check in report["checks"]}
    assert {"python", "torch", "pydicom", "device", "model", "library"} <= names
    engines = next(check["found"] for check in report["checks"] if check["name"] == "image engine")
    assert re.search(r"in fp32: .*onnxruntime \d+ images/s", engines)
    assert {"JPEG Lossless", "JPEG-LS", "JPEG 2000", "High-Throughput JPEG 2000", "RLE"} <= {
        word for d in report["decoders"] if d["available"] for word in _names(d["name"])
    }
    database = Path(os.environ["ROCO_LIBRARY"]) / "library.db"
    half = database.stat().st_size // 2
    database.write_bytes(database.read_bytes()[:half] + b"\xff" * half)
    broken = roco("doctor")
    assert broken.code == 1
    assert "is damaged" in broken.err


def _names(name: str) -> list[str]:
    known = ("JPEG Lossless", "JPEG-LS", "High-Throughput JPEG 2000", "JPEG 2000", "RLE")
    return [word for word in known if word in name]


def test_nothing_about_the_patient_is_in_the_library(roco: Roco, scans: Path, tmp_path: Path) -> None:
    import pydicom

    roco("index", scans)
    everything = b"".join(file.read_bytes() for file in (tmp_path / "library").iterdir())
    for name in ("CT_small.dcm", "MR_small.dcm"):
        header = pydicom.dcmread(scans / "dicom" / name)
        secrets = [
            str(header.get(keyword))
            for keyword in (
                "PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "StudyDate",
                "InstitutionName", "ReferringPhysicianName", "AccessionNumber", "StudyDescription",
            )
            if len(str(header.get(keyword) or "")) > 3
        ]  # fmt: skip
        assert len(secrets) >= 5
        for secret in secrets:
            assert secret.encode() not in everything, "a value of the header is in the library"


def test_the_library_is_private(roco: Roco, scans: Path, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        roco("index", scans)
        roco("query", "CT")
    finally:
        os.umask(old)
    library = tmp_path / "library"
    assert stat.S_IMODE(library.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in library.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["query", "CT"], 1, "roco index PATH"),
        (["status"], 1, "roco index PATH"),
        (["index"], 2, "give a folder"),
        (["index", "missing"], 1, "missing; check the path"),
        (["index", "empty"], 1, "no image"),
        (["index", "scans", "--model", "nobody"], 1, "There is no model 'nobody'"),
        (["index", "scans", "--frames", "some"], 2, "neither middle, all, nor a number"),
        (["index", "scans", "--frames", "0"], 2, "neither middle, all, nor a number"),
        (["index", "scans", "--device", "abacus"], 2, "not one of auto"),
        (["index", "scans", "--library", "scans"], 1, "holds other files"),
        (["query", " "], 2, "text is empty"),
        (["query", "CT", "-n", "0"], 2, "less than 1"),
        (["look"], 2, "No such command"),
    ],
)
def test_bad_input_is_one_sentence(
    roco: Roco, scans: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    monkeypatch.chdir(scans.parent)
    (scans.parent / "empty").mkdir()
    result = roco(*arguments)
    assert result.code == code
    assert result.out == ""
    words = " ".join(result.err.replace("│", " ").split())
    assert says in words
    if code == 1:
        assert len(result.err.splitlines()) == 1
        assert result.err.startswith("Error: ")


def test_a_library_of_another_model_names_the_command(roco: Roco, scans: Path, tmp_path: Path) -> None:
    from tests.models.checkpoints import clip

    other = clip(tmp_path / "other-model")
    roco("index", scans)
    refused = roco("index", scans, "--model", other)
    assert refused.code == 1
    assert "roco index --reembed" in refused.err
    again = roco("index", "--reembed", "--model", other, "--json")
    assert again.code == 3
    assert (again.json["indexed"], again.json["unchanged"], again.json["frames"]) == (3, 0, 3)
    assert roco("status", "--json").json["model"]["dim"] == 16
    assert len(roco("query", "chest", "--json").json) == 3, "a query takes the library's own model"


def test_a_library_of_a_newer_roco_is_left_alone(roco: Roco, scans: Path, tmp_path: Path) -> None:
    roco("index", scans)
    database = sqlite3.connect(tmp_path / "library" / "library.db")
    database.execute("PRAGMA user_version = 999")
    database.commit()
    database.close()
    for command in (("index", scans), ("query", "CT"), ("status",)):
        result = roco(*command)
        assert result.code == 1
        assert "newer roco" in result.err


def test_version_and_completion(roco: Roco) -> None:
    assert roco("--version").out == f"roco {roco_search.__version__}\n"
    completed = subprocess.run(
        [sys.executable, "-m", "roco_search"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "_ROCO_COMPLETE": "complete_bash", "COMP_WORDS": "roco que", "COMP_CWORD": "1"},
    )
    assert completed.stdout.split() == ["query"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--library", "LONG"),
        ("query", "CT", "--library", "LONG"),
        ("classify", "LONG", "--labels", "CT,MRI"),
        ("library", "verify", "--library", "LONG"),
        ("library", "merge", "LONG", "--library", "merged"),
        ("library", "copy", "LONG", "copied"),
        ("model", "import", "LONG"),
        ("probe", "list", "--library", "LONG"),
    ],
)
def test_a_path_that_the_system_refuses_is_named_with_the_reason(
    roco: Roco, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Any look at it may fail: the test of a file as well, where a folder above it may not be entered."""
    long = str(tmp_path / ("x" * 300))
    result = roco(*(long if part == "LONG" else part for part in arguments))
    assert result.code in {1, 2}
    assert "File name too long" in result.err and "unexpected" not in result.err
    assert str(tmp_path) in result.err.replace("\n", "")


def test_an_unexpected_error_is_one_sentence_too(roco: Roco, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug must not print the traceback, whose values may come from a header."""
    roco("index", scans)

    def fails(*_: object, **__: object) -> None:
        raise KeyError("Doe^Jane")

    monkeypatch.setattr("roco_search.search.search", fails)
    result = roco("query", "CT")
    assert result.code == 1
    assert "KeyError" in result.err
    assert "Doe" not in result.err
