"""``roco serve``: keep a library and its model warm for ``roco query``."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from roco_search.cli.options import LibraryOption, RedactPathsOption
from roco_search.cli.output import say
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse

if TYPE_CHECKING:
    from roco_search.agents.http_server import Door


def serve(
    idle: Annotated[
        float, typer.Option(min=0.01, metavar="MINUTES", help="Minutes without a query after which to end.")
    ] = 30,
    http: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Also answer programs here over HTTP.",
            show_default=False,
        ),
    ] = None,
    redact_paths: RedactPathsOption = False,
    allow_images: Annotated[
        bool, typer.Option("--allow-images", help="With --http: also give out the images themselves.")
    ] = False,
    library: LibraryOption = None,
) -> None:
    """Keep the library and its model in memory, so that `roco query` answers immediately.

    Queries find it by themselves and work without it. It listens on a socket that only you can reach, and ends by
    itself when idle. With --http, programs on this machine ask it in JSON, with a token that only you can read.

    Example: `roco serve`
    """
    from roco_search.cli import answer
    from roco_search.cli.commands import needs_own_process
    from roco_search.daemon import warm
    from roco_search.daemon.server import serve as answer_queries
    from roco_search.library import default_library_path

    place = library or default_library_path()
    if http is None and (redact_paths or allow_images):
        refuse("--redact-paths and --allow-images need --http PORT; add that.")
    door: Door | None = None

    def ready() -> None:
        waiting.end()
        if door is not None:
            say(f"Programs find it at {door.url}, with the token in {door.token_file}.")
        say(f"Serving {place}; Ctrl-C ends it.")

    def used() -> float:
        return -math.inf if door is None else door.used

    with Waiting("Loading the model") as waiting, ExitStack() as stack:
        try:
            kept = warm.keep()
            if http is not None:
                from roco_search.agents.http_server import http_door

                door = stack.enter_context(
                    http_door(place, http, redact_paths=redact_paths, allow_images=allow_images, kept=kept)
                )
            count = answer_queries(
                place, 60 * idle, answer, declines=needs_own_process, ready=ready, used=used, kept=kept
            )
        except KeyboardInterrupt:
            return
    say(f"Ended after {idle:g} minutes without a query; {count:,} queries were answered.")
