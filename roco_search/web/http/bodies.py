"""Bodies of requests: limited, read whole before anybody acts on them, and given on."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import Message, Receive

_EVENT = frozenset({"data", "event_data", "fn_index", "session_hash", "trigger_id"})
_PART = 2**18  # bytes of a kept body that are given on at once


class Disconnected(Exception):
    """The other side hung up, or went on beyond the limit, before its body was complete."""


def limited(receive: Receive, longest: int) -> Receive:
    """Pass a body on up to `longest` bytes, and hang up if it goes on: its announced length may be false."""
    received = 0

    async def receiving() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > longest:
            return {"type": "http.disconnect"}
        return message

    return receiving


async def whole(receive: Receive) -> bytes:
    """Return a body. Raises `Disconnected` if it is broken off."""
    return b"".join([part async for part in _parts(receive)])


def again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read already to the next application."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


@asynccontextmanager
async def spooled(receive: Receive, folder: str) -> AsyncIterator[Receive]:
    """Read a body to its end into a file without a name, and give a `receive` that reads it from there.

    Whatever happens, nothing of the body is left on the disk: the system removes the file with the process at the
    latest.

    Raises
    ------
    Disconnected
        If it is broken off.
    """
    with TemporaryFile(dir=folder) as file:
        async for part in _parts(receive):
            file.write(part)
        file.seek(0)
        yield _from_file(file, receive)


def _from_file(file: IO[bytes], receive: Receive) -> Receive:
    ended = False

    async def receiving() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        part = file.read(_PART)
        ended = len(part) < _PART
        return {"type": "http.request", "body": part, "more_body": not ended}

    return receiving


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


def is_event(body: bytes) -> bool:
    """Whether a body is a message for Gradio's queue as its page sends them: gradio 6, ``data_classes.PredictBody``."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(found, dict) or not set(found) <= _EVENT or not isinstance(found.get("data"), list):
        return False
    session, trigger = found.get("session_hash"), found.get("trigger_id")
    return (
        _is_number(found.get("fn_index"))
        and (trigger is None or _is_number(trigger))
        and isinstance(session, str)
        and re.fullmatch(r"\w{1,64}", session, re.ASCII) is not None
    )


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value < 10**6
