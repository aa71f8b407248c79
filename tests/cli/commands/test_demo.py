"""``roco demo``: safe unless asked otherwise, one sentence where it cannot be, and nothing left behind."""

from __future__ import annotations

import csv
import os
import re
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from roco_search.errors import InputError
from roco_search.library import Library
from roco_search.models import load_encoder
from tests.cli.conftest import Roco


def start(library: Path, place: Path, *options: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """Run the demo as a process of its own; return it and what it says first."""
    command = [sys.executable, "-m", "roco_search", "demo", "--port", "0", "--library", str(library), *options]
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(place), **environment}
    )
    assert running.stderr is not None
    return running, running.stderr.readline()


def get(said: str, path: str) -> int:
    match = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
    assert match is not None, said
    connection = HTTPConnection("127.0.0.1", int(match[1]), timeout=20)
    connection.request("GET", path)
    return connection.getresponse().status


@pytest.fixture
def library(roco: Roco, scans: Path, tmp_path: Path) -> Path:
    assert roco("index", scans).code == 3
    return tmp_path / "library"


def test_help_needs_no_gradio() -> None:
    program = "import sys; sys.modules['gradio'] = None; sys.argv = ['roco', 'demo', '--help']\n"
    program += "from roco_search.cli import main\ntry: main()\nfinally: assert 'uvicorn' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--export-space" in done.stdout


def test_without_gradio_one_sentence_says_how_to_get_it(
    roco: Roco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roco_search.web.app.find_spec", lambda _: None)
    for options in ([], ["--export-space", tmp_path / "space"]):
        done = roco("demo", *options)
        assert done.code == 1 and "pip install 'roco-search[demo]'" in done.err.replace("\n", " ")
    assert not (tmp_path / "space").exists()


def test_beyond_this_machine_only_with_a_password_that_is_never_shown(roco: Roco, library: Path) -> None:
    pytest.importorskip("gradio")
    from roco_search.web.app import safe_address

    done = roco("demo", "--host", "0.0.0.0")
    assert done.code == 1 and "set --auth USER:PASSWORD" in done.err.replace("\n", " ")
    for auth in ("secret", ":secret", "secret:"):
        done = roco("demo", "--auth", auth)
        assert done.code == 1 and "written USER:PASSWORD" in done.err.replace("\n", " ")
        assert "secret" not in done.err
    assert safe_address("127.0.0.1", 7860, None).rules.auth is None
    beyond = safe_address("0.0.0.0", 7860, "me:a:b")
    assert beyond.rules.auth == ("me", "a:b") and beyond.rules.any_address
    assert beyond.url == "http://127.0.0.1:7860/"
    with pytest.raises(InputError):
        safe_address("192.168.0.1", 7860, None)


def test_what_cannot_be_shown_is_refused(roco: Roco, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    assert "no library" in roco("demo").err
    Library.create_or_open(tmp_path / "library").close()
    assert "holds no image yet" in roco("demo").err.replace("\n", " ")
    done = roco("demo", "--push", "org/name")
    assert done.code == 2 and "--export-space" in done.err


def test_a_taken_port_is_said(roco: Roco, library: Path) -> None:
    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = roco("demo", "--port", taken.getsockname()[1])
    assert done.code == 1 and "choose another --port" in done.err.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_ended_and_leaves_nothing(library: Path, tmp_path: Path, end: signal.Signals) -> None:
    pytest.importorskip("gradio")
    (tmp_path / "scratch").mkdir()
    running, said = start(library, tmp_path / "scratch", ROCO_DEMO_AUTH="me:secret" if end == signal.SIGTERM else "")
    try:
        assert "For research, not for clinical use." in said and "secret" not in said
        status = 401 if end == signal.SIGTERM else 200
        assert get(said, "/roco/image/1.jpg") == get(said, "/") == status
        (folder,) = (tmp_path / "scratch").iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        running.send_signal(end)
        assert running.wait(20) == 0
    finally:
        running.kill()
    assert running.stderr is not None and running.stderr.read() == ""
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.slow
def test_a_space_is_exported(roco: Roco, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    done = roco("demo", "--export-space", tmp_path / "space")
    assert done.code == 0 and "contains a Space with roco-mini" in done.err.replace("\n", " ")
    assert (tmp_path / "space" / "app.py").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x")
    assert "contains other files" in roco("demo", "--export-space", tmp_path / "other").err.replace("\n", " ")


def test_the_examples_are_a_library_of_their_own_that_answers_rightly_and_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio")
    from roco_search.search import search
    from roco_search.web.run import EXAMPLES, example_library

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = csv.DictReader((EXAMPLES / "captions.csv").read_text("utf-8").splitlines())
    truth = {row["file"]: (row["modality"], row["body_part"]) for row in rows}
    with example_library() as place, Library.open(place) as library:
        encoder = load_encoder("roco-mini")
        assert len(library.embedded()) == len(truth)
        for query, right in (("chest X-ray", ("XR", "chest")), ("coronary angiogram", ("XA", "heart"))):
            hits = search(library, encoder, [query], n=10)
            assert [truth[Path(hit.path).name] for hit in hits] == [right] * 10
    assert list(tmp_path.iterdir()) == []


def test_examples_and_a_library_exclude_each_other(roco: Roco, tmp_path: Path) -> None:
    done = roco("demo", "--examples", "--library", tmp_path)
    assert done.code == 2 and "leave --library out" in done.err.replace("\n", " ")
