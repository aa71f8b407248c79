"""Hand over damaged probes, and talk to the servers for programs as no program does: a sentence each, and they go on.

    scripts/fuzz probes --inputs 2000
    scripts/fuzz mcp --inputs 2000
    scripts/fuzz http --inputs 2000

A sound file or request is changed in a few bytes, cut, doubled, or given values of other types. A probe is refused in
one sentence or can be applied; no answer over HTTP is a 500, each refusal is JSON or one line, and each line of the
Model Context Protocol's server is JSON-RPC. Nothing takes longer than 20 s, or more than 500 MB, no traceback is
printed, and a sound request is answered at the end.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from queue import Empty, Queue
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import trying
from hostile_requests import SECONDS, VALUES, answer_to

from roco_search.errors import RocoError
from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.probe import shelf
from roco_search.probe.applying import apply
from roco_search.probe.probe import Probe, dump
from tests.library.toy import draw
from tests.probe.drawing import drawn

Tried = tuple[Counter[str], list[str]]
MOST_MEMORY = 500_000_000  # bytes
AT_ONCE = 50  # lines of the protocol between two sound requests
CALLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("search_images", "search", {"text": "head CT", "n": 3, "modality": ["CT"]}),
    ("similar_images", "similar", {"image_id": 1, "n": 2, "other_series": False}),
    ("classify_image", "classify", {"labels": ["CT", "MRI"], "image_id": 1}),
    ("apply_probe", "", {"name": "told", "label": "one", "n": 2, "offset": 0}),
    ("library_status", "", {}),
    ("show_cohort", "", {"name": "mine", "n": 2}),
    ("list_probes", "", {}),
)
PLACES = ("/", "/openapi.json", "/v1/status", "/v1/probes", "/v1/probes/told", "/v1/cohorts/mine", "/v1/images/1.png")


def mutated(chance: random.Random, content: bytes) -> bytes:
    """Return bytes that are changed in places, cut, doubled or of any kind; sometimes as they were."""
    changed = bytearray(content)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 20))):
        if not changed:
            break
        place = chance.randrange(len(changed))
        match chance.randrange(8):
            case 0:
                del changed[place : place + chance.choice((1, 10, 200))]
            case 1:
                changed[place:place] = chance.choice((b"\0", b"\r\n", b"\xff", b"9" * 40, b"[" * 5000, b'"', b"}"))
            case 2 if chance.random() < 0.3:
                del changed[place:]
            case 3:
                changed[place:place] = changed[place : place + chance.choice((8, 400))]
            case _:
                changed[place] = chance.randrange(256)
    return bytes(changed)


def other(chance: random.Random, value: Any) -> Any:
    """Return JSON with one of its values, at any depth, of another kind or left out."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(sorted(value))
        changed = dict(value)
        if chance.random() < 0.15:
            del changed[name]
        else:
            changed[name] = other(chance, changed[name])
        return changed
    if isinstance(value, list) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        return [*value[:place], other(chance, value[place]), *value[place + 1 :]]
    return chance.choice((*VALUES, float("nan"), 2**63, "\ud800", [1] * 1000, {"a": {"b": []}}))


def prepare(folder: Path) -> Path:
    """Index a few pictures, in a home of its own, and teach the library a probe; return its folder."""
    for number in range(6):
        draw(folder / "scans" / f"{number}.png", number, 64)
    (folder / "run").mkdir()
    os.environ |= {"XDG_RUNTIME_DIR": str(folder / "run"), "ROCO_CONFIG": str(folder / "config.json")}
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    with Library.create_or_open(folder / "library") as library:
        library.index([folder / "scans"], load_encoder("roco-mini", "cpu"))
        shelf.SHELF.keep(library, drawn(library))
    return folder / "library"


