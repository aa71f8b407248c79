"""A real demo on a free port of this machine, over a library of real images, with the model that comes with roco."""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPResponse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.web.backend import Desk
from tests.imaging.drawing import shipped

collect_ignore_glob = [] if find_spec("gradio") else ["test_*.py"]

DICOM = (
    "CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm", "examples_palette.dcm", "SC_rgb_rle_2frame.dcm", "reportsi.dcm",
    "examples_overlay.dcm",
)  # fmt: skip
HARM = "<img src=x onerror=alert(1)> ${1+1} {{value}} `x` _.png"


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-dev-shm-usage",
)  # fmt: skip


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """A running demo and how to ask it things without a browser."""

    desk: Desk
    folder: Path
    port: int
    scans: Path
    session: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", body: bytes | str | None = None, **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.putrequest(method, path, skip_host="Host" in named, skip_accept_encoding=True)
            data = body.encode() if isinstance(body, str) else body
            if data is not None and "Content-Length" not in named:
                named["Content-Length"] = str(len(data))
            for name, value in named.items():
                connection.putheader(name, value)
            connection.endheaders(data)
            response: HTTPResponse = connection.getresponse()
            kept = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, kept, response.read())
        finally:
            connection.close()

    def call(self, event: str, data: list[Any], event_data: dict[str, Any] | None = None) -> list[Any]:
        """Do what the page does for an event of Gradio's: join the queue, and wait for the answer."""
        config = self.ask("/config").json
        (number,) = [entry["id"] for entry in config["dependencies"] if entry["api_name"] == event]
        message = {"data": data, "fn_index": number, "event_data": event_data, "session_hash": self.session}
        joined = self.ask("/gradio_api/queue/join", "POST", json.dumps(message), Content_Type="application/json")
        assert joined.status == 200, joined.body
        stream = self.ask(f"/gradio_api/queue/data?session_hash={self.session}").body.decode()
        for line in stream.splitlines():
            entry = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if entry.get("msg") == "process_completed":
                assert entry["success"], entry
                return list(entry["output"]["data"])
        raise AssertionError(stream)

    def open(self, address: str) -> list[Any]:
        """What a page is answered that is opened at an address."""
        return self.call("heard", [None], event_data={"address": address, "opened": True})

    def upload(self, path: Path) -> dict[str, object]:
        """Upload a file as the page does, and return what it then sends."""
        boundary = "x" * 20
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'
        body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        answer = self.ask("/gradio_api/upload", "POST", body, Content_Type=f"multipart/form-data; boundary={boundary}")
        assert answer.status == 200, answer.body
        return {"path": answer.json[0], "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}

    def search(self, text: str, **filters: Any) -> tuple[str, str]:
        """The sentence and the gallery that a search for a text gives."""
        lists = [filters.get(name, []) for name in ("modality", "body_part", "view", "folder")]
        choices = [*lists, filters.get("guess", False), filters.get("series", True)]
        status, gallery, *_ = self.call("search", [None, text, *choices])
        return status, gallery


@contextmanager
def serve(
    desk: Desk, folder: Path, scans: Path, *, root_path: str | None = None, viewer: str = "", **rules: Any
) -> Iterator[Site]:
    """Run the demo in a thread."""
    import socket

    from roco_search.web.app import make_app, prepare_gradio, server
    from roco_search.web.http.gate import Rules

    prepare_gradio(folder)
    running = server(make_app(desk, folder, Rules(**rules), root_path, viewer))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield Site(desk, folder, listening.getsockname()[1], scans)
        finally:
            running.should_exit = True
            thread.join(20)


CAPTION = "Chest radiograph: a small pleural effusion on the left."
"""What is said of ``examples_overlay.dcm``."""


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DICOM files of pydicom's, drawn pictures, a file whose name means harm, and one that is broken."""
    folder = tmp_path_factory.mktemp("scans")
    for name in DICOM:
        shutil.copy(shipped(name), folder / name)
    series = shipped("CT_small.dcm").parent / "dicomdirtests" / "77654033" / "CT2"
    for file in series.iterdir():
        shutil.copy(file, folder / f"series-{file.name}")
    (folder / "drawn").mkdir()
    for number in range(14):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "drawn" / f"{number}.png")
    Image.linear_gradient("L").save(folder / HARM)
    (folder / "examples_overlay.txt").write_text(CAPTION)
    (folder / "broken.png").write_bytes((folder / HARM).read_bytes()[:60])
    return folder


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory, scans: Path) -> Path:
    place = tmp_path_factory.mktemp("demo") / "library"
    with Library.create_or_open(place) as library:
        library.index([scans], load_encoder("roco-mini", "cpu"), captions=True)
    return place


@pytest.fixture(scope="session")
def desk(indexed: Path) -> Iterator[Desk]:
    with Desk(indexed, load_encoder("roco-mini", "cpu")) as desk:
        yield desk


@pytest.fixture(scope="session")
def running(desk: Desk, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve(desk, tmp_path_factory.mktemp("scratch"), scans) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    """The demo, as a page that was just opened."""
    from roco_search.web.app import prepare_gradio

    prepare_gradio(running.folder)  # another demo of this process may have told Gradio of its own folder since
    return replace(running, session=uuid.uuid4().hex)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, headless, that asks for nothing by itself."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed; pip install playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here; install one (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield opened
        opened.close()
