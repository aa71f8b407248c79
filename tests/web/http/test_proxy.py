"""Behind a reverse proxy with TLS, below a path: by the configurations of the manual."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.resources import files
from pathlib import Path

import pytest

from roco_search.errors import InputError
from roco_search.web.app import safe_address
from roco_search.web.backend import Desk
from tests.web.conftest import Answer, Site, serve

NAME = "scans.hospital.example"
AUTH = "me:secret"


def configuration(kind: str) -> str:
    """Return the block of the manual."""
    manual = files("roco_search").joinpath("manual", "demo.md").read_text("utf-8")
    (block,) = re.findall(rf"```{kind}\n(.*?)```", manual, re.DOTALL)
    return str(block)


def nginx(folder: Path, port: int, demo: int) -> list[str]:
    block = (
        configuration("nginx")
        .replace("443 ssl", f"127.0.0.1:{port} ssl")
        .replace("127.0.0.1:7860", f"127.0.0.1:{demo}")
    )
    block = block.replace("/etc/ssl/scans", f"{folder}/scans")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    around = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;\nevents {{}}\n"
    (folder / "nginx.conf").write_text(f"{around}http {{\naccess_log off;\n{places}{block}}}\n")
    return ["nginx", "-e", f"{folder}/errors", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, port: int, demo: int) -> list[str]:
    block = configuration("caddy").replace("127.0.0.1:7860", f"127.0.0.1:{demo}")
    block = block.replace(
        f"{NAME} {{", f"https://{NAME}:{port} {{\nbind 127.0.0.1\ntls {folder}/scans.pem {folder}/scans.key"
    )
    (folder / "Caddyfile").write_text(
        f"{{\nadmin off\nauto_https disable_redirects\nstorage file_system {folder}\n}}\n{block}"
    )
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@dataclass
class Proxied(Site):
    """The demo, asked through a proxy."""

    proxy: int = 0

    def ask(self, path: str, method: str = "GET", body: bytes | str | None = None, **headers: str) -> Answer:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", self.proxy), timeout=60)
        connection = HTTPConnection(NAME, self.proxy)
        connection.sock = context.wrap_socket(plain, server_hostname=NAME)
        try:
            own = {"Authorization": f"Basic {base64.b64encode(AUTH.encode()).decode()}", "Origin": self.origin}
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {**own, **named})
            response = connection.getresponse()
            kept = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, kept, response.read())
        finally:
            connection.close()

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.proxy}"


class Below(Proxied):
    """The same, every path below "/roco"."""

    def ask(self, path: str, method: str = "GET", body: bytes | str | None = None, **headers: str) -> Answer:
        return super().ask(f"/roco{path}", method, body, **headers)


@pytest.fixture(params=[nginx, caddy])
def below(request: pytest.FixtureRequest, desk: Desk, scans: Path, tmp_path: Path) -> Iterator[Below]:
    kind = request.param.__name__
    for program in (kind, "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} here; install it (apt-get install {program})")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", tmp_path / "scans.key")
    subject = ("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}")
    made: list[str | Path] = ["openssl", "req", "-x509", *key, "-out", tmp_path / "scans.pem", *subject]
    subprocess.run(made, check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    root = f"https://{NAME}:{port}/roco"
    rules = safe_address("127.0.0.1", 0, AUTH, root).rules
    folder = tmp_path / "scratch"
    folder.mkdir()
    with serve(desk, folder, scans, root_path=root, hosts=rules.hosts, auth=rules.auth, origin=rules.origin) as site:
        command = request.param(tmp_path, port, site.port)
        environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/usr/sbin:/usr/local/bin"}
        running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            while running.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.02)
            assert running.poll() is None, running.stderr and running.stderr.read()
            yield Below(site.desk, site.folder, site.port, scans, proxy=port)
        finally:
            running.terminate()
            running.wait()


def test_everything_works_below_a_path(below: Below) -> None:
    assert Proxied.ask(below, "/roco").headers["location"].endswith("/roco/")
    assert below.ask("/", Authorization="").status == 401
    assert below.ask("/", Origin="https://elsewhere.example").status == 403
    page = below.ask("/").body.decode()
    assert f'"root":"{below.origin}/roco"' in page.replace(" ", "")
    sources = re.findall(r'(?:src|href)=\\?"(?:\./)?((?:assets|roco)/[^"\\]*)', page)
    assert {"roco/assets/roco.css", "roco/assets/viewer.js"} < set(sources) and len(sources) > 4
    for source in sources:
        assert below.ask(f"/{source}").status == 200, source
    _, gallery = below.search("brain MRI")
    (picture, *_) = re.findall(r'<img src="(roco/image/[^"]*)"', gallery)
    assert below.ask(f"/{picture}").headers["content-type"] == "image/jpeg"
    answer = below.call("bring", [below.upload(below.scans / "CT_small.dcm"), None, "", [], [], [], [], False, True])
    assert "images" in str(answer[0])
    assert json.loads(below.ask("/roco/map.json?method=pca").body)["ids"]


def test_an_address_of_a_proxy_is_the_whole_and_needs_a_password() -> None:
    for wrong in (
        "/roco",
        "scans.example/roco",
        "ftp://scans.example",
        "https://",
        "https://a:b@scans.example",
        "https://x:y",
    ):
        with pytest.raises(InputError, match="no address of a reverse proxy"):
            safe_address("127.0.0.1", 7860, AUTH, wrong)
    with pytest.raises(InputError, match=r"Anybody who can reach scans\.example .* leave out `root_path`"):
        safe_address("127.0.0.1", 7860, None, "https://scans.example/roco")
    rules = safe_address("127.0.0.1", 7860, AUTH, "https://Scans.example:8443/roco/").rules
    assert rules.origin == "https://scans.example:8443" and rules.hosts == {"scans.example"} and not rules.any_address