def to_the_shelf(library: Library, folder: Path, seed: int, first: int, last: int) -> Tried:
    """Import probes that nobody exported."""
    outcomes, failures = Counter[str](), list[str]()
    sound = dump(shelf.read_probe(library, "told"))
    length = int.from_bytes(sound[:8], "little")
    header, numbers = sound[8 : 8 + length], sound[8 + length :]
    for number in range(first, last):
        chance = random.Random(f"{seed}-{number}")
        match chance.randrange(4):
            case 0:
                content = mutated(chance, sound)
            case 1:
                head = mutated(chance, header)
                content = len(head).to_bytes(8, "little") + head + numbers
            case 2:
                head = json.dumps(other(chance, json.loads(header))).encode()
                content = len(head).to_bytes(8, "little") + head + numbers
            case _:
                told = json.loads(header)
                texts = told["__metadata__"]
                name = chance.choice(sorted(texts))
                texts[name] = json.dumps(other(chance, json.loads(texts[name])))
                head = json.dumps(told).encode()
                content = len(head).to_bytes(8, "little") + head + numbers
        file, started = folder / "probe.safetensors", time.monotonic()
        file.write_bytes(content)
        try:
            taken = shelf.receive(library, file, "other", overwrite=True)
            assert np.isfinite(apply(library, taken).probabilities).all() if isinstance(taken, Probe) else True
            [*_] = shelf.probes(library)
            outcomes["taken"] += 1
        except RocoError as error:
            outcomes["refused"] += 1
            if "\n" in str(error) or not str(error).endswith("."):
                failures.append(f"{number}: no sentence: {str(error)[:200]!r}")
        except Exception as error:
            failures.append(f"{number}: {type(error).__name__}: {str(error)[:200]}")
        if time.monotonic() - started > SECONDS:
            failures.append(f"{number}: it took too long")
    return outcomes, failures


class Lines:
    """A server of the Model Context Protocol, on whose standard input anything is written."""

    def __init__(self, library: Path) -> None:
        command = [sys.executable, "-m", "roco_search", "mcp", "--library", str(library)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        self.answers: Queue[bytes] = Queue()
        self.said: list[bytes] = []
        self._readers = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=lambda: self.said.extend(self.process.stderr or ()), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.answers.put(line)

    def send(self, content: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(content + b"\n")
        self.process.stdin.flush()

    def until(self, wanted: int) -> list[Any]:
        """Return the answers up to that to a request; raise TimeoutError if there is none."""
        found, patient = [], time.monotonic() + 3 * SECONDS
        while time.monotonic() < patient:
            try:
                found.append(json.loads(self.answers.get(timeout=1)))
            except Empty:
                if self.process.poll() is not None:
                    break
                continue
            if isinstance(found[-1], dict) and found[-1].get("id") == wanted:
                return found
        raise TimeoutError

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)
        for reader in self._readers:
            reader.join(10)


def call(number: int, method: str, **parameters: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}


def to_the_protocol(library: Path, seed: int, first: int, last: int) -> Tried:
    """Write lines to `roco mcp` that no client writes."""
    outcomes, failures = Counter[str](), list[str]()
    lines = Lines(library)
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "1"}}
    begin = call(10**6, "initialize", **client)
    try:
        lines.send(json.dumps(begin).encode())
        lines.until(10**6)
        lines.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')
        for number in range(first, last):
            chance = random.Random(f"{seed}-{number}")
            tool, _, arguments = chance.choice(CALLS)
            sound = call(number, "tools/call", name=tool, arguments=arguments)
            match chance.randrange(4):
                case 0:
                    content = mutated(chance, json.dumps(sound).encode())
                case 1:
                    content = json.dumps(other(chance, sound)).encode()
                case 2:
                    method = chance.choice(("tools/list", "x", "resources/read", "", "tools/call"))
                    content = json.dumps(call(number, method)).encode()
                case _:
                    sound["params"]["arguments"] = other(chance, arguments)
                    content = json.dumps(sound).encode()
            lines.send(content.replace(b"\n", b" "))
            if number % AT_ONCE == AT_ONCE - 1 or number == last - 1:
                lines.send(json.dumps(call(10**6 + 1 + number, "tools/list")).encode())
                for answer in lines.until(10**6 + 1 + number):
                    refused = "error" in answer or answer.get("result", {}).get("isError")
                    outcomes["refused" if refused else "answered"] += 1
                    failures += [f"{number}: a traceback: {answer}"[:400]] if "Traceback" in str(answer) else []
    except (TimeoutError, BrokenPipeError, ValueError) as error:
        failures.append(f"up to {number}: {type(error).__name__} {error}; it ended with {lines.process.poll()}")
        lines.process.kill()
    lines.close()
    said = b"".join(lines.said).decode("utf-8", "replace")
    if "Traceback" in said:
        failures.append("it printed a traceback: " + said[-1500:])
    return outcomes, failures


