"""What every command prints with: results to stdout, narration to stderr, and the exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roco_search.cli.terminal import bold, clear, give_way, shows_links, terminal_width, wrap
from roco_search.system.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from roco_search.cli.tables import Cell, PathCell

DONE, FAILED, USAGE, PARTIAL, NOTHING = 0, 1, 2, 3, 4

FLAGS = {
    "caption_columns": "--caption-column",
    "directory": "--library",
    "form": "--format",
    "ignore_other": "--ignore-other-truth",
    "k": "--top",
    "licences": "--licence",
    "n": "--top",
    "resume": "--resume auto",
}
"""Parameters whose flag is not their own name with hyphens."""
_CALLED: dict[str, str] = {}
_PARAMETER = re.compile(r"`([a-z]+(?:_[a-z]+)*)(?:=([^`]+))?`")


def call_flags(**flags: str) -> None:
    """Name the flags of parameters that the command which runs now calls otherwise than all others do.

    >>> call_flags(column="--truth-column")
    >>> with_flags("Name one as `column`.")
    'Name one as --truth-column.'
    >>> call_flags()
    """
    _CALLED.clear()
    _CALLED.update(flags)


def out() -> Console:
    """Return the console for results. A pipe gets plain lines that are never folded."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 10_000, highlight=False, soft_wrap=False)


def err() -> Console:
    """Return the console for narration."""
    from rich.console import Console

    give_way()
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """Print a message that is not a result to stderr; parameters in it are printed as flags."""
    _narrate(message)


def say_error(message: str) -> None:
    """Print what failed to stderr; parameters in it are printed as flags."""
    _narrate(message, "Error: ")


def _narrate(message: str, prefix: str = "") -> None:
    clear()
    width = terminal_width(sys.stderr)
    text = prefix + printable(with_flags(message))
    if width is not None:
        text = "\n".join(wrap(text, width, whole=True))
    if prefix:
        text = bold(prefix.rstrip(), sys.stderr, "31") + text.removeprefix(prefix.rstrip())
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def with_flags(message: str) -> str:
    """Return a message of the library as the command line prints it: with flags in place of parameters.

    Below ``cli/`` a message names a parameter in backticks, alone or with a value, as a Python caller would write it.
    The flag is the parameter's name with hyphens; `FLAGS` lists those that differ. A command in backticks, which
    contains a space, is left alone.

    >>> with_flags("It is not empty; choose another `output`, or set `force=True`.")
    'It is not empty; choose another --output, or set --force.'
    >>> with_flags('Train with `precision="fp32"`, or run `roco doctor`.')
    'Train with --precision fp32, or run `roco doctor`.'
    """
    return _PARAMETER.sub(_as_flag, message)


def _as_flag(parameter: re.Match[str]) -> str:
    name, value = parameter.groups()
    flag = (FLAGS | _CALLED).get(name, f"--{name.replace('_', '-')}")
    if value in (None, "True"):
        return flag
    if value == "False":
        return f"--no-{flag.removeprefix('--')}"
    text = value.strip('"')
    return f'{flag} "{text}"' if re.search(r"[^\w./:,=%-]", text) else f"{flag} {text}"


def moment(made: str) -> str:
    """Return a time that we wrote as ISO 8601 in UTC as people write it; any other text as it is.

    >>> moment("2026-11-26T23:53:38+00:00")
    '2026-11-26 23:53 UTC'
    """
    return f"{made[:16].replace('T', ' ')} UTC" if made.endswith("+00:00") else made


def print_json(value: Any) -> None:
    """Print dataclasses, lists and dicts as JSON."""
    clear()
    sys.stdout.write(json.dumps(value, indent=2, default=_plain) + "\n")


def print_jsonl(value: Any) -> None:
    """Print a dataclass, list or dict as one line of JSON, at once: a reader may be waiting for it."""
    clear()
    sys.stdout.write(json.dumps(value, default=_plain) + "\n")
    sys.stdout.flush()


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print CSV (RFC 4180, but with plain line feeds); None is empty, and file names keep their bytes."""
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    print_bytes(text.getvalue().encode("utf-8", "surrogateescape"))


def print_paths(paths: Iterable[str | Path], end: bytes = b"\n") -> None:
    """Print each path once, in its own bytes, as another program needs it."""
    print_bytes(b"".join(os.fsencode(path) + end for path in dict.fromkeys(paths)))


def print_bytes(data: bytes) -> None:
    """Print bytes that need not be text: a file name is any bytes."""
    clear()
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def table_width() -> int | None:
    """Return the columns that a table may take; None where each row is printed whole."""
    return terminal_width()


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Cell]], right: Sequence[str] = ()) -> None:
    """Print a table, fitted into a terminal; a pipe gets each row whole. ``right`` names number columns."""
    from roco_search.cli.tables import draw_table

    shown = [[_printable(cell) for cell in row] for row in rows]
    table = draw_table(columns, shown, right=right, width=terminal_width(), links=shows_links(sys.stdout))
    _write([*(bold(line, sys.stdout) for line in table.head), *table.rows])


def print_facts(facts: Sequence[tuple[str, Cell]]) -> None:
    """Print names in bold, each with its value beside it."""
    from roco_search.cli.tables import draw_facts

    shown = [(name, _printable(value)) for name, value in facts]
    lines = draw_facts(shown, width=terminal_width(), links=shows_links(sys.stdout))
    _write(bold(name, sys.stdout) + value for name, value in lines)


def print_line(text: str = "") -> None:
    """Print a result that is a sentence, wrapped between words in a terminal."""
    width = terminal_width()
    lines = [printable(line) for line in text.split("\n")]
    _write(lines if width is None else [part for line in lines for part in wrap(line, width, whole=True)])


def path_cell(path: str | Path, note: str = "") -> PathCell:
    """Return a path for a table, as it is seen from here."""
    from roco_search.cli.tables import PathCell

    return PathCell(short_path(path), os.fspath(path), note)


def _write(lines: Iterable[str]) -> None:
    clear()
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _printable(cell: Cell) -> Cell:
    from roco_search.cli.tables import PathCell, Unbroken

    if isinstance(cell, PathCell):
        return PathCell(printable(cell.shown), cell.path, printable(cell.note))
    return Unbroken(printable(cell)) if isinstance(cell, Unbroken) else printable(cell)


def short_path(path: str | Path) -> str:
    """Return a path relative to the current folder if it is below that, else whole."""
    try:
        return os.fspath(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return os.fspath(path)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
