"""The functions as tools of the Model Context Protocol (modelcontextprotocol.io), on standard input and output.

Standard output belongs to the protocol: while it is spoken, whatever else is printed goes to standard error. Nothing is
logged, because a log line could quote an argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from roco_search import __version__
from roco_search.agents.functions import Functions, check_text
from roco_search.errors import InputError, RocoError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from roco_search.models import Device

Result = TypeVar("Result")

INSTRUCTIONS = (
    "Searches a library of radiology images on this computer by meaning. Begin with search_images; its hits have ids, "
    "which similar_images and classify_image take. A score is a cosine similarity, not a probability; match says how "
    "well a hit fits (strong, fair, weak, none), and where all are weak or none, nothing in the library answers the "
    "query. Everything only reads. For research, not for clinical use."
)


def check_mcp() -> None:
    """Raise `InputError` unless the package of the protocol is installed."""
    try:
        import mcp.server.mcpserver  # noqa: F401
    except ImportError:
        raise InputError(
            "The Model Context Protocol needs the package mcp, which is not installed; run `pip install "
            "'roco-search[mcp]'`."
        ) from None


def make_server(functions: Functions) -> MCPServer:
    """Return a server whose tools are these functions; one that returns pixels is there only where they are allowed."""
    from mcp.server.mcpserver import Image, MCPServer
    from mcp_types import ToolAnnotations

    server = MCPServer("roco", instructions=INSTRUCTIONS, version=__version__, log_level="CRITICAL")
    reads = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

    def add(name: str, function: Callable[..., Any], *, structured: bool = True) -> None:
        described = inspect.cleandoc(function.__doc__ or "")
        tool = server.tool(name, description=described, annotations=reads, structured_output=structured)
        tool(_answering(function, functions))

    add("search_images", functions.search)
    add("similar_images", functions.similar)
    add("classify_image", functions.classify)
    add("library_status", functions.status)
    add("list_cohorts", functions.cohorts)
    add("show_cohort", functions.cohort)
    add("list_probes", functions.probes)
    add("apply_probe", functions.probe)
    if functions.allow_images:

        @wraps(functions.picture)
        def show(image_id: int) -> Any:
            return Image(data=functions.picture(image_id), format="png")

        add("show_image", show, structured=False)
    return server


def _answering(function: Callable[..., Result], functions: Functions) -> Callable[..., Result]:
    """Return the function with roco's refusals as sentences that the protocol passes on."""
    from mcp.server.mcpserver.exceptions import ToolError

    @wraps(function)
    def answer(*arguments: Any, **named: Any) -> Result:
        try:
            check_text([*arguments, *named.values()])
            return function(*arguments, **named)
        except RocoError as error:
            raise ToolError(functions.sentence(error)) from None

    return answer


def run_mcp(library: Path, *, device: Device = "auto", redact_paths: bool = False, allow_images: bool = False) -> None:
    """Answer on standard input and output until the client closes it.

    Parameters
    ----------
    library
        The library's folder.
    device
        The device that the model runs on.
    redact_paths, allow_images
        See `Functions`.

    Raises
    ------
    InputError
        If the package of the protocol is not installed.
    LibraryNotFound, LibraryEmpty, ModelNotFound, LibraryError
    """
    from roco_search.library import Library
    from roco_search.models import load_encoder
    from roco_search.web.backend import Desk

    check_mcp()
    with Library.open(library) as opened:
        model = opened.active().model
    with Desk(library, load_encoder(model, device, "fast"), redact_paths=redact_paths) as desk:
        make_server(Functions(desk, redact_paths=redact_paths, allow_images=allow_images)).run("stdio")
