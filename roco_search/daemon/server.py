"""Answer queries for one library until none has come for a while.

One query at a time, in the order in which they come. A query runs as `roco query` itself, in the caller's folder and
with the caller's standard output and error, so that its output cannot differ from that of a cold query.
"""

import json
import math
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

from roco_search import __version__
from roco_search.daemon import warm
from roco_search.daemon.client import ACCEPTED, DECLINED, TERMINAL, circumstances, socket_of
from roco_search.errors import Busy, LibraryError
from roco_search.system.files import locked

MAX_REQUEST = 1 << 20
REQUEST_SECONDS = 1.0

Answer = Callable[[list[str]], int]
Declines = Callable[[list[str]], bool]


def serve(
    library: Path,
    idle_seconds: float,
    answer: Answer,
    *,
    declines: Declines = lambda _: False,
    ready: Callable[[], None] = lambda: None,
    used: Callable[[], float] = lambda: -math.inf,
    kept: warm.Kept | None = None,
) -> int:
    """Answer queries for `library`; return how many were answered.

    Parameters
    ----------
    library
        The only library that is answered for, by its real path.
    idle_seconds
        How long to wait for a query before ending.
    answer
        Runs ``roco`` with arguments and returns its exit code.
    declines
        Whether ``roco`` with these arguments needs something that only the asker's own process has.
    ready
        Called when queries can come.
    used
        When something else was last asked of this process (monotonic): then it is not idle, either.
    kept
        What this process keeps already; None to begin with nothing.

    Raises
    ------
    Busy
        If another process serves this library.
    LibraryError
        If the socket cannot be made.
    """
    kept = kept or warm.keep()
    opened = kept.library(library)
    if opened.model is not None and opened.model.count:
        kept.encoder(opened.model.model, "auto").encode_texts(["chest"])
        opened.vectors()
    answered = 0
    served = os.path.realpath(library)
    with _listening(Path(socket_of(served))) as listener:
        listener.settimeout(idle_seconds)
        ready()
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if (left := used() + idle_seconds - monotonic()) <= 0:
                    return answered
                listener.settimeout(left)
                continue
            listener.settimeout(idle_seconds)
            with connection, suppress(OSError):
                answered += _one(connection, served, answer, declines)


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    with ExitStack() as held:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.chmod(0o700)
            held.enter_context(locked(path.with_suffix(".lock")))
        except OSError as error:
            raise LibraryError(
                f"{path.parent} cannot be used for a socket ({error.strerror}); give a folder of your own with "
                "XDG_RUNTIME_DIR."
            ) from None
        except Busy:
            raise Busy("This library is already being served; queries use that process by themselves.") from None
        listener = held.enter_context(socket.socket(socket.AF_UNIX))
        path.unlink(missing_ok=True)  # of a process that was killed: whoever holds the lock is the only one
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            raise LibraryError(
                f"No socket can be made in {path.parent} ({error.strerror or error}); give a folder of your own with a "
                "short path with XDG_RUNTIME_DIR."
            ) from None
        finally:
            os.umask(before)
        held.callback(path.unlink, missing_ok=True)
        listener.listen(8)
        yield listener


@dataclass(frozen=True, slots=True)
class Request:
    """What a process asks for: `arguments` of ``roco``, and where it stands."""

    roco: str
    library: str
    arguments: list[str]
    folder: str
    circumstances: dict[str, str | None]
    terminal: dict[str, str]

    @classmethod
    def parse(cls, content: bytes) -> "Request":
        """Read the request of `client.ask`. Raises `ValueError` for anything else, whatever it is."""
        try:
            found = json.loads(content)
        except RecursionError:
            raise ValueError("not a request") from None
        if not isinstance(found, dict) or set(found) != set(cls.__dataclass_fields__):
            raise ValueError("not a request")
        texts = [found["roco"], found["library"], found["folder"], *_values(found["arguments"], list)]
        texts += _values(found["terminal"], dict)
        texts += [value for value in _values(found["circumstances"], dict) if value is not None]
        # No argument, path or variable that a process was given has a zero in it.
        known = set(found["terminal"]) <= set(TERMINAL)
        if not (known and found["arguments"]) or not all(isinstance(text, str) and "\0" not in text for text in texts):
            raise ValueError("not a request")
        return cls(**found)


def _values(found: object, kind: type) -> list[Any]:
    """Return the values of a list, or the keys and values of a dictionary, if it is of that kind."""
    if not isinstance(found, kind):
        raise ValueError("not a request")
    return [*found, *found.values()] if isinstance(found, dict) else list(found)  # type: ignore[call-overload]


def _one(connection: socket.socket, library: str, answer: Answer, declines: Declines) -> bool:
    """Read a request and answer it; False if this process cannot answer it."""
    deadline = monotonic() + REQUEST_SECONDS
    streams: list[int] = []
    try:
        request = Request.parse(_line(connection, deadline))
        if not _is_peer(connection) or not _fits(request, library) or declines(request.arguments):
            connection.sendall(DECLINED)
            return False
        connection.sendall(ACCEPTED)
        connection.settimeout(_left(deadline))
        _, streams, _, _ = socket.recv_fds(connection, 1, 2)
        if len(streams) != 2:
            return False
        with _as_asker(request, streams):
            code = answer(request.arguments)
        connection.settimeout(REQUEST_SECONDS)
        connection.sendall(bytes([code & 0xFF]))
        return True
    except ValueError:
        return False
    finally:
        for descriptor in streams:
            with suppress(OSError):
                os.close(descriptor)


def _line(connection: socket.socket, deadline: float) -> bytes:
    """Read up to the end of a line. All of it has to arrive in time, so that one who dawdles holds up nobody for long.

    Raises
    ------
    TimeoutError
    ValueError
        If the line is too long, or breaks off.
    """
    content = b""
    while not content.endswith(b"\n"):
        connection.settimeout(_left(deadline))
        more = connection.recv(1 << 16)
        if not more or len(content) > MAX_REQUEST:
            raise ValueError("not a request")
        content += more
    return content


def _left(deadline: float) -> float:
    """Return the seconds until a deadline. Raises `TimeoutError` if there are none."""
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _is_peer(connection: socket.socket) -> bool:
    """Whether the caller is the same user, where the kernel reports it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", told)
    return bool(user == os.geteuid())


def _fits(request: Request, library: str) -> bool:
    """Whether this process can answer: it is the same roco under the same settings, and the library is its own."""
    same = (request.roco, request.circumstances) == (__version__, circumstances())
    return same and request.arguments[0] == "query" and request.library == library


@contextmanager
def _as_asker(request: Request, streams: list[int]) -> Iterator[None]:
    """Use the caller's folder and output for the time of one answer."""
    folder, environment = os.open(".", os.O_RDONLY), dict(os.environ)
    before = sys.stdout, sys.stderr
    out, err = (_text(descriptor) for descriptor in streams)
    try:
        os.chdir(request.folder)
        for name in ("COLUMNS", "NO_COLOR", "TERM"):
            os.environ.pop(name, None)
        os.environ.update(request.terminal)
        os.environ["ROCO_LIBRARY"] = request.library  # If no argument names one, the caller's own applies.
        sys.stdout, sys.stderr = out, err
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in (out, err):
            with suppress(OSError, ValueError):
                stream.close()
        os.environ.clear()
        os.environ.update(environment)
        os.fchdir(folder)
        os.close(folder)


def _text(descriptor: int) -> TextIO:
    return os.fdopen(os.dup(descriptor), "w", encoding="utf-8", errors="surrogateescape")
