"""All SQL of the library is in `library/truth`, and what reads there never writes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import roco_search

PACKAGE = Path(roco_search.__file__).parent
TRUTH = PACKAGE / "library" / "truth"
MIRROR = PACKAGE / "mirror" / "postgresql.py"  # The SQL of another database.
STATEMENT = re.compile(
    r"\s*(SELECT\s.+\sFROM\s|SELECT\s+1\b|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|"
    r"PRAGMA\s+\w|VACUUM\b|(CREATE|ALTER|DROP)\s+(TABLE|INDEX|TRIGGER|UNIQUE)|BEGIN\b|(AND|WHERE)\s+\w+\s*=\s*\?)",
    re.DOTALL,
)
NO_SQL = {"library/shared/table.py": "change.execute(self._rows("}
"""Calls of a library that has a method of that name, and no SQL: LanceDB's `merge_insert(…).execute(rows)`."""
CALLS = {"execute", "executemany", "executescript", "backup"}


def test_no_file_outside_truth_holds_sql() -> None:
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if TRUTH not in path.parents and path != MIRROR]
    assert len(files) > 150
    found = {str(path.relative_to(PACKAGE)): list(sql_in(ast.parse(path.read_text("utf-8")))) for path in files}
    for name, call in NO_SQL.items():
        assert [statement for statement in found[name] if statement.startswith(call)] == found.pop(name)
    assert {name: statements for name, statements in found.items() if statements} == {}


@pytest.mark.parametrize(
    "code",
    [
        'store.read("SELECT path FROM roots")',
        'sql = f"SELECT {columns} FROM files WHERE {condition}"',
        'write("DELETE FROM files WHERE id = ?", [1])',
        'read("PRAGMA integrity_check")',
        'read("VACUUM")',
        "connection.execute(statement)",
        "import sqlite3\nsqlite3.connect(path)",
        "from sqlite3 import connect",
        "from sqlite_utils import Database",
    ],
)
def test_sql_would_be_found(code: str) -> None:
    assert list(sql_in(ast.parse(code)))


def test_what_reads_never_writes() -> None:
    """Every statement that is given to `read` or `stream` is a SELECT."""
    read = [sql for path in sorted(TRUTH.glob("*.py")) for sql in statements_read(ast.parse(path.read_text("utf-8")))]
    assert len(read) > 30
    assert [sql for sql in read if not sql.strip().startswith("SELECT")] == []


def sql_in(tree: ast.Module) -> Iterator[str]:
    """Yield what in a file is SQL or speaks to SQLite; `sqlite3.Error` and its codes are no statement."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of_sqlite = isinstance(node.func.value, ast.Name) and node.func.value.id == "sqlite3"
            if node.func.attr in CALLS or (of_sqlite and node.func.attr == "connect"):
                yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {"sqlite3", "sqlite_utils"}:
            yield ast.unparse(node)
        elif isinstance(node, ast.expr) and id(node) not in docstrings and STATEMENT.match(text := text_of(node)):
            yield text


def statements_read(tree: ast.Module) -> Iterator[str]:
    """Yield the statements of all calls of `read` and `stream`, written there or in a local name."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        named: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                named.setdefault(node.targets[0].id, []).append(node.value)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and re.search(r"_connection\.(read|stream)$", ast.unparse(node.func)):
                sql = node.args[0]
                yield from map(text_of, named[sql.id] if isinstance(sql, ast.Name) else [sql])


def text_of(node: ast.expr) -> str:
    """Return a string as far as it is written out; what is put into it is left out."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
