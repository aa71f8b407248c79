"""The functions over HTTP on this machine: JSON in, JSON out, with a token that only the owner can read.

The gate of the demo stands before it: no other site's page, no name that was made to point here, nothing that is not
listed, and whoever guesses tokens waits.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from roco_search import __version__
from roco_search.agents.functions import Functions, check_text
from roco_search.errors import InputError, RocoError
from roco_search.system.files import locked, set_mode, write_errors, write_file
from roco_search.system.text import duration
from roco_search.web.http.gate import Gate, Rules

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Scope

    from roco_search.daemon import warm

HOST = "127.0.0.1"
_OPEN = ("/", "/openapi.json")
"""What the description of the interface is at; it says nothing of the library, and needs no token."""
_READ = re.compile(r"/|/openapi\.json|/v1/(status|(cohorts|probes)(/\w[\w.+-]{0,79})?|images/\d{1,18}\.png)")
_ASK = re.compile(r"/v1/(search|similar|classify)")


def check_http() -> None:
    """Raise `InputError` unless the packages of a web server are installed."""
    try:
        import fastapi
        import uvicorn  # noqa: F401
    except ImportError:
        raise InputError(
            "An HTTP interface needs the packages of the demo, which are not installed; run `pip install "
            "'roco-search[demo]'`."
        ) from None
    del fastapi


class TokenGate(Gate):
    """The gate of the demo before other addresses, with a token in place of a password (RFC 6750)."""

    def __init__(self, app: ASGIApp, token: str, used: Callable[[], None]) -> None:
        super().__init__(app, Rules(), Path(os.devnull))
        self._token, self._used = token, used

    def exists(self, method: str, path: str) -> bool:
        """Whether there is something at a path."""
        if method in {"GET", "HEAD"}:
            return _READ.fullmatch(path) is not None
        return method == "POST" and _ASK.fullmatch(path) is not None

    def check_password(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return the status and message of a request without the token; None for one that has or needs none."""
        if scope["path"] in _OPEN:
            return None
        client = self._client(scope, headers)
        if (seconds := self._guesses.refused_for(client)) > 0:
            return 429, f"Too many wrong tokens; wait {duration(seconds)}."
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token.encode()):
            self._guesses.right(client)
            self._used()
            return None
        if given:
            self._guesses.wrong(client)
        return 401, "Send the token that is in the file which roco named, as: Authorization: Bearer TOKEN."


def make_api(functions: Functions) -> FastAPI:
    """Return the interface, without the gate."""
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse, Response

    from roco_search.figures import render

    api = FastAPI(
        title="roco",
        version=__version__,
        description="A library of radiology images, searched by meaning. Everything only reads. For research, not for "
        "clinical use.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )

    @api.exception_handler(RocoError)
    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, RocoError)
        return JSONResponse({"error": functions.sentence(error)}, 422 if isinstance(error, InputError) else 503)

    @api.exception_handler(RequestValidationError)
    async def refuse_arguments(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        wrong = "; ".join(f"{'.'.join(map(str, found['loc'][1:]))}: {found['msg']}" for found in error.errors())
        return JSONResponse({"error": f"The arguments cannot be used: {wrong}."}, 422)

    @api.exception_handler(Exception)
    async def fail(_: Request, __: Exception) -> Response:
        return JSONResponse({"error": "roco met an unexpected error; run `roco doctor`."}, 500)

    for path, function in (
        ("search", functions.search),
        ("similar", functions.similar),
        ("classify", functions.classify),
    ):
        _add_question(api, f"/v1/{path}", function)
    api.get("/v1/status", summary=_first_line(functions.status))(functions.status)
    api.get("/v1/cohorts", summary=_first_line(functions.cohorts))(functions.cohorts)
    api.get("/v1/cohorts/{name}", summary=_first_line(functions.cohort))(functions.cohort)
    api.get("/v1/probes", summary=_first_line(functions.probes))(functions.probes)
    api.get("/v1/probes/{name}", summary=_first_line(functions.probe))(functions.probe)
    if functions.allow_images:

        @api.get("/v1/images/{image_id}.png", summary=_first_line(functions.picture), response_model=None)
        def image(image_id: int) -> Response:
            return Response(functions.picture(image_id), media_type="image/png")

    @api.get("/", include_in_schema=False, response_model=None)
    def described() -> HTMLResponse:
        return HTMLResponse(render("agents/templates/api.html", api=api.openapi()))

    return api


def _add_question(api: FastAPI, path: str, function: Callable[..., Any]) -> None:
    """Add a function whose arguments are the body of a request."""
    import inspect

    from pydantic import create_model

    parameters = inspect.signature(function, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        given.name: (given.annotation, ... if given.default is inspect.Parameter.empty else given.default)
        for given in parameters
    }
    body = create_model(path.rpartition("/")[2].capitalize(), **fields)

    def ask(asked: Any) -> dict[str, Any]:
        given = {name: getattr(asked, name) for name in fields}
        check_text(given.values())
        answer: dict[str, Any] = function(**given)
        return answer

    ask.__annotations__ = {"asked": body, "return": dict[str, Any]}
    described = inspect.cleandoc(function.__doc__ or "")
    api.post(path, name=path.rpartition("/")[2], summary=_first_line(function), description=described)(ask)


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]


