"""``roco serve``: keep a library and its model warm for ``roco query``."""

from __future__ import annotations

from typing import Annotated

import typer

from roco_search.cli.options import LibraryOption
from roco_search.cli.output import say
from roco_search.cli.terminal import Waiting


def serve(
    idle: Annotated[
        float, typer.Option(min=0.01, metavar="MINUTES", help="Minutes without a query after which to end.")
    ] = 30,
    library: LibraryOption = None,
) -> None:
    """Keep the library and its model in memory, so that `roco query` answers immediately.

    Queries find it by themselves and work without it. It listens on a socket that only you can reach, never on the
    network, and ends by itself when idle.

    Example: `roco serve`
    """
    from roco_search.cli import answer
    from roco_search.cli.commands import needs_own_process
    from roco_search.daemon.server import serve as answer_queries
    from roco_search.library import default_library_path

    place = library or default_library_path()

    def ready() -> None:
        waiting.end()
        say(f"Serving {place}; Ctrl-C ends it.")

    with Waiting("Loading the model") as waiting:
        try:
            count = answer_queries(place, 60 * idle, answer, declines=needs_own_process, ready=ready)
        except KeyboardInterrupt:
            return
    say(f"Ended after {idle:g} minutes without a query; {count:,} queries were answered.")
