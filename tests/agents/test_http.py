"""The warm process answers programs over HTTP: the same functions, for those who have the token, on this machine."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from roco_search.agents.functions import Functions
from roco_search.cli import answer
from roco_search.daemon import warm
from roco_search.daemon.server import serve
from roco_search.errors import Busy
from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.web.backend import Desk
from roco_search.web.sharing import SharedEncoder
from tests.imaging.drawing import shipped

pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="the packages of the demo are not installed")


@dataclass
class Site:
    port: int
    token: str
    token_file: Path
    library: Path

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {"Authorization": f"Bearer {self.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        named |= {} if body is None else {"Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, content, named)
        answer = connection.getresponse()
        data = answer.read()
        said = {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        return answer.status, json.loads(data) if "json" in said.get("content-type", "") else data, said


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    from roco_search.agents.http_server import http_door

    folder = tmp_path_factory.mktemp("http")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Library.create_or_open(folder / "library") as library:
        library.index([shipped("CT_small.dcm"), shipped("MR_small.dcm")], load_encoder("roco-mini"))
    with http_door(folder / "library", 0, allow_images=True) as door:
        assert door.token_file.stat().st_mode & 0o777 == 0o600
        port = int(door.url.rstrip("/").rpartition(":")[2])
        yield Site(port, door.token_file.read_text().strip(), door.token_file, folder / "library")
    assert not door.token_file.exists(), "the token ends with the process"
    patch.undo()


def test_it_answers_what_the_functions_answer(site: Site) -> None:
    with Desk(site.library, load_encoder("roco-mini", "auto", "fast")) as desk:
        functions = Functions(desk)
        wanted = functions.search("head CT", n=2, modality=["CT"])
        status, found, headers = site.ask("/v1/search", {"text": "head CT", "n": 2, "modality": ["CT"]})
        assert (status, found) == (200, json.loads(json.dumps(wanted)))
        number = found["hits"][0]["id"]
        assert site.ask("/v1/similar", {"image_id": number})[1] == json.loads(json.dumps(functions.similar(number)))
        labels = {"labels": ["CT", "MRI"], "image_id": number}
        assert site.ask("/v1/classify", labels)[1]["labels"][0]["label"] == "CT"
        assert site.ask("/v1/status")[1] == json.loads(json.dumps(functions.status()))
    assert site.ask("/v1/cohorts")[1] == {"cohorts": []} and site.ask("/v1/probes")[1] == {"probes": []}
    status, refused, _ = site.ask("/v1/probes/nosuch?n=3")
    assert status == 422 and "no probe 'nosuch'" in refused["error"]
    for half in ({"text": "CT", "modality": ["\ud800"]}, {"text": "\udc80"}):
        status, refused, _ = site.ask("/v1/search", half)
        assert status == 422 and "half of a character" in refused["error"]
    assert site.ask(f"/v1/images/{number}.png")[1].startswith(b"\x89PNG")
    assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"


def test_what_it_offers_is_described(site: Site) -> None:
    status, described, _ = site.ask("/openapi.json", Authorization="")
    assert status == 200
    assert set(described["paths"]) == {
        "/v1/search", "/v1/similar", "/v1/classify", "/v1/status", "/v1/cohorts", "/v1/cohorts/{name}",
        "/v1/probes", "/v1/probes/{name}",
        "/v1/images/{image_id}.png",
    }  # fmt: skip
    assert "pleural effusion" in described["paths"]["/v1/search"]["post"]["description"]
    status, page, _ = site.ask("/", Authorization="")
    assert (
        status == 200
        and b"POST /v1/search" in page
        and b"/v1/images/" in page
        and str(site.library).encode() not in page
    )


def test_one_process_serves_a_library(site: Site) -> None:
    from roco_search.agents.http_server import http_door

    with pytest.raises(Busy, match="served over HTTP"), http_door(site.library, 0):
        pass
    assert site.token_file.read_text().strip() == site.token, "and its token is what it was"


def test_the_warm_process_opens_it_and_is_not_idle_while_it_is_used(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warm, "_kept", None)
    shutil.copytree(site.library, tmp_path / "library")
    place = ["--library", str(tmp_path / "library")]
    assert answer(["serve", "--http", "0", "--idle", "0.01", *place]) == 0
    said = capsys.readouterr().err
    assert "http://127.0.0.1:" in said and "0 queries" in said
    assert answer(["serve", "--allow-images", *place]) == 2 and "--http" in capsys.readouterr().err
    shared = warm._kept and warm._kept._encoder
    assert shared and isinstance(shared[1], SharedEncoder), "the model is loaded once, for queries and programs"
    asked = iter([math.inf, math.inf, -math.inf])
    serve(tmp_path / "library", 0.01, lambda _: 0, used=lambda: min(next(asked), monotonic()))
    assert next(asked, None) is None, "it asked when it was last used until that was long ago"


def test_nobody_else_gets_in(site: Site) -> None:
    asked = {"text": "head CT"}
    assert site.ask("/v1/search", asked, Authorization="")[0] == 401
    assert site.ask("/v1/search", asked, Authorization="Bearer wrong")[0] == 401
    assert site.ask("/v1/search", asked, Authorization=f"Basic {site.token}")[0] == 401
    assert site.ask(f"/v1/status?token={site.token}", Authorization="")[0] == 401, "a token is not for addresses"
    assert site.ask("/v1/search", asked, Origin="https://evil.example")[0] == 403
    assert site.ask("/v1/status", Sec_Fetch_Site="cross-site")[0] == 403
    assert site.ask("/v1/status", Host="evil.example")[0] == 421
    assert site.ask("/", Host="evil.example", Authorization="")[0] == 421
    for path in ("/docs", "/v1/../v1/status", "/v1/status/", "/v1/cohorts/..", "/gradio_api/upload", "/v1//status"):
        assert site.ask(path)[0] == 404, path
    assert site.ask("/v1/index", {"paths": ["/"]})[0] == 404
    for body, word in (
        ({"text": ""}, "empty"),
        ({"text": "CT", "n": 10**9}, "1 to 100"),
        ({"text": ["CT"]}, "text"),
        ([], "arguments"),
    ):
        status, refused, _ = site.ask("/v1/search", body)
        assert status == 422 and word in refused["error"]
    status, refused, _ = site.ask("/v1/classify", {"labels": ["a", "b"], "path": "/etc/passwd"})
    assert status == 422 and "inside" in refused["error"]
    for _ in range(6):
        status = site.ask("/v1/status", Authorization="Bearer guess")[0]
    assert status == 429, "whoever guesses waits"
