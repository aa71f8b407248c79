"""The gate in front of every route, Gradio's own included: which requests reach the demo.

What it keeps out, and why:

- other sites in the same browser, which could read images through the user's own machine: requests of another origin,
  and names that were made to point here (DNS rebinding);
- whatever Gradio offers and the demo does not use: files by path, proxies, component servers. A route that is not
  listed does not exist, and a message may name uploaded files only;
- overload: bodies that are too long, and more requests than a person makes;
- anybody without the password, if one is set.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from roco_search.system.text import duration
from roco_search.web.http.bodies import Disconnected, again, is_event, limited, spooled, whole
from roco_search.web.http.limits import Guesses, Limit, Rate
from roco_search.web.http.uploads import delete_old_uploads, names_uploads_only, nothing_left

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEGABYTE = 2**20
LONGEST_MESSAGE = 4 * MEGABYTE  # of anything but an upload; an embedding and a few labels are far shorter

_READ = re.compile(
    r"/|/favicon\.ico|/theme\.css|/manifest\.json|/config/?"
    r"|/(assets|static|svelte)/[\w./-]+"
    r"|/gradio_api/(queue/data|heartbeat/\w+|upload_progress|startup-events|theme\.css)"
    r"|/roco/(image/\d{1,18}\.(jpg|png|json)|heat/\d{1,18}\.png|(map|progress|hits)\.json|assets/[\w.-]+)",
    re.ASCII,
)
_WRITE = re.compile(
    r"/gradio_api/(queue/join|upload|cancel|reset)|"
    r"/roco/(open/\d{1,18}|chosen/(names|paths|csv|sheet|copy|cohort|session|probe))",
    re.ASCII,
)
UPLOAD, JOIN = "/gradio_api/upload", "/gradio_api/queue/join"

# Everything comes from here and nothing goes anywhere else. Gradio compiles templates in the page: hence 'unsafe-eval'.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors {ancestors}"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), display-capture=()",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the gate accepts.

    Attributes
    ----------
    hosts
        Host names that requests may use, besides localhost.
    any_address
        Whether they may use any IP address: another site cannot make its own name one.
    auth
        User and password that every request must carry (RFC 7617), or None.
    longest_upload
        The size limit of an upload in bytes.
    framed_by
        Sites that may show the demo in a frame, such as ``https://huggingface.co``; none by default.
    public
        Whether the demo is public behind a proxy: requests may use any host name, a client's address is the last one in
        X-Forwarded-For, and the scheme is the proxy's.
    origin
        Where a reverse proxy on this machine shows the demo, such as ``https://scans.hospital.example``; empty without
        one. A client's address is then the last one in X-Forwarded-For.
    rates
        The limits for each client: of requests to the queue, of uploads, and of everything else.
    """

    hosts: frozenset[str] = frozenset()
    any_address: bool = False
    auth: tuple[str, str] | None = None
    longest_upload: int = 128 * MEGABYTE
    framed_by: tuple[str, ...] = ()
    public: bool = False
    origin: str = ""
    rates: dict[str, Rate] = field(
        default_factory=lambda: {"queue": Rate(60, 10), "upload": Rate(20, 1), "other": Rate(600, 100)}
    )


