"""Every command of ``roco``, and the file that holds it: only the one that is called is imported."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption
from typer.main import get_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Command(NamedTuple):
    """The module of a command, and the line that ``roco --help`` prints for it: the first of its own help."""

    module: str
    attribute: str
    summary: str
    is_group: bool = False

    def load(self) -> Any:
        """Import it."""
        return getattr(import_module(f".{self.module}", __package__), self.attribute)


COMMANDS: dict[str, Command] = {
    "index": Command("index", "index", "Read folders of images, volumes and archives of them into the library."),
    "query": Command(
        "query",
        "query",
        "Find the images of the library that are nearest to a text, to an image, or to a sum of both.",
    ),
    "classify": Command("classify", "classify", "Find which labels fit an image, by comparing it with texts."),
    "train": Command("train", "train", "Fine-tune a dual encoder on images and their captions."),
    "eval": Command(
        "eval",
        "evaluate_model",
        "Measure a model on images with captions: recall, ranks and their intervals, in both directions.",
    ),
    "similar": Command("curation.similar", "similar", "Find the images most similar to one in the library."),
    "duplicates": Command(
        "curation.duplicates",
        "duplicates",
        "Find images that occur more than once in the library.",
    ),
    "outliers": Command("curation.outliers", "outliers", "Find images that do not look like the rest of their folder."),
    "demo": Command("demo", "demo", "Show the library in a browser: search it, classify images, look at its map."),
    "map": Command(
        "curation.map",
        "embedding_map",
        "Draw a map of the library: every image is a point, and similar images are close together.",
    ),
    "export": Command(
        "curation.export",
        "export",
        "Write rows and vectors as Parquet, NumPy or JSON Lines, or into PostgreSQL or Milvus.",
    ),
    "status": Command(
        "status",
        "status",
        "Show what the library contains: folders, images, model, and every file that could not be read.",
    ),
    "serve": Command(
        "serve", "serve", "Keep the library and its model in memory, so that `roco query` answers immediately."
    ),
    "mcp": Command(
        "mcp", "mcp", "Answer agents about the library: a read-only MCP server on standard input and output."
    ),
    "doctor": Command(
        "doctor", "doctor", "Check this installation: versions, decoders, device, model, and the library's health."
    ),
    "help": Command("help", "help_", "Print a page of the manual, or the list of pages."),
    "model": Command(
        "model", "model_app", "Manage models: list, advise, pull, use, info, remove, export, import.", is_group=True
    ),
    "cohort": Command(
        "curation.cohort", "app", "Keep named sets of images: save, refresh, compare, export.", is_group=True
    ),
    "probe": Command(
        "probe", "app", "Teach the library labels of your own: fit, apply, next, space, list.", is_group=True
    ),
    "session": Command(
        "probe.session", "app", "Manage the marks of 'roco query --mark': list, show, rename, remove.", is_group=True
    ),
    "library": Command(
        "library", "app", "Manage libraries: list, verify, merge, copy, move, shrink; forget images.", is_group=True
    ),
}
"""By name, in the order of ``roco --help``: first the commands, then the groups of commands."""


class Panelled(TyperCommand):
    """A command whose help has the panels that `roco_search.cli.options.in_panels` gave it."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        panels: dict[str, str] = getattr(self.callback, "panels", {})
        for parameter in self.get_params(ctx) if panels else ():
            if isinstance(parameter, TyperOption):
                parameter.rich_help_panel = panels.get(str(parameter.name), "Other options")
        super().format_help(ctx, formatter)


def add_commands(app: typer.Typer, names: Iterable[str]) -> None:
    """Give `app` these commands, each imported."""
    for name in names:
        command = COMMANDS[name]
        if command.is_group:
            app.add_typer(command.load(), name=name)
        else:
            app.command(name, cls=Panelled)(command.load())


def add_summaries(app: typer.Typer) -> None:
    """Give `app` every command by name and summary line only: enough for ``--help``, and nothing is imported."""
    for name, command in COMMANDS.items():
        if command.is_group:
            group = typer.Typer(help=command.summary)
            group.command("none")(_nothing)
            app.add_typer(group, name=name)
        else:
            app.command(name, help=command.summary)(_nothing)


def named(arguments: Iterable[str]) -> str | None:
    """Return the command that the arguments of ``roco`` name, or None: its own options take no value."""
    first = next((argument for argument in arguments if not argument.startswith("-")), None)
    return first if first in COMMANDS else None


@cache
def local_flags() -> frozenset[str]:
    """Return every flag of ``roco query`` that is marked `LOCAL`, and those of the help."""
    from roco_search.cli.options import LOCAL

    query = COMMANDS["query"].load()
    app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})
    app.command()(query)
    local = {name for name, hint in get_type_hints(query, include_extras=True).items() if LOCAL in get_args(hint)}
    flags = {flag for parameter in get_command(app).params if parameter.name in local for flag in parameter.opts}
    return frozenset(flags | {"-h", "--help"})


def needs_own_process(arguments: Iterable[str]) -> bool:
    """Whether ``roco`` with these arguments has to be answered by the process that was asked."""
    return any(argument.partition("=")[0] in local_flags() for argument in arguments)


_nothing: Callable[[], None] = lambda: None  # noqa: E731
