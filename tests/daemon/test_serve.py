"""A warm process answers what a cold one answers, for its own library and nobody else's, and is never needed."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from roco_search import __version__
from roco_search.cli import answer
from roco_search.cli.commands import local_flags
from roco_search.daemon.client import circumstances, is_private, socket_of

ROOT = Path(__file__).parents[2]
# What a cold query of words does without; each would be a hundredth of its time or of its memory, or more.
NEVER = {"torch", "transformers", "tokenizers", "openvino", "PIL", "pydicom", "hnswlib", "sqlite_utils", "rich"}
NEVER |= {
    "numpy.ma",
    "numpy.random",
    "asyncio",
    "logging",
    "concurrent.futures",
    "tempfile",
    "yaml",
    "importlib.metadata",
}
NEVER |= {f"roco_search.{room}" for room in ("probe", "curation", "evaluation", "training", "agents", "web", "imaging")}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("ROCO_LIBRARY", str(tmp_path / "library"))
    monkeypatch.setenv("ROCO_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("ROCO_SERVE", raising=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "scans").mkdir()
    Image.linear_gradient("L").save(tmp_path / "scans" / "ramp.png")
    Image.radial_gradient("L").save(tmp_path / "scans" / "spot.png")
    return tmp_path


@pytest.fixture
def roco(home: Path) -> Run:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "roco_search", *arguments]
        return subprocess.run(
            command, cwd=home, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120
        )

    assert answer(["index", str(home / "scans"), "--quiet"]) == 0  # here, since each start of a process takes a second
    return run


@pytest.fixture
def served(home: Path, roco: Run) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "roco_search", "serve", "--library", str(home / "library"), "--idle", "2"]
    # Its own ROCO_LIBRARY is another than the askers'.
    environment = os.environ | {"ROCO_LIBRARY": str(home / "elsewhere")}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None and process.stderr.readline().startswith("Serving")
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def imported(home: Path, *arguments: str) -> set[str]:
    """Run a query in a process of its own and return what it had imported at its end."""
    program = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = ['roco', *{list(arguments)!r}]\n"
        "from roco_search.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=home, capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_it_prints_what_a_cold_query_prints(home: Path, roco: Run, served: subprocess.Popen[str]) -> None:
    for arguments in (
        ["query", "ramp"],
        ["query", "ramp", "--json"],
        ["query", "scans/ramp.png"],
        ["query", "x", "-n", "0"],
    ):
        warm, cold = roco(*arguments), roco(*arguments, ROCO_SERVE="off")
        assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr)
    assert warm.returncode == 2


def test_an_asker_imports_nothing_heavy(home: Path, roco: Run, served: subprocess.Popen[str]) -> None:
    modules = imported(home, "query", "ramp")
    assert not {"numpy", "onnxruntime", "typer", "rich", "sqlite3", "pathlib"} & modules
    cold = imported(home, "query", "ramp", "--library=library/../library")
    assert "numpy" not in cold, "the same library by another name"


def test_options_that_need_the_askers_own_process_are_not_answered(
    home: Path, roco: Run, served: subprocess.Popen[str]
) -> None:
    assert "numpy" in imported(home, "query", "ramp", "--html=page.html")
    assert (home / "page.html").exists()
    cold = imported(home, "query", "ramp", "--device", "cpu")
    assert "numpy" in cold and not NEVER & cold


def test_options_are_marked_where_they_are_declared() -> None:
    asks = {"--queries", "--mark", "--session"}
    assert local_flags() == {*asks, "--preview", "--html", "--copy-to", "--open", "--device", "-h", "--help"}


def test_a_cold_query_imports_what_it_uses(home: Path, roco: Run) -> None:
    modules = imported(home, "query", "ramp")
    assert {"numpy", "onnxruntime", "sqlite3"} <= modules
    heavy = {
        "torch",
        "transformers",
        "onnx",
        "sqlite_utils",
        "tokenizers",
        "rich",
        "pydicom",
        "PIL",
        "numpy.ma",
        "hnswlib",
    }
    assert not heavy & modules


def test_another_library_is_not_answered_for(home: Path, roco: Run, served: subprocess.Popen[str]) -> None:
    (home / "scans" / "spot.png").unlink()
    assert roco("index", "scans", "--library", "other").returncode == 0
    for where in (["--library", "other"], ["--library=other"]):
        assert len(json.loads(roco("query", "ramp", "--json", *where).stdout)) == 1
    assert len(json.loads(roco("query", "ramp", "--json", ROCO_LIBRARY=str(home / "other")).stdout)) == 1
    assert len(json.loads(roco("query", "ramp", "--json").stdout)) == 2


def test_what_is_indexed_meanwhile_is_found_at_once(home: Path, roco: Run, served: subprocess.Popen[str]) -> None:
    assert len(json.loads(roco("query", "ramp", "--json").stdout)) == 2
    Image.new("L", (64, 64), 90).save(home / "scans" / "grey.png")
    assert roco("index", "scans").returncode == 0
    assert len(json.loads(roco("query", "ramp", "--json").stdout)) == 3


def test_a_library_made_anew_in_the_same_place_is_the_one_that_answers(
    home: Path, roco: Run, served: subprocess.Popen[str]
) -> None:
    roco("query", "ramp")
    (home / "library").rename(home / "gone")
    (home / "scans" / "ramp.png").unlink()
    assert roco("index", "scans").returncode == 0
    [hit] = json.loads(roco("query", "ramp", "--json").stdout)
    assert hit["path"].endswith("spot.png")


def test_the_socket_is_private(home: Path, served: subprocess.Popen[str]) -> None:
    path = Path(socket_of(os.path.realpath(home / "library")))
    assert is_private(str(path))
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    path.parent.chmod(0o755)
    assert not is_private(str(path))


def test_a_second_one_is_refused(home: Path, roco: Run, served: subprocess.Popen[str]) -> None:
    again = roco("serve")
    assert again.returncode == 1 and "already being served" in again.stderr


def test_a_socket_whose_path_is_too_long_is_refused_and_queries_are_answered_without_it(home: Path, roco: Run) -> None:
    """A socket's path has room for a hundred bytes: a home or a cache folder may be deeper."""
    deep = str(home / ("d" * 120))
    done = roco("serve", XDG_RUNTIME_DIR=deep)
    assert done.returncode == 1 and "give a folder of your own with a short path with XDG_RUNTIME_DIR" in done.stderr
    assert roco("query", "ramp", XDG_RUNTIME_DIR=deep).returncode == 0


