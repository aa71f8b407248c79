"""The shape of the house, as far as import-linter's contracts in pyproject.toml do not check it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import roco_search

PACKAGE = Path(roco_search.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "assets" not in path.parts)
NETWORK_CLIENTS = {
    "huggingface_hub",
    "httpx",
    "requests",
    "aiohttp",
    "urllib3",
    "urllib.request",
    "http.client",
    "ftplib",
}


def imported(file: Path) -> Iterator[str]:
    """The dotted names that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_hub_is_the_one_door_to_the_network() -> None:
    rooms = {
        file.relative_to(PACKAGE).parts[0]
        for file in FILES
        if any(name == client or name.startswith(f"{client}.") for name in imported(file) for client in NETWORK_CLIENTS)
    }
    assert rooms == {"hub"}


def test_mirror_alone_speaks_to_other_databases() -> None:
    """It connects only to an address that the user has named."""
    clients = ("psycopg", "pymilvus")
    rooms = {
        file.relative_to(PACKAGE).parts[0]
        for file in FILES
        if any(name == client or name.startswith(f"{client}.") for name in imported(file) for client in clients)
    }
    assert rooms == {"mirror"}


def test_a_shelf_can_be_taken_in_at_one_look() -> None:
    crowded = {folder: count for folder, count in Counter(file.parent for file in FILES).items() if count > 16}
    assert not crowded


def test_a_file_can_be_read_in_one_sitting() -> None:
    long = {file: lines for file in FILES if (lines := len(file.read_text("utf-8").splitlines())) > 350}
    assert not long


def test_imports_are_absolute() -> None:
    relative = [
        file
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


def test_the_tests_have_the_same_tree() -> None:
    """Every folder of tests is named after a room, so that a reader finds the tests of a file by its path."""
    tests = Path(__file__).parent
    folders = {file.parent.relative_to(tests) for file in tests.rglob("test_*.py")} - {Path("scripts"), Path()}
    assert not {folder for folder in folders if not (PACKAGE / folder).is_dir()}
