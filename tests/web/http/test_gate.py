"""The gate: what is not the demo's own page, or not on the list, gets nothing."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from roco_search.errors import InputError
from roco_search.web.backend import Desk
from roco_search.web.http import gate, limits
from roco_search.web.http.gate import is_loopback
from roco_search.web.http.limits import Rate
from roco_search.web.http.uploads import delete_old_uploads, nothing_left, read_upload
from tests.web.conftest import Site, serve

IMAGE = "/roco/image/1.jpg"


def test_other_origins_get_nothing(site: Site) -> None:
    own = site.url
    for path in (IMAGE, "/roco/image/1.json", "/config", "/"):
        for origin in (
            "https://evil.example",
            "null",
            own.replace("http:", "https:"),
            f"http://127.0.0.1:{site.port + 1}",
        ):
            answer = site.ask(path, Origin=origin)
            assert answer.status == 403, (path, origin)
            assert "access-control-allow-origin" not in answer.headers
    assert site.ask(IMAGE, Origin=own).status == 200
    join = json.dumps({"data": [], "fn_index": 0, "session_hash": "x"})
    assert site.ask("/gradio_api/queue/join", "POST", join, Origin="https://evil.example").status == 403
    assert site.ask("/gradio_api/queue/join", "OPTIONS", Origin="https://evil.example").status == 403


def test_a_picture_cannot_be_embedded_elsewhere(site: Site) -> None:
    cross = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}
    assert site.ask(IMAGE, **cross).status == 403
    assert site.ask(IMAGE, **{**cross, "Sec_Fetch_Site": "same-site"}).status == 403
    assert site.ask(IMAGE, Sec_Fetch_Site="same-origin").status == 200
    headers = site.ask(IMAGE).headers
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"


def test_a_link_leads_to_the_first_page_and_no_frame_holds_it(site: Site) -> None:
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    page = site.ask("/", **link)
    assert page.status == 200
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    assert site.ask("/", **{**link, "Sec_Fetch_Dest": "iframe"}).status == 403
    assert site.ask(IMAGE, **link).status == 403


def test_a_name_that_was_made_to_point_here_is_refused(site: Site) -> None:
    for host in ("evil.example", f"evil.example:{site.port}", "127.0.0.1.evil.example", "", "[bad", "192.168.0.9"):
        assert site.ask(IMAGE, Host=host).status == 421, host
    for host in (f"localhost:{site.port}", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert site.ask(IMAGE, Host=host).status == 200, host


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=library.db",
        "/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/file=http://127.0.0.1:9/",
        "/gradio_api/proxy=https://huggingface.co/",
        "/gradio_api/stream/a/b/c/playlist-file",
        "/gradio_api/info",
        "/gradio_api/openapi.json",
        "/gradio_api/run/search",
        "/gradio_api/component_server",
        "/gradio_api/vibe-code",
        "/monitoring",
        "/login",
        "/docs",
        "/openapi.json",
        "/custom_component/1/a/b/c.js",
        "/roco/image/../../../etc/passwd",
        "/roco/image/1.jpg/../../../../etc/passwd",
        "/roco/image//etc/passwd",
        "/roco/image/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/roco/image/1%2ejpg",
        "/roco/image/-1.jpg",
        "/roco/image/1.0.jpg",
        "/roco/image/١.jpg",
        "/roco/assets/../app.py",
        "/roco/assets/..%2fapp.py",
        "/roco/assets/app.py",
        "/assets/../../../../../etc/passwd",
        "/static/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%252e%252e/%252e%252e/etc/passwd",
        "/assets/..\\..\\etc\\passwd",
        "//etc/passwd",
        "/etc/passwd",
    ],
)
def test_nothing_is_served_by_path(site: Site, path: str) -> None:
    encoded = "".join(char if char.isascii() else "".join(f"%{b:02X}" for b in char.encode()) for char in path)
    for method in ("GET", "HEAD", "POST"):
        answer = site.ask(encoded, method)
        assert answer.status in {404, 405}, (method, answer.status)
        assert b"root:" not in answer.body


def test_a_message_can_name_no_file_but_an_upload(site: Site, scans: Path, tmp_path: Path) -> None:
    """Gradio names files by path, and would read any of them for an app that is mounted."""
    secret = scans / "CT_small.dcm"
    uploads = site.folder / "uploads"
    (uploads / "link").symlink_to(secret)
    event = next(entry["id"] for entry in site.ask("/config").json["dependencies"] if entry["api_name"] == "bring_1")
    files: list[dict[str, object]] = [
        {"path": str(secret)},
        {"path": "/etc/passwd", "url": f"{site.url}{IMAGE}"},
        {"path": f"{uploads}/../../scans0/CT_small.dcm"},
        {"path": str(uploads / "link")},
        {"path": str(uploads)},
        {"path": f"{site.url}{IMAGE}"},
        {"path": "CT_small.dcm\0"},
        {"path": None, "url": f"{site.url}{IMAGE}"},
        {"path": ["x"]},
    ]
    for file in files:
        for data in ([{**file, "meta": {"_type": "gradio.FileData"}}, None, ["a", "b"], "exclusive"], [[{"x": file}]]):
            message = {"data": data, "fn_index": event, "session_hash": "intruder"}
            joined = site.ask("/gradio_api/queue/join", "POST", json.dumps(message), Content_Type="application/json")
            assert joined.status == 403, file
    assert secret.exists() and (uploads / "link").is_symlink()


def test_a_message_that_the_page_does_not_send_is_refused(site: Site) -> None:
    event = next(entry["id"] for entry in site.ask("/config").json["dependencies"] if entry["api_name"] == "search")
    good: dict[str, Any] = {"data": [], "fn_index": event, "session_hash": "abc", "trigger_id": None}
    bad: list[str] = ["[" * 100_000, "no JSON", "[]", "null", "3", "{}", '{"data": [], "fn_index": NaN}']
    wrong: dict[str, list[Any]] = {
        "data": [None, {}, "x"],
        "fn_index": [None, -1, 10**30, True, 1.5, "1"],
        "session_hash": [None, "", "../x", "a" * 65, 7, ["x"]],
        "trigger_id": [-1, "x", [], 10**30],
        "simple_format": [True],
        "batched": [True],
        "event_id": ["x"],
    }
    bad += [json.dumps({**good, name: value}) for name, values in wrong.items() for value in values]
    bad += [json.dumps({key: value for key, value in good.items() if key != name}) for name in ("data", "fn_index")]
    for message in bad:
        answer = site.ask("/gradio_api/queue/join", "POST", message, Content_Type="application/json")
        assert answer.status == 422, message[:200]


def test_a_number_that_no_frame_has_is_not_found(site: Site) -> None:
    for number in (0, 10**17, 10**18, 2**63, 10**23, 10**300):
        for kind in ("jpg", "json"):
            assert site.ask(f"/roco/image/{number}.{kind}").status == 404, number


def test_what_is_broken_off_while_it_is_uploaded_leaves_nothing(site: Site) -> None:
    uploads = site.folder / "uploads"
    before = {path for path in uploads.rglob("*") if path.is_file()}
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.dcm"\r\n\r\n'
    for framing in (b"Content-Length: 9000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
            connection.sendall(
                b"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n" + framing
            )
            part = head + b"PATIENT" * 300_000
            connection.sendall(part if b"Length" in framing else b"%x\r\n%s\r\n" % (len(part), part))
            time.sleep(0.2)
        assert site.ask("/").status == 200
        assert {path for path in uploads.rglob("*") if path.is_file()} == before
    complete = head + b"PATIENT"
    site.ask("/gradio_api/upload", "POST", complete, Content_Type="multipart/form-data; boundary=x")
    assert {path for path in uploads.rglob("*") if path.is_file()} == before, "whole, and not what it says it is"


def test_an_upload_is_answered_when_what_it_left_is_deleted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def late(folder: str) -> Iterator[None]:
        with nothing_left(folder):
            yield
            time.sleep(0.3)

    monkeypatch.setattr(gate, "nothing_left", late)
    before = set((site.folder / "uploads").iterdir())  # tests of the tabs, which may have run first, keep theirs
    unfinished = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.dcm"\r\n\r\nPATIENT'
    site.ask("/gradio_api/upload", "POST", unfinished, Content_Type="multipart/form-data; boundary=x")
    assert set((site.folder / "uploads").iterdir()) <= before


def test_an_upload_that_nobody_used_is_deleted(tmp_path: Path) -> None:
    old, new = tmp_path / "a" / "old.dcm", tmp_path / "a" / "new.dcm"
    old.parent.mkdir()
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    delete_old_uploads(str(tmp_path))
    assert new.exists() and not old.exists()


def test_what_was_not_uploaded_is_neither_read_nor_deleted(site: Site, scans: Path) -> None:
    with pytest.raises(InputError, match="was not uploaded"):
        read_upload(scans / "CT_small.dcm", site.folder / "uploads", site.desk.encoder)
    assert (scans / "CT_small.dcm").exists()


def test_what_is_too_long_is_refused_before_it_is_read(site: Site) -> None:
    assert site.ask("/gradio_api/queue/join", "POST", b"", Content_Length=str(5 * 2**20)).status == 413
    assert site.ask("/gradio_api/upload", "POST", b"", Content_Length=str(200 * 2**20)).status == 413
    assert site.ask("/gradio_api/queue/join", "POST", b"", Content_Length="-4").status in {400, 413}


def test_a_password_is_asked_for_everywhere_and_not_guessed(
    desk: Desk, tmp_path: Path, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def header(user: str, password: str) -> str:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    with serve(desk, tmp_path, scans, auth=("me", "sécret:1")) as site:
        for path in ("/", IMAGE, "/config", "/roco/map.json", "/assets/x.js"):
            answer = site.ask(path)
            assert answer.status == 401 and answer.headers["www-authenticate"].startswith("Basic")
        good = header("me", "sécret:1")
        assert site.ask(IMAGE, Authorization=good).status == 200
        assert site.ask("/", Authorization=good).status == 200
        tries = [header("me", "wrong"), header("you", "sécret:1"), "Basic !!!", "Bearer x", header("", "")]
        assert {site.ask(IMAGE, Authorization=wrong).status for wrong in tries} == {401}
        statuses = [site.ask(IMAGE, Authorization=header("me", str(number))).status for number in range(9)]
        assert statuses == [401] * 3 + [429] * 6, "five in all"
        assert site.ask(IMAGE, Authorization=good).status == 429, "not even the right one, so that nothing is learnt"
        other = HTTPConnection("127.0.0.1", site.port, timeout=30, source_address=("127.0.0.2", 0))
        other.request("GET", IMAGE, headers={"Authorization": good})
        assert other.getresponse().status == 200, "from another address it is"
        other.close()
        later = time.monotonic() + limits.FIRST_REFUSAL
        monkeypatch.setattr(limits, "monotonic", lambda: later)
        assert site.ask(IMAGE, Authorization=good).status == 200


def test_more_than_a_person_asks_is_refused_for_a_while(desk: Desk, tmp_path: Path, scans: Path) -> None:
    rates = {"queue": Rate(3, 0.01), "upload": Rate(1, 0.01), "other": Rate(5, 0.01)}
    with serve(desk, tmp_path, scans, rates=rates) as site:
        assert [site.ask(IMAGE).status for _ in range(7)] == [200] * 5 + [429] * 2
        posts = [site.ask("/gradio_api/queue/join", "POST", "{}").status for _ in range(5)]
        assert 429 not in posts[:3] and posts[3:] == [429, 429]


def test_which_addresses_only_this_machine_can_reach() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.org", "")))