def test_what_a_killed_one_left_does_not_matter(home: Path, roco: Run, served: subprocess.Popen[str]) -> None:
    served.kill()
    served.wait()
    assert roco("query", "ramp").returncode == 0
    once_more = roco("serve", "--idle", "0.01")
    assert once_more.returncode == 0 and "0 queries" in once_more.stderr
    assert not Path(socket_of(os.path.realpath(home / "library"))).exists(), "it ends by itself, and tidies up"


def test_one_that_does_not_answer_is_not_waited_for(home: Path, roco: Run) -> None:
    path = Path(socket_of(os.path.realpath(home / "library")))
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        path.chmod(0o600)
        deaf.listen(1)
        started = time.monotonic()
        assert len(json.loads(roco("query", "ramp", "--json").stdout)) == 2
        assert time.monotonic() - started < 60
        deaf.settimeout(5)
        connection, _ = deaf.accept()
        with connection:
            assert json.loads(connection.recv(1 << 16))["arguments"] == ["query", "ramp", "--json"]
            assert not socket.recv_fds(connection, 1, 2)[1], "its output was not handed over"


def malformed(chance: random.Random, whole: bytes) -> bytes:
    """A request as nobody sends it: cut, with bytes changed, or of other types, and nested without end."""
    match chance.randrange(6):
        case 0:
            return whole[: chance.randrange(len(whole))]
        case 1:
            content = bytearray(whole)
            for _ in range(chance.choice((1, 3, 20))):
                content[chance.randrange(len(content) - 1)] = chance.randrange(256)
            return bytes(content)
        case 2:
            return b"[" * chance.choice((10, 100_000)) + b"\n"
        case 3:
            return chance.randbytes(chance.randrange(2000)) + b"\n"
    request = json.loads(whole)
    name = chance.choice(sorted(request))
    others: list[Any] = [None, [], {}, 7, "", "a\0b", [None], ["query", 3], {"A=": "x"}, {"COLUMNS": 80}, [[]], True]
    request[name] = chance.choice(others)
    if chance.random() < 0.2:
        del request[name]
    return json.dumps(request).encode() + b"\n"


def test_a_warm_process_survives_any_bytes(home: Path, roco: Run, served: subprocess.Popen[str]) -> None:
    place = str((home / "library").resolve())
    whole = json.dumps(
        {
            "roco": __version__,
            "library": place,
            "arguments": ["query", "ramp"],
            "folder": str(home),
            "circumstances": circumstances(),
            "terminal": {},
        }
    ).encode()
    chance = random.Random(0)
    for _ in range(int(os.environ.get("ROCO_TEST_FRAMES", "400"))):
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.settimeout(5)
            connection.connect(socket_of(place))
            connection.sendall(malformed(chance, whole + b"\n"))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
    assert served.poll() is None
    assert "numpy" not in imported(home, "query", "ramp"), "and it answers"


def test_one_who_dawdles_holds_up_nobody_for_long(home: Path, roco: Run, served: subprocess.Popen[str]) -> None:
    place = socket_of(str((home / "library").resolve()))
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(place)
        started = time.monotonic()
        with suppress(OSError):  # until it hangs up
            while time.monotonic() - started < 10:
                slow.sendall(b" ")
                time.sleep(0.2)
        assert time.monotonic() - started < 5
    assert served.poll() is None


CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
from roco_search.daemon.client import ask
assert ask(["query", "chest"]) is None
print({"pathlib", "typing", "tempfile", "platformdirs", "typer", "numpy"} & set(sys.modules))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere platformdirs says where the socket lies")
def test_who_asks_loads_next_to_nothing(tmp_path: Path) -> None:
    """Without the site's packages: an editable install's own hook imports pathlib."""
    command = [sys.executable, "-I", "-S", "-c", CLIENT, str(Path(__file__).parents[2])]
    environment = {"HOME": str(tmp_path)}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout == "set()\n"
