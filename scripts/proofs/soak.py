"""Ask for a long time, many at once, while the library grows: memory stays flat, every answer comes, none is an error.

    scripts/soak --count 5000 --searches 1000 --vectors 200000

`roco serve` answers `--count` queries, and the demo answers `--searches` by fifty visitors at once, over a library of
synthetic vectors, the last twentieth of which are added meanwhile. With `--page-searches` and `--page-images`, a page
in a browser also searches and opens images that are made for it; see `soak_page`. Memory is what a process holds of its
own (RssAnon): the last tenth of the run is compared with the second.
"""

from __future__ import annotations

import json
import os
import random
import re
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from typing import Any

import counting
from counting import ROOT, Proof

VISITORS, STEPS = 50, 20
ALLOWED = 1.10
WORDS = (
    "chest x-ray",
    "CT of the head",
    "brain MRI",
    "no fracture",
    "pleural effusion",
    "Röntgen Thorax",
    "knee",
    "cxr",
)


@contextmanager
def running(arguments: list[str], until: str) -> Iterator[tuple[Popen[bytes], re.Match[bytes], list[bytes]]]:
    """Run a command of roco for the time of a block; give the process, how it greeted, and all that it says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = Popen([sys.executable, "-m", "roco_search", *arguments], stdout=PIPE, stderr=STDOUT, env=environment)
    assert process.stdout is not None
    said: list[bytes] = []
    while not (found := re.search(until.encode(), b"".join(said))):
        line = process.stdout.readline()
        assert line, b"".join(said)
        said.append(line)
    threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True).start()
    try:
        yield process, found, said
    finally:
        process.terminate()
        process.wait(60)


class Growth:
    """Adds vectors to the library, a step at a time."""

    def __init__(self, place: Path, encoder: Any, first: int, count: int) -> None:
        sys.path.insert(0, str(ROOT / "scripts" / "benchmarks"))
        from made import add_images, write_library

        self.place, self.encoder, self.following, self.step, self.add = (
            place,
            encoder,
            first,
            max(1, count // STEPS),
            add_images,
        )
        write_library(place, first, encoder)

    def grow(self) -> None:
        self.add(self.place, self.following, self.step, self.encoder)
        self.following += self.step


class Measured:
    """Latencies in seconds, and the memory of a process in bytes."""

    def __init__(self, process: Popen[bytes]) -> None:
        self.process = process
        self.seconds: list[float] = []
        self.memory: list[int] = []

    def note(self, seconds: float) -> None:
        self.seconds.append(seconds)
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        self.memory.append(int(re.search(r"RssAnon:\s+(\d+)", status)[1]) * 1024)  # type: ignore[index]

    def judge(self, proof: Proof, name: str) -> None:
        """Add what was measured to the line, and fail if the memory grew."""
        tenth = max(1, len(self.memory) // 10)
        early, late = (statistics.median(part) for part in (self.memory[tenth : 2 * tenth], self.memory[-tenth:]))
        ranked = sorted(self.seconds)
        proof.notes.append(
            f"{name}: median {ranked[len(ranked) // 2]:.3f} s, 99th {ranked[int(len(ranked) * 0.99)]:.3f} s, longest "
            f"{ranked[-1]:.2f} s, memory {early / 2**20:.0f} to {late / 2**20:.0f} MiB ({late / early - 1:+.1%})"
        )
        if late > early * ALLOWED:
            proof.fail(f"{name}: memory grew from {early / 2**20:.0f} to {late / 2**20:.0f} MiB")


def soak_serve(proof: Proof, growth: Growth, chance: random.Random) -> None:
    """Ask the warm process one query after the other."""
    from roco_search.daemon.client import ask

    with running(["serve"], "Serving") as (process, _, said):
        measured = Measured(process)
        every = max(1, proof.count // STEPS)
        for number in range(proof.count):
            if proof.over:
                break
            if number % every == every - 1:
                growth.grow()
            text = f"{chance.choice(WORDS)} {chance.choice(WORDS)} {chance.choice(('', '', str(number)))}"
            answer = proof.folder / "answer"
            started = time.monotonic()
            with (
                answer.open("w") as out,
                Path(os.devnull).open("w") as notes,
                redirect_stdout(out),
                redirect_stderr(notes),
            ):
                code = ask(["query", text, "--json", "-n", "10"])
            measured.note(time.monotonic() - started)
            proof.counts["queries to roco serve"] += 1
            if code is None:
                proof.counts["not taken at once"] += 1  # a person's query would have started a process of its own
            elif code or len(json.loads(answer.read_text())) != 10:
                proof.fail(f"query {number}: {code}: {answer.read_text()[:200]}")
        measured.judge(proof, "serve")
    if proof.counts["not taken at once"] > proof.count // 50:
        proof.fail("too many queries were not taken")
    if b"Traceback" in b"".join(said):
        proof.fail("roco serve printed a traceback")


def soak_demo(proof: Proof, growth: Growth, chance: random.Random) -> None:
    """Let visitors search at once."""
    from tests.web.conftest import Site

    with running(["demo", "--port", "0"], r"http://[^:]+:(\d+)") as (process, address, said):
        measured = Measured(process)
        site = Site(None, proof.folder, int(address[1]), proof.folder)  # type: ignore[arg-type]
        config = site.ask("/config").json
        event = next(one for one in config["dependencies"] if one["api_name"] == "search")
        searches = proof.sizes["searches"]
        lock = threading.Lock()

        def join(message: dict[str, Any]) -> Any:
            return site.ask("/gradio_api/queue/join", "POST", json.dumps(message), Content_Type="application/json")

        def visit(number: int) -> None:
            text, session = f"{chance.choice(WORDS)} {number}", uuid.uuid4().hex
            message = {
                "data": [None, text, [], [], [], [], False, False],
                "fn_index": event["id"],
                "session_hash": session,
            }
            started = time.monotonic()
            with lock:
                if number % max(1, searches // STEPS) == 0:
                    growth.grow()
            try:
                joined = join(message)
                for _ in range(120):  # all come from one address, which the demo lets ask ten times a second
                    if joined.status != 429:
                        break
                    time.sleep(0.5)
                    proof.counts["told to wait"] += 1
                    started = time.monotonic()
                    joined = join(message)
                assert joined.status == 200, f"{joined.status} {joined.body[:100]!r}"
                body = site.ask(f"/gradio_api/queue/data?session_hash={session}").body
                assert b'"success":true' in body.replace(b" ", b""), body[-300:]
                assert b"data-id" in body, body[-300:]
            except Exception as error:
                with lock:
                    proof.fail(f"search {number}: {type(error).__name__}: {error}"[:400])
            with lock:
                measured.note(time.monotonic() - started)
                proof.counts["searches in the demo"] += 1

        with ThreadPoolExecutor(VISITORS) as visitors:
            list(visitors.map(visit, range(searches)))
        measured.judge(proof, f"demo, {VISITORS} at once")
    if b"Traceback" in b"".join(said):
        proof.fail("the demo printed a traceback")


def soak_browser(proof: Proof, chance: random.Random) -> None:
    """Let one page search and open images."""
    from soak_page import soak_page, write_images

    from roco_search.library import Library
    from roco_search.models import load_encoder

    place = proof.folder / "small"
    write_images(proof.folder / "pictures", 120, proof.seed)
    with Library.create_or_open(place) as library:
        library.index([proof.folder / "pictures"], load_encoder("roco-mini", "cpu"))
    with running(["demo", "--port", "0", "--library", str(place)], r"http://[^:]+:(\d+)") as (process, address, _):
        soak_page(proof, process, int(address[1]), chance)


def prove(proof: Proof) -> None:
    """Make the library, and ask both."""
    os.environ |= {"ROCO_LIBRARY": str(proof.folder / "library"), "XDG_RUNTIME_DIR": str(proof.folder)}
    os.environ.pop("ROCO_SERVE", None)
    from roco_search.models import load_encoder

    chance = random.Random(proof.seed)
    if proof.sizes["page_searches"]:
        soak_browser(proof, chance)
    if not proof.count and not proof.sizes["searches"]:
        return
    count = proof.sizes["vectors"]
    growing = count // 20
    growth = Growth(proof.folder / "library", load_encoder("roco-mini", "cpu"), count - growing, growing // 2)
    soak_serve(proof, growth, chance)
    soak_demo(proof, growth, chance)
    proof.counts["vectors at the end"] = growth.following


if __name__ == "__main__":
    counting.run(
        "soak",
        __doc__,
        5000,
        "queries to roco serve",
        prove,
        searches=1000,
        vectors=200_000,
        page_searches=0,
        page_images=0,
    )