@dataclass(slots=True)
class Door:
    """An interface that is open: its address, the file of its token, and when it was last used (monotonic)."""

    url: str
    token_file: Path
    used: float

    def touch(self) -> None:
        """Note that it is being used."""
        self.used = monotonic()


@contextmanager
def http_door(
    library: Path,
    port: int,
    *,
    redact_paths: bool = False,
    allow_images: bool = False,
    kept: warm.Kept | None = None,
) -> Iterator[Door]:
    """Answer over HTTP on this machine, from a thread, until the block ends.

    Parameters
    ----------
    library
        The library's folder.
    port
        The port; 0 for any free one.
    redact_paths, allow_images
        See `Functions`.
    kept
        What this process keeps for queries: its model is used for both, by one thread at a time.

    Raises
    ------
    InputError
        If the packages are not installed, or the port is taken.
    Busy
        If another process serves this library over HTTP.
    LibraryNotFound, LibraryEmpty, ModelNotFound, LibraryError
    """
    from roco_search.daemon.client import socket_of
    from roco_search.library import Library
    from roco_search.models import load_encoder
    from roco_search.web.app import server
    from roco_search.web.backend import Desk

    check_http()
    with Library.open(library) as opened:
        model = opened.active().model
    place = Path(socket_of(os.path.realpath(library))).with_suffix(".token")
    encoder = load_encoder(model, "auto", "fast") if kept is None else kept.encoder(model, "auto")
    with (
        Desk(library, encoder, redact_paths=redact_paths) as desk,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening,
        _token(place) as token,
    ):
        if kept is not None:
            kept.share(desk.encoder)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise InputError(f"Cannot listen on {HOST}:{port} ({error.strerror}); choose another port.") from None
        listening.listen()
        door = Door(f"http://{HOST}:{listening.getsockname()[1]}/", place, monotonic())
        api = make_api(Functions(desk, redact_paths=redact_paths, allow_images=allow_images))
        api.add_middleware(TokenGate, token=token, used=door.touch)
        running = server(api)
        thread = threading.Thread(target=partial(running.run, sockets=[listening]), name="roco-http", daemon=True)
        thread.start()
        try:
            yield door
        finally:
            running.should_exit = True
            thread.join()


@contextmanager
def _token(place: Path) -> Iterator[str]:
    """Give a new token, in a file for its owner alone that is gone when the block ends."""
    token = secrets.token_urlsafe(32)
    with ExitStack() as held:
        with write_errors(place):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            set_mode(place.parent, 0o700)
            held.enter_context(locked(place.with_suffix(".http.lock"), "This library is served over HTTP"))
            write_file(place, f"{token}\n")
        try:
            yield token
        finally:
            with suppress(OSError):
                place.unlink(missing_ok=True)
