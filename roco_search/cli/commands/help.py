"""``roco help``: the manual in the terminal, offline."""

from __future__ import annotations

import os
import re
import shutil
import sys
from importlib.resources import files
from io import StringIO
from typing import Annotated

import typer

from roco_search.cli.output import print_facts, print_line
from roco_search.errors import InputError

COVERED_BY = {
    "query": "search",
    "serve": "search",
    "mcp": "agents",
    "cohort": "cohorts",
    "eval": "evaluate",
    "similar": "curate",
    "duplicates": "curate",
    "outliers": "curate",
    "export": "curate",
    "map": "curate",
    "probe": "teach",
    "session": "teach",
    "model": "models",
    "status": "library",
    "doctor": "library",
}
"""Commands whose page has another name."""
_ORDER = (
    "index",
    "search",
    "classify",
    "teach",
    "train",
    "evaluate",
    "curate",
    "cohorts",
    "demo",
    "agents",
    "models",
    "library",
    "privacy",
    "python",
)
_PICTURE = re.compile(r"^!\[.*\]\(.*\)\n\n?", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://)[^)]+\)")


def topics() -> dict[str, str]:
    """Return the pages of the manual: what each is called, and the line that says what it is about."""
    pages = {
        page.name.removesuffix(".md"): page.read_text("utf-8")
        for page in files("roco_search").joinpath("manual").iterdir()
        if page.name.endswith(".md")
    }
    order = [*(name for name in _ORDER if name in pages), *sorted(pages.keys() - set(_ORDER))]
    return {
        name: pages[name].partition("\n")[0].partition(": ")[2] or pages[name][2:].partition("\n")[0] for name in order
    }


def complete_topic(beginning: str) -> list[tuple[str, str]]:
    """Return the topics that begin so, for the shell's completion."""
    return [(name, line) for name, line in topics().items() if name.startswith(beginning)]


def help_(
    topic: Annotated[
        str | None,
        typer.Argument(metavar="[TOPIC]", help="A page of the manual, or a command.", autocompletion=complete_topic),
    ] = None,
) -> None:
    """Print a page of the manual, or the list of pages.

    For the options of a command: roco COMMAND --help.

    Example: `roco help search`
    """
    known = topics()
    if topic is None:
        print_line("The manual. Print a page with: roco help TOPIC\n")
        print_facts([(f"  {name}", line) for name, line in known.items()])
        return
    name = COVERED_BY.get(topic, topic)
    if name not in known:
        raise InputError(f"The manual has no page on {topic!r}; choose one of {', '.join(known)}.")
    text = files("roco_search").joinpath("manual", f"{name}.md").read_text("utf-8")
    if sys.stdout.isatty():
        _show(text)
    else:
        typer.echo(text.rstrip("\n"))


def _show(text: str) -> None:
    """Print a page for a person: formatted, without pictures, through the pager unless it fits on the screen."""
    import click
    from rich.console import Console
    from rich.markdown import Markdown

    width = min(shutil.get_terminal_size().columns, 100)
    page = StringIO()
    plain = _LINK.sub(r"\1", _PICTURE.sub("", text))
    Console(file=page, force_terminal=True, width=width).print(Markdown(plain, code_theme="bw", hyperlinks=False))
    os.environ.setdefault("LESS", "FRX")  # as git has it: end where one screen is enough, show colours, leave the text
    click.echo_via_pager(page.getvalue(), color=True)
