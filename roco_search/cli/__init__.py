"""The command line: one file a command, which parses, calls and renders. No logic lives here."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from roco_search import __version__
from roco_search.errors import RocoError

from . import classify, demo, doctor, duplicates, export, index, library, model, outliers, query, similar, status, train
from .eval import evaluate_model
from .map import embedding_map
from .output import FAILED, say_error

app = typer.Typer(
    name="roco",
    help="Find radiology images in words, on this computer, with no network.",
    epilog="For research, not for clinical use.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # a traceback with locals could show what a header holds
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"roco {__version__}")
        raise typer.Exit


@app.callback()
def roco(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Find radiology images in words, on this computer, with no network."""


app.command("index")(index.index)
app.command("query")(query.query)
app.command("classify")(classify.classify)
app.command("train")(train.train)
app.command("eval")(evaluate_model)
app.add_typer(model.model_app)
app.command("similar")(similar.similar)
app.command("duplicates")(duplicates.duplicates)
app.command("outliers")(outliers.outliers)
app.command("demo")(demo.demo)
app.command("map")(embedding_map)
app.command("export")(export.export)
app.add_typer(library.app, name="library")
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line. Whatever goes wrong ends in one sentence, never in a traceback."""
    try:
        app(prog_name="roco")
    except RocoError as error:
        say_error(str(error))
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Keep the interpreter from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if os.environ.get("ROCO_DEBUG"):
            raise
        say_error(
            f"roco met a {type(error).__name__} that it did not expect; nothing in the library is lost. "
            "Run 'roco doctor', or set ROCO_DEBUG=1 to see where it happened and report that."
        )
    else:
        return
    sys.exit(FAILED)
