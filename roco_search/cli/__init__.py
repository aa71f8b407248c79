"""The command line: one file a command, which parses, calls and renders. No logic lives here."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roco_search import __version__
from roco_search.cli.commands import COMMANDS, add_commands, add_summaries, named
from roco_search.cli.output import FAILED, USAGE, call_flags, say_error
from roco_search.cli.usage import Misuse, ParserError, sentence
from roco_search.errors import RocoError
from roco_search.system.process import unwritable
from roco_search.system.progress import show_unasked

if TYPE_CHECKING:
    from roco_search.cli.progress import ProgressBar

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF, errno.EFBIG}
_REFUSED = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "check its permissions, and those of the folders above it"),
    errno.EROFS: "its disk can only be read; name another place",
    **dict.fromkeys((errno.EIO, errno.ESTALE), "check its disk, and the connection to it"),
    **dict.fromkeys((errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG), "check the path"),
}
"""What to do where the system does not let roco look at a path at all, wherever that comes to light."""


def application() -> typer.Typer:
    """Return ``roco`` with nothing but its own options."""
    made = typer.Typer(
        name="roco",
        help="Find radiology images in words, on this computer, with no network.",
        epilog="For research, not for clinical use.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,  # a traceback with locals could show what a header holds
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(roco)
    return made


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"roco {__version__}")
        raise typer.Exit


def roco(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find radiology images in words, on this computer, with no network."""


def whole() -> typer.Typer:
    """Return ``roco`` with every command, all of them imported."""
    made = application()
    add_commands(made, COMMANDS)
    return made


def chosen(arguments: list[str]) -> typer.Typer:
    """Return ``roco`` with what these arguments need: one command, or the list of all."""
    if any(name.endswith("_COMPLETE") and name.startswith("_ROCO") for name in os.environ):
        return whole()
    made = application()
    if (name := named(arguments)) is None:
        add_summaries(made)
    else:
        add_commands(made, [name])
    return made


def __getattr__(name: str) -> Any:
    if name == "app":
        return whole()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> None:
    """Run the command line."""
    if code := answer(sys.argv[1:]):
        sys.exit(code)


def _bar(label: str) -> ProgressBar:
    from roco_search.cli.progress import ProgressBar

    return ProgressBar(label, figures=())


def answer(arguments: list[str]) -> int:
    """Run ``roco`` with arguments; return its exit code. Every error ends in one sentence, never in a traceback."""
    call_flags()
    show_unasked(_bar)
    try:
        return int(chosen(arguments)(arguments, prog_name="roco", standalone_mode=False) or 0)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Misuse as error:
        say_error(str(error))
        return USAGE
    except ParserError as error:
        if message := sentence(error):
            say_error(message)
        return USAGE
    except RocoError as error:
        say_error(str(error))
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Keep the interpreter from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        # Writing a file of ours fails with an error of ours: this is the standard output.
        if isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE:
            unwritable(sys.stdout)
            say_error(f"The output could not be written ({error.strerror}).")
            return FAILED
        if os.environ.get("ROCO_DEBUG"):
            raise
        if isinstance(error, OSError) and isinstance(error.filename, str | bytes) and error.errno in _REFUSED:
            say_error(f"{os.fsdecode(error.filename)} cannot be used ({error.strerror}); {_REFUSED[error.errno]}.")
            return FAILED
        say_error(
            f"roco met an unexpected {type(error).__name__}; nothing in the library is lost. "
            "Run 'roco doctor', or set ROCO_DEBUG=1 to see where it happened and report that."
        )
    return FAILED
