"""Messages of the library name parameters; the command line prints the flag in the place of each."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import roco_search
from roco_search.cli import whole
from roco_search.cli.output import FLAGS, with_flags

PACKAGE = Path(roco_search.__file__).parent
ROOMS = ("datasets", "training", "evaluation", "library", "search", "curation", "daemon", "embedding_map")


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("Choose another `output`.", "Choose another --output."),
        ("Leave `image_size` out.", "Leave --image-size out."),
        ("Set `force=True`.", "Set --force."),
        ("Set `augment=False`.", "Set --no-augment."),
        ('Use `objective="info-nce"`.', "Use --objective info-nce."),
        ('Give `labels="pleural effusion,normal"`.', 'Give --labels "pleural effusion,normal".'),
        ("Resume it with `resume=True`.", "Resume it with --resume auto."),
        ("Run `roco index PATH`.", "Run `roco index PATH`."),
        ("Set `OMP_NUM_THREADS`.", "Set `OMP_NUM_THREADS`."),
    ],
)
def test_a_parameter_becomes_its_flag(message: str, printed: str) -> None:
    assert with_flags(message) == printed


@pytest.mark.parametrize("room", ROOMS)
def test_no_message_below_the_command_line_names_a_flag(room: str) -> None:
    found = [
        (path.name, text)
        for path, text in texts(room)
        if " " in text and re.search(r"(?<![\w-])--[a-z]", without_commands(text))
    ]
    assert not found


@pytest.mark.parametrize("room", ROOMS)
def test_each_parameter_that_a_message_names_has_a_flag(room: str) -> None:
    known = flags()
    named = {name for _, text in texts(room) for name in re.findall(r"`([a-z]+(?:_[a-z]+)*)(?:=[^`]+)?`", text)}
    assert {name for name in named if with_flags(f"`{name}`").split()[0] not in known} == set()


def test_each_flag_of_the_table_exists() -> None:
    assert {flag.split()[0] for flag in FLAGS.values()} <= flags()


def without_commands(text: str) -> str:
    """Return a text without the commands it quotes: in backticks and with a space, or on a line of their own."""
    quoted = re.sub(r"`[^`]+`", lambda found: "" if " " in found[0] else found[0], text)
    return re.sub(r"^roco .*", "", quoted, flags=re.M)


def texts(room: str) -> Iterator[tuple[Path, str]]:
    """Yield every text in a room's code that is not a docstring."""
    for path in sorted((PACKAGE / room).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield path, "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | parts:
                yield path, node.value


def flags() -> set[str]:
    """Return every flag of every command."""
    found: set[str] = set()
    waiting = [typer.main.get_command(whole())]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        found.update(flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts))
    return found
