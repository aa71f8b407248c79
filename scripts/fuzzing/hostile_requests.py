"""Send the warm process and the demo requests that nobody sends: they answer, refuse or hang up, and go on answering.

    scripts/fuzz socket --inputs 2000
    scripts/fuzz demo --inputs 2000

A sound request is changed in a few bytes, cut, doubled, or given values of other types. No answer has a status of 500
or more, nothing takes longer than 20 s, no traceback is printed, and a sound request is answered at the end.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import trying

from roco_search import __version__
from tests.daemon.test_serve import malformed
from tests.imaging.drawing import shipped
from tests.library.toy import draw

SECONDS, PATIENCE = 20.0, 0.3
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**30,
    1.5,
    "",
    "x" * 3000,
    "a\0b",
    [],
    [[]],
    {},
    {"path": "/etc/passwd"},
    "../..",
)
ROUTES = (
    *("/", "/config", "/favicon.ico", "/theme.css", "/manifest.json", "/gradio_api/startup-events", "/roco/map.json"),
    *("/roco/map.json?method=pca&guess=true", "/roco/image/1.jpg", "/roco/image/1.json", "/roco/assets/gallery.js"),
    *("/roco/image/1.jpg?size=1024&center=40&width=400&overlays=true", "/gradio_api/heartbeat/x"),
    *("/roco/hits.json?q=chest+X-ray&modality=CT&from=24", "/roco/hits.json?like=1&order=kind&shown=48"),
    *("/gradio_api/queue/data?session_hash=none", "/gradio_api/upload_progress?upload_id=x", "/assets/x.js"),
)


@contextmanager
def running(
    folder: Path, *arguments: str, until: str
) -> Iterator[tuple[subprocess.Popen[str], re.Match[str], list[str]]]:
    """Run a command of roco for the time of a block; give the process, what it said first, and all that it says."""
    command = [sys.executable, "-m", "roco_search", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said: list[str] = []
    while not (found := re.search(until, "".join(said))):
        line = process.stdout.readline()
        assert line, "".join(said)
        said.append(line)
    reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
    reader.start()
    try:
        yield process, found, said
    finally:
        process.terminate()  # a shell may have taken Ctrl-C away from what runs in the background
        process.wait(60)
        reader.join(10)


def answer_to(connection: socket.socket, request: bytes, enough: int = 64) -> bytes:
    """Send a request and read the beginning of its answer; nothing if it hangs up."""
    answer = b""
    try:
        connection.settimeout(PATIENCE)
        connection.sendall(request)
        try:
            answer = connection.recv(1 << 16)
        except TimeoutError:  # it may be waiting for more
            connection.settimeout(SECONDS)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1 << 16)
        connection.settimeout(SECONDS)
        while answer and len(answer) < enough and (more := connection.recv(1 << 16)):
            answer += more
    except (BrokenPipeError, ConnectionResetError):
        pass
    return answer


def to_the_socket(folder: Path, seed: int, first: int, last: int) -> tuple[Counter[str], list[str]]:
    """Send the warm process frames that no client sends."""
    from roco_search.daemon.client import circumstances, socket_of

    outcomes, failures = Counter[str](), list[str]()
    place = os.path.realpath(folder / "library")
    request = {"roco": __version__, "library": place, "arguments": ["query", "ramp", "--json"], "folder": str(folder)}
    whole = json.dumps({**request, "circumstances": circumstances(), "terminal": {}}).encode() + b"\n"
    with running(folder, "serve", until="Serving") as (process, _, said):
        for number in range(first, last):
            chance = random.Random(f"{seed}-{number}")
            with socket.socket(socket.AF_UNIX) as connection:
                try:
                    connection.settimeout(SECONDS)
                    connection.connect(socket_of(place))
                    answer = answer_to(connection, malformed(chance, whole), 1)
                except TimeoutError:
                    failures.append(f"{number}: it took too long")
                    continue
            outcomes[{b"A": "accepted", b"D": "declined"}.get(answer[:1], "hung up on")] += 1
            if process.poll() is not None:
                failures.append(f"{number}: it ended with {process.returncode}")
                break
        done = subprocess.run(
            [sys.executable, "-m", "roco_search", "query", "ramp", "--json"],
            cwd=folder,
            capture_output=True,
            check=False,
        )
        if done.returncode or not json.loads(done.stdout):
            failures.append(f"it does not answer any more: {done.stderr[-300:]!r}")
    if "Traceback" in "".join(said):
        failures.append("it printed a traceback: " + "".join(said)[-1500:])
    return outcomes, failures


class Page:
    """Sound requests to the demo."""

    def __init__(self, port: int, picture: bytes) -> None:
        self.port, self.picture = port, picture
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(SECONDS)
            connection.sendall(self.head("GET", "/config"))
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        config = json.loads(answer[answer.index(b"\r\n\r\n{") + 4 :])
        self.events = [(one["id"], len(one["inputs"])) for one in config["dependencies"]]

    def head(self, method: str, path: str, *more: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Connection: close", *more]
        return "\r\n".join([*lines, "", ""]).encode()

    def sound(self, chance: random.Random) -> tuple[str, bytes]:
        """Return a method with a path, and the content, of a request."""
        kind = chance.randrange(10)
        if kind < 4:
            return chance.choice(("GET", "GET", "GET", "HEAD", "OPTIONS", "PUT")) + " " + chance.choice(ROUTES), b""
        if kind < 8:
            event, inputs = chance.choice(self.events)
            data = [chance.choice((None, "chest x-ray", [], *VALUES)) for _ in range(inputs)]
            message: dict[str, Any] = {"data": data, "fn_index": event, "session_hash": "x", "trigger_id": None}
            if chance.random() < 0.4:
                message[chance.choice(sorted(message))] = chance.choice(VALUES)
            return "POST /gradio_api/queue/join", json.dumps(message).encode()
        head = f'--{"x" * 20}\r\nContent-Disposition: form-data; name="files"; filename="a.dcm"\r\n\r\n'
        return "POST /gradio_api/upload", head.encode() + self.picture + f"\r\n--{'x' * 20}--\r\n".encode()

    def request(self, chance: random.Random) -> bytes:
        """Return a request as nobody sends it."""
        line, body = self.sound(chance)
        method, path = line.split(" ", 1)
        content = "multipart/form-data; boundary=" + "x" * 20 if "upload" in path else "application/json"
        length = str(len(body)) if chance.random() < 0.9 else chance.choice(("-1", "x", "0", "99999999999", "5"))
        more = [f"Content-Type: {content}", f"Content-Length: {length}"] if body else []
        if chance.random() < 0.1:
            more.append(
                chance.choice(("Origin: null", "Range: bytes=9-2", "X: " + "y" * 9000, "Transfer-Encoding: chunked"))
            )
        request = bytearray(self.head(method, path, *more) + body)
        for _ in range(chance.choice((0, 0, 1, 1, 3, 20))):
            place = chance.randrange(len(request) if chance.random() < 0.5 else min(len(request), len(line)))
            match chance.randrange(4):
                case 0:
                    del request[place : place + chance.choice((1, 10))]
                case 1:
                    request[place:place] = chance.choice((b"%2e%2e/", b"\0", b"\r\n", b"..", b"\xff", b"9" * 40))
                case 2 if chance.random() < 0.2:
                    del request[place:]
                case _:
                    if place < len(request):
                        request[place] = chance.randrange(256)
            if not request:
                request += b"\r\n"
        return bytes(request)


def to_the_demo(folder: Path, seed: int, first: int, last: int) -> tuple[Counter[str], list[str]]:
    """Send the demo requests that no page sends."""
    outcomes, failures = Counter[str](), list[str]()
    with running(folder, "demo", "--port", "0", until=r"http://[^:]+:(\d+)") as (process, address, said):
        page = Page(int(address[1]), shipped("CT_small.dcm").read_bytes())
        for number in range(first, last):
            request = page.request(random.Random(f"{seed}-{number}"))
            started = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", page.port), timeout=SECONDS) as connection:
                    answer = answer_to(connection, request)
            except TimeoutError:
                failures.append(f"{number}: it took too long: {request[:200]!r}")
                continue
            status = re.match(rb"HTTP/1\.\d (\d)(\d\d)", answer)
            outcomes[f"{status[1].decode()}xx" if status else "hung up on"] += 1
            if status and status[1] == b"5" and status[2] not in {b"03", b"01"}:
                failures.append(f"{number}: {answer[:80]!r}: {request[:300]!r}")
            if process.poll() is not None:
                failures.append(
                    f"{number}: it ended with {process.returncode}, after {time.monotonic() - started:.0f} s"
                )
                break
        Page(page.port, b"")  # it still answers
    if "Traceback" in "".join(said):
        failures.append("it printed a traceback: " + "".join(said)[-1500:])
    return outcomes, failures


def prepare(folder: Path) -> None:
    """Index a few pictures, in a home of its own."""
    for number in range(6):
        draw(folder / "scans" / f"{number}.png", number, 64)
    (folder / "run").mkdir()
    os.environ |= {"ROCO_LIBRARY": str(folder / "library"), "XDG_RUNTIME_DIR": str(folder / "run")}
    os.environ |= {"ROCO_CONFIG": str(folder / "config.json"), "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-m", "roco_search", "index", "scans", "-q"], cwd=folder, check=True)


def send(kind: str, seed: int, first: int, last: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Send the requests of these numbers; return the answers, and what went wrong."""
    prepare(folder)
    return (to_the_socket if kind == "socket" else to_the_demo)(folder, seed, first, last)


if __name__ == "__main__":
    trying.main(__doc__, ("socket", "demo"), send)
