"""``roco session``: the marks that were made with ``roco query --mark``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from roco_search.cli.options import JsonOption, LibraryOption
from roco_search.cli.output import moment, path_cell, print_facts, print_json, print_line, print_rows, say

if TYPE_CHECKING:
    from roco_search.cli.tables import Cell

app = typer.Typer(no_args_is_help=True, help="Manage the marks of 'roco query --mark': list, show, rename, remove.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The session.", show_default=False)]


@app.command("list")
def list_(library: LibraryOption = None, json: JsonOption = False) -> None:
    """List the sessions of the library.

    Example: `roco session list`
    """
    from roco_search.library import Library, default_library_path
    from roco_search.probe.feedback import sessions

    with Library.open(library or default_library_path()) as opened:
        found = sessions.SHELF.read_all(opened)
        counts = [session.ids(opened) for session in found]
    entries = [
        {"name": s.name, "query": s.query, "made": s.made, "yes": len(yes), "no": len(no)}
        for s, (yes, no) in zip(found, counts, strict=True)
    ]
    if json:
        print_json(entries)
    elif entries:
        rows: list[list[Cell]] = [
            [session.name, str(len(yes)), str(len(no)), moment(session.made), " ".join(session.query)]
            for session, (yes, no) in zip(found, counts, strict=True)
        ]
        print_rows(("session", "yes", "no", "begun", "query"), rows, right=("yes", "no"))
    else:
        say("There is no session yet; begin one with 'roco query \"…\" --mark'.")


@app.command()
def show(name: Name, library: LibraryOption = None, json: JsonOption = False) -> None:
    """Show the marks of a session.

    Example: `roco session show bright`
    """
    from roco_search.library import Library, default_library_path
    from roco_search.probe.feedback import sessions

    with Library.open(library or default_library_path()) as opened:
        session = sessions.SHELF.read(opened, name)
        marks = session.found(opened)
    if json:
        shown = [{"path": frame.path if frame else None, **asdict(mark)} for mark, frame in marks]
        print_json({"name": name, "query": session.query, "made": session.made, "marks": shown})
        return
    print_facts([("query", " ".join(session.query)), ("begun", moment(session.made))])
    print_line()
    rows: list[list[Cell]] = [
        [
            str(mark.round),
            "yes" if mark.yes else "no",
            str(mark.frame + 1) if frame is None or frame.frames > 1 else "",
            path_cell(frame.path) if frame else "(no longer in the library)",
        ]
        for mark, frame in marks
    ]
    print_rows(("round", "mark", "frame", "image"), rows, right=("round", "frame"))


@app.command()
def rename(
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.", show_default=False)],
    library: LibraryOption = None,
) -> None:
    """Give a session another name.

    Example: `roco session rename bright dark`
    """
    from roco_search.library import Library, default_library_path
    from roco_search.probe.feedback import sessions

    with Library.open(library or default_library_path()) as opened:
        sessions.SHELF.rename(opened, name, new)
    say(f"The session {name} is now called {new}.")


@app.command()
def remove(name: Name, library: LibraryOption = None) -> None:
    """Remove a session and its marks. Images and probes are not touched.

    Example: `roco session remove dark`
    """
    from roco_search.library import Library, default_library_path
    from roco_search.probe.feedback import sessions

    with Library.open(library or default_library_path()) as opened:
        sessions.SHELF.remove(opened, name)
    say(f"The session {name} is removed.")
