"""``roco mcp``: the library as tools for an agent."""

from __future__ import annotations

from typing import Annotated

import typer

from roco_search.cli.options import DeviceOption, LibraryOption, RedactPathsOption, checked_device
from roco_search.system import process


def mcp(
    redact_paths: RedactPathsOption = False,
    allow_images: Annotated[
        bool, typer.Option("--allow-images", help="Add a tool that returns the images themselves.")
    ] = False,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
) -> None:
    """Answer agents about the library: a read-only MCP server on standard input and output.

    A client such as Claude Desktop, VS Code or Cursor starts it; `roco help agents` has their configuration. It never
    writes, and opens no connection; what it answers is what the agent's model reads, wherever that runs.

    Example: `roco mcp`
    """
    from roco_search.agents.mcp_server import run_mcp
    from roco_search.library import default_library_path

    checked = checked_device(device)
    process.prepare()
    run_mcp(library or default_library_path(), device=checked, redact_paths=redact_paths, allow_images=allow_images)
