"""The demo as a web app: Gradio's blocks and our own routes behind our own gate, and the server that runs them.

Gradio's own ``launch`` is never called, so that nothing is shared through a tunnel and no server of its own listens.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from roco_search.classify.guesses import ATTRIBUTES
from roco_search.errors import InputError
from roco_search.web import markup
from roco_search.web.backend import Desk
from roco_search.web.http.gate import Gate, Rules, is_loopback, own_names

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI

PORT = 7860
UPLOADS = "uploads"
QUEUE = 64  # events that may wait; later ones are refused with a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the demo listens, and which requests it accepts."""

    host: str = "127.0.0.1"
    port: int = PORT
    rules: Rules = field(default_factory=Rules)

    @property
    def url(self) -> str:
        """The address to open in a browser on this machine."""
        name = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}/"


def check_gradio() -> None:
    """Check that gradio is installed.

    Raises
    ------
    InputError
        If it is not, with the command that installs it.
    """
    if find_spec("gradio") is None:
        raise InputError(
            "The demo needs gradio; run `pip install 'roco-search[demo]'`, in a clone `pip install '.[demo]'`."
        )


def safe_address(host: str, port: int, auth: str | None, root_path: str | None = None) -> Address:
    """Return where to listen, if that is safe.

    Parameters
    ----------
    host
        A name or IP address of this machine.
    port
        A port, or 0 for any free one.
    auth
        "USER:PASSWORD"; None asks for no password, which is allowed only where no other machine can connect.
    root_path
        Where a reverse proxy shows the demo, such as "https://scans.hospital.example/roco"; None without one.

    Raises
    ------
    InputError
        If others could connect without a password, or `auth` is malformed.
    """
    credentials = None
    if auth is not None:
        user, colon, password = auth.partition(":")
        if not (colon and user and password):
            raise InputError("`auth` is written USER:PASSWORD; neither may be empty.")  # never what was written
        credentials = (user, password)
    origin, shown = ("", host) if root_path is None else _proxied(root_path)
    proxied = frozenset({shown}) if root_path is not None else frozenset[str]()
    if is_loopback(host) and is_loopback(shown):
        return Address(host=host, port=port, rules=Rules(hosts=proxied, auth=credentials, origin=origin))
    if credentials is None:
        reached, option = (shown, "root_path") if is_loopback(host) else (host, "host")
        raise InputError(
            f'Anybody who can reach {reached} could see the images; set `auth="USER:PASSWORD"` (or the '
            f"variable ROCO_DEMO_AUTH), or leave out `{option}`."
        )
    if is_loopback(host):
        return Address(host=host, port=port, rules=Rules(hosts=proxied, auth=credentials, origin=origin))
    hosts = proxied | {host.lower(), *own_names()}
    return Address(host=host, port=port, rules=Rules(hosts=hosts, any_address=True, auth=credentials, origin=origin))


def _proxied(root_path: str) -> tuple[str, str]:
    """Return the origin and the host name of the address at which a proxy shows the demo."""
    try:
        found = urlsplit(root_path)
        name, _ = found.hostname, found.port
    except ValueError:
        name = None
    if name is None or found.scheme not in {"http", "https"} or found.query or found.fragment or "@" in found.netloc:
        raise InputError(
            f"{root_path!r} is no address of a reverse proxy; write the whole, such as "
            '`root_path="https://scans.hospital.example/roco"`.'
        )
    return f"{found.scheme}://{found.netloc.lower()}", name


