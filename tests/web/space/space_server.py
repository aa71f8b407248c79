"""A hub on 127.0.0.1 that takes a Space: the endpoints of huggingface_hub's client, all files in the commit itself.

The hub has large files go another way (Xet, which has no server to run here); that leg is huggingface_hub's own.
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
from typing import Any

TOKEN = "hf_writer"


@dataclass
class Hub:
    """What the hub has, by repository and path, and what it was asked."""

    endpoint: str = ""
    spaces: dict[str, dict[str, bytes]] = field(default_factory=dict)
    created: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: int | None = None


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
        path = self.start()
        if path is None:
            return None
        if match := re.fullmatch(r"/api/spaces/([^/]+/[^/]+)(/revision/main)?", path):
            files = self.hub.spaces.get(match[1])
            if files is None:
                return self.answer(404, {"error": "no"}, {"X-Error-Code": "RepoNotFound"})
            return self.answer(200, {"id": match[1], "sha": "0" * 40, "siblings": [{"rfilename": n} for n in files]})
        if match := re.fullmatch(r"/api/spaces/([^/]+/[^/]+)/tree/main", path):
            files = self.hub.spaces.get(match[1], {})
            return self.answer(
                200, [{"type": "file", "path": n, "size": len(c), "oid": _blob(c)} for n, c in files.items()]
            )
        return self.answer(404, {"error": f"not spoken here: {path}"})

    def do_POST(self) -> None:
        body = self.body()
        path = self.start()
        if path is None:
            return None
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid username or password."})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if name in self.hub.spaces:
                return self.answer(
                    409, {"error": "You already created this", "url": f"{self.hub.endpoint}/spaces/{name}"}
                )
            self.hub.spaces[name] = {".gitattributes": b"", "README.md": b"made by the hub"}
            self.hub.created[name] = asked
            return self.answer(200, {"url": f"{self.hub.endpoint}/spaces/{name}", "name": name, "id": "1"})
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/spaces/([^/]+/[^/]+)/preupload/main", path):
            files = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            return self.answer(200, {"files": modes})
        if match := re.fullmatch(r"/api/spaces/([^/]+/[^/]+)/commit/main", path):
            return self.commit(match[1], body)
        return self.answer(404, {"error": f"not spoken here: {path}"})

    def commit(self, name: str, body: bytes) -> None:
        files = self.hub.spaces[name]
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            match entry["key"]:
                case "file":
                    assert value["encoding"] == "base64"
                    files[value["path"]] = base64.b64decode(value["content"])
                case "deletedFile":
                    del files[value["path"]]
        url = f"{self.hub.endpoint}/spaces/{name}/commit/{'1' * 40}"
        self.answer(200, {"success": True, "commitOid": "1" * 40, "commitUrl": url, "hookOutput": ""})

    def start(self) -> str | None:
        path = self.path.split("?")[0]
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.broken:
            self.answer(self.hub.broken, {"error": "broken"})
            return None
        return path

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
