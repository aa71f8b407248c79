"""A hub on 127.0.0.1 that speaks the part of the Hugging Face protocol that roco uses, and fails on demand.

Models are pulled from it; models and Spaces are pushed to it, all files in the commit itself. The real hub has large
files go another way (Xet, which has no server to run here); that part is huggingface_hub's own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "hf_good"
LARGE = 10_000  # bytes; larger files are kept in LFS and served by another host, as the hub does


@dataclass
class Repository:
    """One commit of a model on the hub."""

    files: dict[str, bytes]
    gated: bool = False
    licence: str | None = "mit"

    @classmethod
    def of_folder(cls, folder: Path, **options: Any) -> Repository:
        return cls({path.name: path.read_bytes() for path in folder.iterdir()}, **options)

    @property
    def commit(self) -> str:
        return hashlib.sha1(b"".join(name.encode() + content for name, content in self.files.items())).hexdigest()

    def listing(self) -> dict[str, Any]:
        siblings = []
        for name, content in self.files.items():
            sibling: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": _blob(content)}
            if len(content) > LARGE:
                digest = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 130}
            siblings.append(sibling)
        card = {"license": self.licence} if self.licence else None
        return {"sha": self.commit, "siblings": siblings, "cardData": card, "gated": self.gated}


@dataclass
class Hub:
    """What the server has, what it was asked, what was pushed to it, and how it misbehaves."""

    endpoint: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, Range
    tokens_at_cdn: list[str] = field(default_factory=list)
    cut_after: dict[str, list[int]] = field(default_factory=dict)  # of a file: bytes before each lost connection
    altered: set[str] = field(default_factory=set)
    stall_after: dict[str, int] = field(default_factory=dict)  # of a file: bytes before the server falls silent
    ranges: bool = True
    created: list[dict[str, Any]] = field(default_factory=list)
    pushed: dict[str, bytes] = field(default_factory=dict)  # by repository/file
    broken: int | None = None  # the status of every answer

    def files(self, repository: str) -> dict[str, bytes]:
        """What was pushed to a repository."""
        folder = f"{repository}/"
        return {name.removeprefix(folder): data for name, data in self.pushed.items() if name.startswith(folder)}

    def fetched(self) -> list[str]:
        return [path.rsplit("/", 1)[1] for _, path, _ in self.asked if "/cdn/" in path or "/resolve/" in path]


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.hub.asked.append((self.command, path, self.headers.get("Range")))
        if self.hub.broken:
            return self.answer(self.hub.broken)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self.about(*match.groups())
        if match := re.fullmatch(r"/api/spaces/([^/]+/[^/]+)(/revision/main|/tree/main)?", path):
            return self.space(match[1], tree=match[2] == "/tree/main")
        if match := re.fullmatch(r"/(resolve/)?(cdn/)?([^/]+/[^/]+)/(?:resolve/)?([0-9a-f]{40})/([^/]+)", path):
            return self.file(bool(match[2]), *match.groups()[2:])
        return self.answer(404)

    def do_POST(self) -> None:
        path = self.path.split("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.hub.asked.append((self.command, path, None))
        if self.hub.broken:
            return self.answer(self.hub.broken)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401)
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.say({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/(?:models|spaces)/([^/]+/[^/]+)/preupload/main", path):
            asked = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
            return self.say({"files": modes})
        if match := re.fullmatch(r"/api/(?:models|spaces)/([^/]+/[^/]+)/commit/main", path):
            return self.commit(match[1], body)
        return self.answer(404)

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.hub.endpoint}/{'spaces/' if asked.get('type') == 'space' else ''}{name}"
        if any((created["organization"], created["name"]) == tuple(name.split("/")) for created in self.hub.created):
            return self.say({"error": "You already created this", "url": url}, 409)
        self.hub.created.append(asked)
        if asked.get("type") == "space":
            self.hub.pushed |= {f"{name}/.gitattributes": b"", f"{name}/README.md": b"made by the hub"}
        return self.say({"url": url, "name": name, "id": "1"})

    def commit(self, name: str, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "file":
                    self.hub.pushed[f"{name}/{value['path']}"] = base64.b64decode(value["content"])
                case "deletedFile":
                    del self.hub.pushed[f"{name}/{value['path']}"]
        url = f"{self.hub.endpoint}/{name}/commit/{'0' * 40}"
        self.say({"success": True, "commitUrl": url, "commitOid": "0" * 40, "hookOutput": ""})

    def space(self, name: str, *, tree: bool) -> None:
        files = self.hub.files(name)
        if not files:
            return self.answer(404, {"X-Error-Code": "RepoNotFound"})
        if tree:
            entries = [{"type": "file", "path": n, "size": len(c), "oid": _blob(c)} for n, c in files.items()]
            return self.answer(200, {"Content-Type": "application/json"}, json.dumps(entries).encode())
        return self.say({"id": name, "sha": "0" * 40, "siblings": [{"rfilename": n} for n in files]})

    def say(self, value: dict[str, Any], status: int = 200) -> None:
        self.answer(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def about(self, name: str, revision: str | None) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self.answer(401, {"X-Error-Code": "RepoNotFound"})
        if revision not in {None, "main", repository.commit}:
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        return self.answer(200, content=json.dumps({"id": name, **repository.listing()}).encode())

    def file(self, cdn: bool, name: str, commit: str, file: str) -> None:
        repository = self.hub.repositories[name]
        token = self.headers.get("Authorization")
        if cdn and token:
            self.hub.tokens_at_cdn.append(token)
        if repository.gated and not cdn and token != f"Bearer {TOKEN}":
            return self.answer(403 if token else 401, {"X-Error-Code": "GatedRepo"})
        if commit != repository.commit or file not in repository.files:
            return self.answer(404, {"X-Error-Code": "EntryNotFound"})
        content = repository.files[file]
        if len(content) > LARGE and not cdn:
            place = f"{self.hub.endpoint.replace('127.0.0.1', 'localhost')}/cdn/{name}/{commit}/{file}"
            return self.answer(302, {"Location": place, "X-Repo-Commit": commit})
        return self.content(file, content)

    def content(self, file: str, content: bytes) -> None:
        if file in self.hub.altered:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start, headers, status = 0, {}, 200
        if self.hub.ranges and (asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))):
            start = int(asked[1])
            status, headers = 206, {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        cuts = self.hub.cut_after.get(file)
        stall = self.hub.stall_after.pop(file, None)
        self.answer(status, headers, content[start:], stop=cuts.pop(0) if cuts else stall)
        if stall is not None:
            self.connection.settimeout(30)
            self.connection.recv(1)  # until the other side hangs up

    def answer(
        self, status: int, headers: dict[str, str] | None = None, content: bytes = b"", stop: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content if stop is None else content[:stop])
        if stop is not None:
            self.wfile.flush()
            self.close_connection = True


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
