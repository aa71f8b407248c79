"""``roco query`` as a person meets it: what it takes, prints, writes and refuses."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import shutil
import stat
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from roco_search.library import Library
from roco_search.models import Encoder, load_encoder
from tests.cli.conftest import Result, Roco
from tests.library.toy import draw_pages

KEYS = [
    "rank", "score", "path", "frame", "frames", "modality", "body_part", "view", "series", "rows", "columns",
    "study", "modality_guessed", "body_part_guessed", "more", "folded", "slice",
    "relevance", "match", "evidence", "understood", "taken_for", "probability", "doubts",
]  # fmt: skip
Query = Callable[..., Result]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(precision="fast")  # as `roco query` does


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> Path:
    """Nine files: a CT series of three, an MR, a TIFF of ten pages, pictures, a twin, a name of odd bytes."""
    place = tmp_path_factory.mktemp("query")
    scans = place / "scans"
    (scans / "ct").mkdir(parents=True)
    slice_of = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    for number in range(3):
        pixels = np.roll(slice_of.pixel_array, 9 * number, axis=number % 2)
        slice_of.PixelData = pixels.tobytes()
        slice_of.save_as(scans / "ct" / f"{number}.dcm")
    shutil.copy(str(get_testdata_file("MR_small.dcm", download=False)), scans)
    draw_pages(scans / "cine.tiff", range(10))
    Image.linear_gradient("L").save(scans / "ramp.png")
    shutil.copy(scans / "ramp.png", scans / "ramp-copy.png")
    Image.radial_gradient("L").save(os.fsencode(scans) + b"/odd \xff\x1b[31m\nname.png")
    Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 60).save(scans / "=mandelbrot.png")
    with Library.create_or_open(place / "library") as library:
        library.index([scans], encoder, frames="all")
    return place


@pytest.fixture
def query(roco: Roco, place: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Query:
    # Loaded once for this file; the runs in processes of their own load it as everybody's do.
    monkeypatch.setattr("roco_search.models.load_encoder", lambda *_, **__: encoder)
    monkeypatch.setenv("ROCO_LIBRARY", str(place / "library"))
    monkeypatch.chdir(place)
    return lambda *arguments: roco("query", *arguments)


def run(place: Path, *arguments: str) -> bytes:
    """Run a query in a process of its own, whose output may be any bytes."""
    command = [sys.executable, "-m", "roco_search", "query", "x", "-n", "50", "--library", str(place / "library")]
    return subprocess.run([*command, *arguments], capture_output=True, check=True).stdout


def test_keys_come_in_their_order_in_every_format(query: Query, place: Path) -> None:
    hits = query("x", "-n", 50, "--json").json
    assert all(list(hit) == KEYS for hit in hits)
    assert [json.loads(line) for line in query("x", "-n", 50, "--jsonl").out.splitlines()] == hits
    text = run(place, "--csv").decode("utf-8", "surrogateescape")
    names, *rows = csv.reader(io.StringIO(text, newline=""))
    assert names == KEYS and [int(row[0]) for row in rows] == [hit["rank"] for hit in hits]
    assert [row[2] for row in rows] == [hit["path"] for hit in hits], "odd bytes, quotes and line feeds included"
    assert [row[5] for row in rows] == [hit["modality"] or "" for hit in hits]
    doubted = csv.DictReader(io.StringIO(query("pneumothorax", "-n", 2, "--csv").out))
    assert [json.loads(row["doubts"]) for row in doubted] == [["pneumothorax"]] * 2


def test_series_is_one_row_and_twins_are_folded(query: Query) -> None:
    hits = query("CT", "-n", 50, "--json").json
    assert len(hits) == 6, "ct, MR, cine, ramp, odd, mandelbrot"
    more = {Path(hit["path"]).name: hit["more"] for hit in hits}
    assert more.pop("cine.tiff") == 9
    assert sorted(more.values()) == [0, 0, 0, 0, 2]
    assert sum(hit["folded"] for hit in hits[:-1]) in {0, 1}
    table = query("CT", "-n", 50)
    assert table.out.splitlines()[0].split() == [
        *("#", "score", "match", "modality", "body", "part", "frame", "group", "image")
    ]
    by_cosine = query("CT", "-n", 50, "--cosine").out.splitlines()[0].split()
    assert by_cosine == ["#", "score", "modality", "frame", "group", "image"], "no column is empty"
    assert "+2 more" in table.out and "+9 more" in table.out
    assert "near-duplicates of these (1)" in table.err and "--no-fold" in table.err
    assert len(query("CT", "-n", 50, "--json", "--no-fold").json) == 7
    assert len(query("CT", "-n", 50, "--json", "--group-by", "file", "--no-fold").json) == 9


def test_every_frame_can_be_listed(query: Query) -> None:
    hits = query("CT", "-n", 100_000, "--json", "--group-by", "none", "--no-fold").json
    assert [hit["rank"] for hit in hits] == list(range(1, 19))
    assert len({(hit["path"], hit["frame"]) for hit in hits}) == 18
    pages = [
        query("CT", "-n", 5, "--offset", at, "--json", "--group-by", "none", "--no-fold").json for at in (0, 5, 10, 15)
    ]
    assert list(chain(*pages)) == hits


def test_filters_hold(query: Query, place: Path) -> None:
    def names(*arguments: object) -> list[str]:
        return sorted(Path(hit["path"]).name for hit in query("x", "--group-by", "file", "--json", *arguments).json)

    assert names("--modality", "ct") == ["0.dcm", "1.dcm", "2.dcm"]
    assert names("--modality", "MR", "--modality", "CT", "--path", "*small*", "--path", "*/2*") == [
        "2.dcm",
        "MR_small.dcm",
    ]
    assert names("--under", "scans/ct", "--under", place / "scans/MR_small.dcm", "--modality", "mr") == ["MR_small.dcm"]
    assert names("--path", "*/[01].dcm") == ["0.dcm", "1.dcm"]
    everything = names("--no-fold")
    assert names("--min-score", "-1", "--no-fold") == everything and names("--min-score", 1) == []
    guessed = query("x", "--guess", "--json", "-n", 50).json
    assert all(hit["modality"] and hit["body_part"] for hit in guessed)
    assert {hit["modality_guessed"] for hit in guessed if hit["path"].endswith("png")} == {True}
    assert {hit["modality_guessed"] for hit in guessed if hit["path"].endswith("dcm")} == {False}
    assert "(guess)" in query("x", "--guess").out and "(guess)" not in query("x", "--cosine").out
    assert "(guess)" in query("x").out and not any(hit["modality_guessed"] for hit in query("x", "--json").json)
    nothing = query("x", "--modality", "CT", "--path", "*.png", "--json")
    assert (nothing.code, nothing.json) == (0, []) and "leave out a filter" in nothing.err


def test_a_picture_from_elsewhere_is_found_and_the_very_file_is_left_out_and_that_is_said(
    query: Query, place: Path, tmp_path: Path
) -> None:
    copy = shutil.copy(place / "scans" / "MR_small.dcm", tmp_path / "a copy.dcm")
    found = query(copy, "--json", "-n", 1)
    assert [Path(hit["path"]).name for hit in found.json] == ["MR_small.dcm"] and found.err == ""
    assert found.json[0]["score"] == pytest.approx(1, abs=1e-6)
    itself = query("scans/MR_small.dcm", "--json", "-n", 50)
    assert "MR_small.dcm" not in {Path(hit["path"]).name for hit in itself.json}
    assert "Note: scans/MR_small.dcm is in the library itself, and is left out of its own hits." in itself.err


def test_asking_for_all_there_is_lists_each_image(query: Query) -> None:
    assert len(query("CT", "-n", 100_000, "--json").json) == 18
    assert len(query("CT", "-n", 100_000, "--group-by", "series", "--no-fold", "--json").json) == 7


def test_image_text_and_sums(query: Query, place: Path, encoder: Encoder) -> None:
    like = query("scans/ramp.png", "--json", "--no-fold", "-n", 50).json
    assert "ramp.png" not in {Path(hit["path"]).name for hit in like} and len(like) == 6
    assert Path(like[0]["path"]).name == "ramp-copy.png"
    words = query("scans/ramp.png", "--text", "--json", "--no-fold", "-n", 50).json
    assert len(words) == 7
    both = query(
        "brain", "scans/ct/0.dcm", "--plus", "0.5:scans/ct/1.dcm", "--minus", "2:chest", "--json", "-n", 50
    ).json
    with Library.open(place / "library") as library:
        matrix, frames = library.embeddings(), library.frames.get(library.embedded().tolist()).values()
        rows = {(frame.path, frame.frame): row for row, frame in enumerate(frames)}
        ct = [matrix[rows[str(place / f"scans/ct/{number}.dcm"), 0]] for number in (0, 1)]
        texts = encoder.encode_texts(["brain", "chest"])
        wanted = texts[0] + ct[0] + 0.5 * ct[1] - 2 * texts[1]
        scores = matrix @ (wanted / np.linalg.norm(wanted))
    for hit in both:
        assert hit["score"] == pytest.approx(scores[rows[hit["path"], hit["frame"]]], abs=1e-5)
    assert query("brain", "MRI", "--json").json == query("brain MRI", "--json").json, "as if they stood in quotes"


def test_paths_are_raw_bytes_for_pipes_and_safe_for_people(place: Path) -> None:
    names = run(place, "-0", "--group-by", "none").split(b"\0")
    assert names.pop() == b"" and len(names) == len(set(names)), "every file once, although one has ten frames"
    assert all(os.path.exists(name) for name in names)  # noqa: PTH110
    odd = [name for name in names if b"odd" in name]
    assert len(odd) == 1 and odd[0].endswith(b"odd \xff\x1b[31m\nname.png")
    assert odd[0] + b"\n" in run(place, "--paths")
    assert odd[0] in run(place, "--csv")
    table = run(place)
    assert b"\x1b" not in table and b"odd \\udcff\\x1b[31m\\nname.png" in table
    json.loads(run(place, "--json"))


def test_many_queries_with_one_load(
    query: Query, place: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[bool] = []

    def load(*given: object, once: bool) -> Encoder:
        loads.append(once)
        return encoder

    monkeypatch.setattr("roco_search.models.load_encoder", load)
    lines = ["brain MRI", "scans/ct/0.dcm", "brain MRI", "légende"]
    (place / "queries.txt").write_text("\ufeff" + "\n\n".join(lines) + "\r\n", "utf-8")
    answers = [json.loads(line) for line in query("--queries", "queries.txt", "-n", 2).out.splitlines()]
    assert [answer["query"] for answer in answers] == lines
    assert loads == [False], "the text tower is needed for every line"
    assert all(list(answer) == ["query", "hits"] and len(answer["hits"]) == 2 for answer in answers)
    assert answers[0]["hits"] == query("brain MRI", "-n", 2, "--json").json
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"CT\n")))
    assert json.loads(query("--queries", "-").out)["query"] == "CT"


def test_page_copies_and_viewer(query: Query, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, copies = tmp_path / "hits.html", tmp_path / "deep" / "copies"
    ask = partial(query, "brain", "-n", 2, "--group-by", "file", "--under", "scans/ct")
    result = ask("--paths", "--html", page, "--copy-to", copies)
    paths = result.out.splitlines()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600 and page.read_text().count("<img ") == 2
    assert sorted(path.name for path in copies.iterdir()) == [
        f"{rank:02}_{Path(path).name}" for rank, path in enumerate(paths, start=1)
    ]
    for copy, path in zip(sorted(copies.iterdir()), paths, strict=True):
        assert copy.read_bytes() == Path(path).read_bytes()
    again = ask("--copy-to", copies)
    assert again.code == 1 and "nothing is overwritten" in again.err
    assert ask("--offset", 2, "--copy-to", copies).code == 0, "the next page has other names"

    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    none = ask("--open")
    assert none.code == 1 and "has no program that opens files" in none.err
    for name in ("xdg-open", "open"):
        (tools / name).write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened\n')
        (tools / name).chmod(0o755)
    assert ask("--open").code == 0
    assert (tmp_path / "opened").read_text() == paths[0]
    for name in ("xdg-open", "open"):
        (tools / name).write_text("#!/bin/sh\nexit 4\n")
    failed = ask("--open")
    assert failed.code == 1 and "found no program to open" in failed.err


@pytest.mark.parametrize("lines", [40, 0])
def test_preview_draws_in_a_terminal(place: Path, lines: int) -> None:
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 2 * lines, 0, 0))
    command = [sys.executable, "-m", "roco_search", "query", "scans/ramp.png", "-n", "2", "--preview"]
    process = subprocess.Popen(
        [*command, "--library", place / "library"], cwd=place, env=os.environ | {"TERM": "xterm-256color"},
        stdin=terminal, stdout=terminal, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(terminal)
    drawn = b""
    with suppress(OSError):  # Raised when the other end is closed.
        while part := os.read(master, 1 << 16):
            drawn += part
    os.close(master)
    _, said = process.communicate()
    text = drawn.decode("utf-8", "replace")
    if lines:
        assert (process.returncode, said.count(b"\n")) == (0, 1) and b"left out of its own hits" in said
        assert text.count("▀") > 100 and "1.  1.000" in text and "2.  0." in text
    else:
        assert process.returncode == 1 and b"--html FILE" in said and b"Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "write what to look for"),
        (["x", "--json", "--csv"], 2, "--json and --csv are different output formats"),
        (["x", "--preview", "-0"], 2, "--preview and --print0"),
        (["x", "--preview"], 1, "--html FILE"),
        (["x", "--group-by", "patient"], 2, "not one of series, study, file, none"),
        (["x", "--offset", "-1"], 2, "--offset"),
        (["x", "--min-score", "2"], 2, "--min-score"),
        (["x", "--modality", "XX"], 1, "it has CT (3), MR (1)"),
        (["x", "--view", "AP"], 1, "it has AXIAL ("),
        (["x", "--under", "elsewhere"], 1, "The library has no image under"),
        (["./missing.png"], 1, "There is no file ./missing.png"),
        (["notes.txt"], 1, "is no image to search with"),
        (["scans/ramp.png", "--minus", "scans/ramp.png"], 1, "cancel out"),
        (["x", "--minus", "0:y"], 1, "not above zero"),
        (["x", "--queries", "notes.txt"], 2, "leave out TERM"),
        (["--queries", "notes.txt", "--csv"], 2, "leave out --csv"),
        (["--queries", "notes.txt", "--open"], 2, "leave out --open"),
        (["--queries", "missing.txt"], 1, "cannot be read"),
        (["--queries", "empty.txt"], 1, "contains no query"),
        (["x", "--html", "notes.txt"], 1, "is kept"),
        (["x", "--copy-to", "notes.txt"], 1, "notes.txt cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(query: Query, place: Path, arguments: list[str], code: int, says: str) -> None:
    (place / "notes.txt").write_text("Doe^Jane")
    (place / "empty.txt").write_text("\n \n")
    result = query(*arguments)
    assert result.code == code
    words = " ".join(result.err.replace("│", " ").split())
    assert says in words and "Doe" not in words
    if code == 1:
        assert len([line for line in result.err.splitlines() if line.startswith("Error: ")]) == 1


def test_parsing_a_query_imports_nothing_heavy() -> None:
    program = "import sys, roco_search.cli.commands.query; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "numpy", "PIL", "pydicom", "rich.table", "textual_image", "roco_search.library"}
    assert not heavy & set(done.stdout.split())


def test_words_that_the_model_cannot_read_find_nothing_and_that_is_said(query: Query) -> None:
    nothing = query("肺炎", "--json")
    assert nothing.code == 0 and nothing.json == []
    assert "Note: roco-mini cannot read 肺炎: its vocabulary has no words in that script; write them in" in nothing.err
    some = query("肺炎 chest", "--json")
    assert some.json and "cannot read 肺炎" in some.err
    assert "cannot read" not in query("Pleuraerguss über", "--json").err