def over_http(library: Path, seed: int, first: int, last: int) -> Tried:
    """Send `roco serve --http` requests that no program sends."""
    from roco_search.agents.http_server import http_door

    outcomes, failures = Counter[str](), list[str]()
    with http_door(library, 0, allow_images=True) as door:
        port, token = int(door.url.rstrip("/").rpartition(":")[2]), door.token_file.read_text().strip()

        def request(method: str, path: str, body: bytes, length: str, key: str = token) -> bytes:
            lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
            lines += [f"Authorization: Bearer {key}"]
            lines += ["Content-Type: application/json", f"Content-Length: {length}"] if body else []
            return "\r\n".join([*lines, "", ""]).encode() + body

        def ask(content: bytes) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
                answer = answer_to(connection, content)
                connection.settimeout(SECONDS)
                while answer and (more := connection.recv(1 << 16)):
                    answer += more
            return answer

        sound = request("GET", "/v1/status", b"", "0")
        for number in range(first, last):
            chance = random.Random(f"{seed}-{number}")
            _, path, arguments = chance.choice([entry for entry in CALLS if entry[1]])
            body = json.dumps(other(chance, arguments) if chance.random() < 0.7 else arguments).encode()
            body = mutated(chance, body) if chance.random() < 0.3 else body
            length = str(len(body)) if chance.random() < 0.9 else chance.choice(("-1", "x", "0", "99999999999", "5"))
            if chance.random() < 0.3:
                content = request(chance.choice(("GET", "HEAD", "POST", "PUT")), chance.choice(PLACES), b"", "0")
            else:
                content = request("POST", f"/v1/{path}", body, length)
            head, _, rest = content.partition(b"\r\n\r\n")
            if chance.random() < 0.3:
                # Not in the token: whoever guesses tokens waits, and so would all that follow.
                line, _, others = head.partition(b"\r\n")
                head = mutated(chance, line) + b"\r\n" + others
            started = time.monotonic()
            try:
                answer = ask(head + b"\r\n\r\n" + rest)
                while answer[9:12] == b"429" and time.monotonic() - started < SECONDS:  # all come from one address
                    time.sleep(0.2)
                    answer = ask(head + b"\r\n\r\n" + rest)
            except TimeoutError:
                failures.append(f"{number}: it took too long: {content[:200]!r}")
                continue
            except ConnectionResetError:
                answer = b""
            status = re.match(rb"HTTP/1\.\d (\d\d\d)", answer)
            outcomes[f"{status[1].decode()}" if status else "hung up on"] += 1
            failures += judged(number, status[1].decode() if status else "", answer, content)
        if not ask(sound).startswith(b"HTTP/1.1 200"):
            failures.append("it does not answer any more")
    return outcomes, failures


def judged(number: int, status: str, answer: bytes, content: bytes) -> list[str]:
    """Return what is wrong with an answer: a server's error, a traceback, a refusal that is neither JSON nor a line."""
    head, _, body = answer.partition(b"\r\n\r\n")
    wrong = (status.startswith("5") and status != "503") or b"Traceback" in answer
    if status.startswith("4") and body:
        if b"application/json" in head.lower():
            wrong = wrong or not isinstance(json.loads(body), dict)
        else:
            wrong = wrong or b"\n" in body.strip() or len(body) > 500
    return [f"{number}: {answer[:300]!r}: {content[:300]!r}"] if wrong else []


def run(kind: str, seed: int, first: int, last: int, folder: Path) -> Tried:
    """Try the inputs of these numbers; return what came of them, and what went wrong."""
    place = prepare(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if kind == "probes":
        with Library.open(place) as library:
            outcomes, failures = to_the_shelf(library, folder, seed, first, last)
    else:
        outcomes, failures = (to_the_protocol if kind == "mcp" else over_http)(place, seed, first, last)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if kind == "mcp" else 0
    if max(own, child) * 1024 > MOST_MEMORY:
        failures.append(f"it took {max(own, child) // 1024} MB")
    return outcomes, failures


if __name__ == "__main__":
    trying.main(__doc__, ("probes", "mcp", "http"), run)
