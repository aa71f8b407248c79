"""``roco demo``: the library in a browser."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from roco_search.cli.options import DeviceOption, LibraryOption, RedactPathsOption, checked_device, installed_models
from roco_search.cli.output import say
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse
from roco_search.system import process
from roco_search.system.text import size


def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="The port; 0 for any free one.")] = 7860,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen on; others than this machine's need --auth.")
    ] = "127.0.0.1",
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER:PASSWORD",
            envvar="ROCO_DEMO_AUTH",
            help="Require this login. In the environment it is hidden from other users of this machine.",
            show_default=False,
        ),
    ] = None,
    root_path: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The address at which a reverse proxy shows it, path included: `roco help demo`.",
            show_default=False,
        ),
    ] = None,
    viewer: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="The link of each image to another viewer, such as https://ohif.example/viewer?StudyInstanceUIDs={study}.",
            show_default=False,
        ),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in your browser.")] = False,
    redact_paths: RedactPathsOption = False,
    examples: Annotated[
        bool, typer.Option("--examples", help="Show the example images that come with roco, not a library of yours.")
    ] = False,
    export_space: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Instead, write a Space for Hugging Face, with examples.", show_default=False),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(metavar="ORG/NAME", help="With --export-space: upload it as a private Space.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="With --export-space: the model of the Space.",
            show_default=False,
            autocompletion=installed_models,
        ),
    ] = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
) -> None:
    """Show the library in a browser: search it, classify images, look at its map.

    It listens on this machine only, and nothing leaves it. Images are addressed by number, never by path; temporary
    files are removed when the demo ends.

    Before you have indexed anything, `roco demo --examples` shows what it is like.

    Example: `roco demo`
    """
    if export_space is not None:
        _export(export_space, push, model)
        return
    if push is not None or model is not None:
        refuse("--push and --model need --export-space DIR; add that.")

    def ready(url: str) -> None:
        waiting.end()
        say(f"The library is at {url} until you press Ctrl-C. For research, not for clinical use.")
        if open_browser:
            typer.launch(url)

    if examples and library is not None:
        refuse("--examples has a library of its own; leave --library out.")
    checked = checked_device(device)
    with ExitStack() as stack:
        waiting = stack.enter_context(Waiting("Starting the demo"))
        from roco_search.library import default_library_path
        from roco_search.web.run import example_library, run_demo

        process.prepare()
        run_demo(
            stack.enter_context(example_library()) if examples else library or default_library_path(),
            host=host,
            port=port,
            auth=auth,
            root_path=root_path,
            device=checked,
            redact_paths=redact_paths,
            viewer=viewer,
            ready=ready,
        )


def _export(folder: Path, push: str | None, model: str | None) -> None:
    from roco_search.web.space.export import export_space

    with Waiting("Writing the Space"):
        exported = export_space(folder, model)
    say(f"{folder} contains a Space with {exported.model}, {size(exported.bytes)}; `python app.py` in it runs it.")
    if push is not None:
        from roco_search.web.space.export import push_space

        with Waiting("Uploading the Space"):
            address = push_space(folder, push)
        say(f"The Space is at {address}; it stays private until you change its settings.")
