"""``roco probe list``, ``show``, ``rename``, ``remove``, ``export``, ``import``: what a library was taught."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roco_search.cli.options import JsonOption, LibraryOption
from roco_search.cli.output import print_json, say, short_path

Name = Annotated[str, typer.Argument(metavar="NAME", help="The probe, or the space.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def list_(library: LibraryOption = None, json: JsonOption = False) -> None:
    """List the probes and spaces of the library, with what they may claim.

    Example: `roco probe list`
    """
    from roco_search.cli.render.probes import plain, show_list
    from roco_search.library import Library, default_library_path
    from roco_search.probe.shelf import SHELF

    with Library.open(library or default_library_path()) as opened:
        probes = SHELF.read_all(opened)
        fingerprint = opened.model.fingerprint if opened.model else None
    if json:
        print_json([plain(probe) for probe in probes])
    elif probes:
        show_list(probes, fingerprint)
    else:
        say("There is no probe yet; teach one with 'roco probe fit NAME --labels FILE'.")


def show(name: Name, library: LibraryOption = None, json: JsonOption = False) -> None:
    """Show what a probe or a space may claim: figures, thresholds, controls, and the model that it belongs to.

    Example: `roco probe show sign`
    """
    from roco_search.cli.render.probes import plain, show_card
    from roco_search.library import Library, default_library_path
    from roco_search.probe.shelf import SHELF

    with Library.open(library or default_library_path()) as opened:
        probe = SHELF.read(opened, name)
    if json:
        print_json(plain(probe))
    else:
        show_card(probe)


def rename(
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.", show_default=False)],
    library: LibraryOption = None,
) -> None:
    """Give a probe or a space another name.

    Example: `roco probe rename sign mark`
    """
    from roco_search.library import Library, default_library_path
    from roco_search.probe.shelf import SHELF

    with Library.open(library or default_library_path()) as opened:
        SHELF.rename(opened, name, new)
    say(f"{name} is now called {new}.")


def remove(name: Name, library: LibraryOption = None) -> None:
    """Remove a probe or a space from the library. Images and labels are not touched.

    Example: `roco probe remove sign`
    """
    from roco_search.library import Library, default_library_path
    from roco_search.probe.shelf import SHELF

    with Library.open(library or default_library_path()) as opened:
        SHELF.remove(opened, name)
    say(f"{name} is removed.")


def export(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.", show_default=False)],
    overwrite: Overwrite = False,
    library: LibraryOption = None,
) -> None:
    """Write a probe or a space to a file of a few kilobytes, for a library of the same model.

    It holds weights, thresholds and figures; no path, no picture and no header value.

    Example: `roco probe export sign sign.safetensors`
    """
    from roco_search.library import Library, default_library_path
    from roco_search.probe import shelf

    with Library.open(library or default_library_path()) as opened:
        shelf.export(opened, name, file, overwrite=overwrite)
    say(f"{name} is written to {short_path(file)}.")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What 'probe export' wrote.", show_default=False)],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it is called here [default: as before].", show_default=False),
    ] = None,
    overwrite: Overwrite = False,
    library: LibraryOption = None,
) -> None:
    """Take an exported probe or space into the library. It is refused if it belongs to another model.

    Example: `roco probe import sign.safetensors --name theirs`
    """
    from roco_search.library import Library, default_library_path
    from roco_search.probe import shelf

    with Library.open(library or default_library_path()) as opened:
        probe = shelf.receive(opened, file, name, overwrite=overwrite)
    labels = ", ".join(probe.labels)
    say(f"{probe.name} is imported, with {labels}; its figures were measured on the images of whoever made it.")
