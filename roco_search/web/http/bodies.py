"""The bodies of requests: how long they may be, and which files a message of Gradio's may name."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import Message, Receive


def names_uploads_only(body: bytes, uploads: str) -> bool:
    """Whether every file that a message of Gradio's names is an upload, as it lies in `uploads`, a real path.

    Gradio checks this only for apps that its own ``launch`` has started (6.31, ``processing_utils._check_allowed``);
    mounted as here, it would read any file that a message names, and fetch any address.
    """
    try:
        waiting: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
        return False
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            if "path" in value and not _is_upload(value["path"], uploads):
                return False
    return True


def _is_upload(path: object, uploads: str) -> bool:
    if not isinstance(path, str) or "\0" in path:
        return False
    real = os.path.realpath(path)
    return real.startswith(uploads + os.sep) and os.path.isfile(real)  # noqa: PTH113 - of what a stranger wrote


def limited(receive: Receive, longest: int) -> Receive:
    """Cut off a body that is longer than it said."""
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
    """Read a body to its end, or to where the other side hung up."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return b"".join(parts)


def again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read once more to whoever comes next."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
