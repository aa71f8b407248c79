"""Ask the warm process of a library, if there is one: find its socket, check that it can be trusted, pass a query on.

Every `roco query` begins here, so nothing heavy is imported. Paths are text, because `pathlib` would be a third of what
this file imports.
"""

import hashlib
import json
import os
import socket
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress

from roco_search import __version__
from roco_search.errors import RocoError
from roco_search.system.folders import cache_folder, library_folder, library_place

ACCEPT_SECONDS = 0.25  # A process that is busy for longer is not waited for: a cold query takes hardly more.
ACCEPTED, DECLINED = b"A", b"D"
SETTINGS = ("ROCO_MODEL", "ROCO_MODELS", "ROCO_CONFIG", "ROCO_CACHE", "ROCO_DEBUG")
TERMINAL = ("COLUMNS", "NO_COLOR", "TERM", "LANG")


def ask(arguments: Sequence[str]) -> int | None:
    """Let the warm process answer ``roco`` with these arguments; None if none can.

    Returns
    -------
    int or None
        The exit code, after everything has been printed.
    """
    if not arguments or arguments[0] != "query" or os.environ.get("ROCO_SERVE") == "off":
        return None
    with suppress(OSError, ValueError, RocoError):
        library = os.path.realpath(_library(arguments))
        path = socket_of(library)
        if is_private(path):
            return _ask(path, library, arguments)
    return None


def socket_of(library: str) -> str:
    """Return the path of the socket for a library, by its real path: in the runtime folder, else in the cache.

    The path of a socket has room for about a hundred bytes.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = os.path.join(runtime, "roco") if runtime else f"{cache_folder()}/serve"  # noqa: PTH118
    return f"{folder}/{hashlib.sha256(os.fsencode(library)).hexdigest()[:20]}.sock"


def is_private(path: str) -> bool:
    """Whether a socket and its folder belong to this user and nobody else can reach them."""
    try:
        folder, own = os.lstat(os.path.dirname(path)), os.lstat(path)  # noqa: PTH120
    except OSError:
        return False
    mine = {folder.st_uid, own.st_uid} == {os.geteuid()}
    return mine and stat.S_ISSOCK(own.st_mode) and stat.S_ISDIR(folder.st_mode) and not folder.st_mode & 0o077


def circumstances() -> dict[str, str | None]:
    """Return the settings that change what a query answers: they must be the same for client and server."""
    return {name: os.environ.get(name) for name in SETTINGS}


def _library(arguments: Sequence[str]) -> str:
    """Return the library that these arguments mean, as `roco query` will."""
    for number, argument in enumerate(arguments):
        if argument == "--library" and number + 1 < len(arguments):
            return library_place(arguments[number + 1])
        if argument.startswith("--library="):
            return library_place(argument.removeprefix("--library="))
    return library_folder()


def _ask(path: str, library: str, arguments: Sequence[str]) -> int | None:
    request = {
        "roco": __version__,
        "library": library,
        "arguments": list(arguments),
        "folder": os.getcwd(),  # noqa: PTH109
        "circumstances": circumstances(),
        "terminal": {name: os.environ[name] for name in TERMINAL if name in os.environ},
    }
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ACCEPT_SECONDS)
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        if connection.recv(1) != ACCEPTED:
            return None
        connection.settimeout(None)
        sys.stdout.flush()
        sys.stderr.flush()
        # Not before: what is sent to a process that hangs would keep a pipe's end open for as long as it does.
        socket.send_fds(connection, [b"F"], [sys.stdout.fileno(), sys.stderr.fileno()])
        code = connection.recv(1)
    if not code:
        sys.stderr.write("Error: `roco serve` ended while it answered; run the query again.\n")
        return 1
    return code[0]