def prepare_gradio(folder: Path) -> None:
    """Set what gradio reads when it is imported: where its files go, and that it contacts no server."""
    uploads = folder / UPLOADS
    uploads.mkdir(mode=0o700, exist_ok=True)
    os.environ |= {
        "GRADIO_TEMP_DIR": str(uploads),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_SHARE": "False",
        "GRADIO_SSR_MODE": "False",
        "GRADIO_MCP_SERVER": "False",
        # Otherwise it summarises its own events with pandas after each of them.
        "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9),
        "GRADIO_ANALYTICS_MAX_EVENTS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def make_blocks(desk: Desk, folder: Path, *, kept: bool = False) -> gr.Blocks:
    """Return the three tabs over a library. Call `prepare_gradio` with the same folder first.

    `kept`: the searches whose marks were kept are offered.
    """
    import gradio as gr

    from roco_search.web.tabs import OneLine, html
    from roco_search.web.tabs.classify import ClassifyTab
    from roco_search.web.tabs.library import LibraryTab
    from roco_search.web.tabs.search import SearchTab

    vars(gr.queueing)["traceback"] = vars(gr.routes)["traceback"] = OneLine
    # Files that were uploaded and never used are deleted after ten minutes.
    with gr.Blocks(title="roco", analytics_enabled=False, delete_cache=(60, 600)) as blocks:
        html(markup.header(), js_on_load="roco.theme(element)")
        with gr.Tabs(selected="search") as tabs:
            with gr.Tab("Search", id="search"):
                SearchTab(desk, tabs, folder / UPLOADS, kept=kept)
            with gr.Tab("Classify", id="classify"):
                ClassifyTab(desk, folder / UPLOADS)
            with gr.Tab("Library", id="library") as library:
                LibraryTab(desk, library)
    queued: gr.Blocks = blocks.queue(max_size=QUEUE, default_concurrency_limit=2)
    return queued


def make_app(desk: Desk, folder: Path, rules: Rules, root_path: str | None = None, viewer: str = "") -> FastAPI:
    """Return the whole demo as an app.

    Parameters
    ----------
    desk
        Answers for the library.
    folder
        The run's private folder, the same as for `prepare_gradio`.
    rules
        What the gate accepts.
    root_path
        See `safe_address`.
    viewer
        See `roco_search.web.http.handover.check_pattern`; empty for no link.
    """
    import gradio as gr
    from fastapi import FastAPI

    from roco_search.web.http.handover import Handover
    from roco_search.web.http.routes import add_routes
    from roco_search.web.pages import remember_little
    from roco_search.web.theme import theme

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    handover = Handover.under(rules, viewer)
    add_routes(app, desk, folder, handover)
    blocks = make_blocks(desk, folder, kept=handover.local)
    gr.mount_gradio_app(
        app,
        blocks,
        "/",
        root_path=root_path,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=rules.longest_upload,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        head=markup.head(
            desk.ask(lambda library: library.path_hash("tray"))[:16], handover.hands(redact_paths=desk.redact_paths)
        ),
    )
    remember_little(blocks)
    # Only ``launch`` sets this, and without it Gradio does not check which files a message names. The gate checks too.
    blocks.has_launched = True
    app.add_middleware(Gate, rules=rules, uploads=folder / UPLOADS)
    return app


def serve(
    desk: Desk,
    folder: Path,
    address: Address,
    ready: Callable[[str], None],
    root_path: str | None = None,
    viewer: str = "",
) -> None:
    """Serve the demo until it is interrupted.

    Parameters
    ----------
    desk
        Answers for the library.
    folder
        The run's private folder.
    address
        Where to listen, and which requests to accept.
    ready
        Called with the address as soon as it can be opened.
    root_path
        See `safe_address`.
    viewer
        See `make_app`.

    Raises
    ------
    InputError
        If the port is taken, or this machine has no such address.
    """
    import socket

    prepare_gradio(folder)
    app = make_app(desk, folder, address.rules, root_path, viewer)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address.host, address.port))
        except OSError as error:
            raise InputError(
                f"Cannot listen on {address.host}:{address.port} ({error.strerror}); choose another `port`."
            ) from None
        listening.listen()
        ready(root_path or Address(host=address.host, port=listening.getsockname()[1]).url)
        server(app).run(sockets=[listening])


def server(app: FastAPI) -> Any:
    """Return the uvicorn server of an app; the sockets are given when it runs."""
    import uvicorn

    from roco_search.web.http.connections import ACCEPTED_AT_ONCE, Connections, GuardedProtocol

    class Server(uvicorn.Server):
        """Ends in order also when its terminal is closed, so that the run's folder is removed."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn raises the signal again at its end; SIGTERM would end the process before the folder is removed.
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            before = {end: signal.signal(end, self.handle_exit) for end in ends}
            try:
                yield
            finally:
                for end, handler in before.items():
                    signal.signal(end, handler)

    # Open pages keep a connection; at the end the server does not wait for them, nor log that they broke.
    return Server(
        uvicorn.Config(
            app,
            http=partial(GuardedProtocol, connections=Connections()),  # type: ignore[arg-type]
            backlog=ACCEPTED_AT_ONCE,
            log_config=None,  # it would close the handlers of others, and with them the streams that these write to
            log_level="critical",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=2,
        )
    )


def warm_up(desk: Desk) -> None:
    """Load the text tower and what the first page shows in advance, so that nobody waits for them."""
    desk.encoder.encode_texts(["chest X-ray"])
    for attribute in ATTRIBUTES:  # here, so that the library's own thread has less to do
        desk.guesses.guess(attribute, np.zeros((1, desk.encoder.dim), np.float32))
    desk.suggestions()
