"""Nothing of what a person does every day opens a network connection."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

# An audit hook sees every socket operation of the interpreter, whatever library asks for it, and cannot be undone.
# Local sockets between a process and its own threads or children (AF_UNIX) are no network.
PROGRAM = """
import os, socket, sys

def forbid(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        family = getattr(arguments[0], "family", None)
        if family != getattr(socket, "AF_UNIX", object()):
            os.write(2, f"NETWORK {event}\\n".encode())
            os._exit(99)

sys.addaudithook(forbid)
if sys.argv[1] == "prove":
    socket.create_connection(("127.0.0.1", 9))
from roco_search.cli import main
main()
"""


def run(library: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments), "--library", str(library)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_hook_catches_a_connection(tmp_path: Path) -> None:
    assert run(tmp_path, "prove").returncode == 99


@pytest.mark.slow
def test_index_query_status_and_doctor_stay_on_this_machine(tmp_path: Path) -> None:
    scans, library = tmp_path / "scans", tmp_path / "library"
    scans.mkdir()
    Image.linear_gradient("L").save(scans / "ramp.png")
    for arguments in (("index", scans), ("query", "chest X-ray"), ("status",), ("doctor",)):
        done = run(library, *arguments)
        assert "NETWORK" not in done.stderr
        assert done.returncode == 0, done.stderr


def indexed_and_queried(folder: Path, *before: str) -> Path:
    """Run `index` and `query`, behind a command if one is given; return the folder of their temporary files."""
    Image.linear_gradient("L").save(folder / "ramp.png")
    temporary = folder / "tmp"
    temporary.mkdir()
    # OpenVINO's telemetry asks a name server at its import, unless it is kept out.
    engine = "openvino" if find_spec("openvino") else "auto"
    for arguments in (["index", str(folder / "ramp.png"), "--engine", engine], ["query", "chest X-ray"]):
        done = subprocess.run(
            [*before, sys.executable, "-m", "roco_search", *arguments, "--library", str(folder / "library")],
            env={**os.environ, "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return temporary


@pytest.mark.slow
def test_no_telemetry_session_is_kept(tmp_path: Path) -> None:
    """Onnxruntime's telemetry writes its session into the temporary folder before it sends anything."""
    assert list(indexed_and_queried(tmp_path).iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace, which sees native code's system calls, is not installed"
)
def test_native_code_stays_on_this_machine_too(tmp_path: Path) -> None:
    """Native code asks the system itself, past every audit hook."""
    trace = tmp_path / "trace"
    indexed_and_queried(tmp_path, "strace", "-f", "--seccomp-bpf", "-A", "-e", "trace=connect,sendto", "-o", str(trace))
    lines = trace.read_text().splitlines()
    assert [line for line in lines if "AF_INET" in line and "= -1 EAFNOSUPPORT" not in line] == []