class Gate:
    """ASGI middleware that answers refused requests itself.

    Parameters
    ----------
    app
        The application behind it.
    rules
        What is accepted.
    uploads
        The folder of uploaded files: a message may name no others.
    """

    def __init__(self, app: ASGIApp, rules: Rules, uploads: Path) -> None:
        self._app, self._rules, self._uploads = app, rules, os.path.realpath(uploads)
        self._limits = {kind: Limit(rate) for kind, rate in rules.rates.items()}
        self._guesses = Guesses()
        self._one_upload = asyncio.Lock()
        ancestors = " ".join(rules.framed_by) or "'none'"
        headers = {**_HEADERS, "content-security-policy": POLICY.format(ancestors=ancestors)}
        if not rules.framed_by:
            headers |= {"x-frame-options": "DENY", "cross-origin-opener-policy": "same-origin"}
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the demo uses no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refuse(scope, headers)
        if refusal is not None:
            await _answer(send, *refusal, self._headers)
            return
        longest = self._rules.longest_upload if scope["path"] == UPLOAD else LONGEST_MESSAGE
        receive = limited(receive, longest)
        if scope["path"] == UPLOAD:
            await self._upload(scope, receive, send)
            return
        if scope["path"] == JOIN:
            try:
                body = await whole(receive)
            except Disconnected:
                return
            if not is_event(body):
                await _answer(send, 422, "That is no message of this page; reload it.", self._headers)
                return
            if not names_uploads_only(body, self._uploads):
                await _answer(send, 403, "Only a file that was just uploaded can be used.", self._headers)
                return
            receive = again(body, receive)
        await self._app(scope, receive, self._with_headers(scope, send))

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an upload on when all of it has come: what is broken off leaves nothing behind.

        The answer is sent last: who has it may count on what was left over being deleted.
        """
        delete_old_uploads(self._uploads)
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        try:
            async with spooled(receive, self._uploads) as complete, self._one_upload:
                with nothing_left(self._uploads):
                    await self._app(scope, complete, self._with_headers(scope, keep))
        except Disconnected:
            return
        for message in answer:
            await send(message)

    def _refuse(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return the status and message of a refused request; None for one that is accepted."""
        path, method = scope["path"], scope["method"]
        if not self._is_host(headers.get("host", "")):
            return 421, "Nothing answers to that name here; use the address that roco printed."
        if not self._is_own_origin(scope, headers):
            return 403, "Requests from other sites are refused."
        if (wrong := self.check_password(scope, headers)) is not None:
            return wrong
        if not _is_plain(path, scope.get("raw_path", b"")) or not self.exists(method, path):
            return 404, "This address does not exist here."
        kind = "upload" if path == UPLOAD else "queue" if method == "POST" else "other"
        if not self._limits[kind].take(self._client(scope, headers)):
            return 429, "Too many requests; wait a few seconds."
        longest = self._rules.longest_upload if path == UPLOAD else LONGEST_MESSAGE
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > longest:
            return 413, f"That is too large; the limit is {longest // MEGABYTE} MB."
        return None

    def _client(self, scope: Scope, headers: dict[str, str]) -> str:
        peer = str((scope.get("client") or ("",))[0])
        proxied = self._rules.public or (self._rules.origin and is_loopback(peer))
        if proxied and (forwarded := headers.get("x-forwarded-for")):
            return forwarded.rpartition(",")[2].strip()
        return peer

    def _is_host(self, host: str) -> bool:
        name = _host_name(host)
        if self._rules.public or name in {"localhost", "127.0.0.1", "::1"} or name in self._rules.hosts:
            return True
        return self._rules.any_address and _is_address(name)

    def _is_own_origin(self, scope: Scope, headers: dict[str, str]) -> bool:
        origin = headers.get("origin")
        if origin is not None:
            if origin.lower() == self._rules.origin:
                return True
            own = urlsplit(origin)
            if self._rules.public and own.scheme == "https" and own.netloc.lower() in self._rules.hosts:
                return True  # a proxy may use a name of its own
            schemes = {"http", "https"} if self._rules.public else {scope.get("scheme", "http")}
            return own.netloc.lower() == headers.get("host", "").lower() and own.scheme in schemes
        if headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
            return True
        # A link on another page may lead to the demo's first page, or a frame where that is allowed; nothing more.
        target = {"document", "iframe"} if self._rules.framed_by else {"document"}
        to_first_page = scope["method"] == "GET" and scope["path"] == "/"
        return to_first_page and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") in target

    def exists(self, method: str, path: str) -> bool:
        """Whether there is something at a path."""
        if method in {"GET", "HEAD"}:
            return _READ.fullmatch(path) is not None
        return method == "POST" and _WRITE.fullmatch(path) is not None

    def check_password(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return the status and message of a request without the password; None for one that has it."""
        if self._rules.auth is None:
            return None
        client = self._client(scope, headers)
        if (seconds := self._guesses.refused_for(client)) > 0:
            return 429, f"Too many wrong passwords; wait {duration(seconds)}."
        given = _credentials(headers.get("authorization", ""))
        # Both are compared, each in constant time, so that the time does not reveal which of them was right.
        right = [hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(given, self._rules.auth, strict=True)]
        if all(right):
            self._guesses.right(client)
            return None
        if given != ("", ""):
            self._guesses.wrong(client)
        return 401, "Enter the user name and the password of this demo."

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        private = not re.match(r"/(assets|static|svelte)/", scope["path"])

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in self._headers} | ({b"cache-control"} if private else set())
                kept = [pair for pair in message["headers"] if pair[0].lower() not in own]
                # Images in a browser's cache on disk would outlive the demo.
                keep = [(b"cache-control", b"no-store")] if private else []
                message = {**message, "headers": [*kept, *self._headers, *keep]}
            await send(message)

        return sending


def own_names() -> Iterable[str]:
    """Return the names of this machine."""
    return {name.lower() for name in (socket.gethostname(), socket.getfqdn()) if name}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address that a server listens on."""
    if host == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback


def _is_plain(path: str, raw: bytes) -> bool:
    # No route needs an escape; a path that is encoded or goes upwards is an attack.
    return not (b"%" in raw or "%" in path or "//" in path or ".." in path or not path.isascii())


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _credentials(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


async def _answer(send: Send, status: int, sentence: str, headers: list[tuple[bytes, bytes]]) -> None:
    body = f"{sentence}\n".encode()
    own: list[tuple[bytes, Any]] = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status == 401:
        own.append((b"www-authenticate", b'Basic realm="roco", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *own]})
    await send({"type": "http.response.body", "body": body})
