"""The process behind `isolation`: reads codestreams, writes pixels, until its input ends."""

import os
import signal
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from roco_search.imaging.dicom.decoding.codecs import decode, silence
from roco_search.imaging.dicom.decoding.isolation import MEMORY, receive, send


def main() -> None:
    """Answer until the other side has gone."""
    # Ctrl-C is for the process that asked; this one ends when that one does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence()
    with suppress(ImportError, ValueError, OSError):  # there is no such limit on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    requests = sys.stdin.buffer
    # What a native library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    send(answers, {"ready": True})
    while True:
        try:
            request, frame = receive(requests)
        except EOFError:
            return
        try:
            head, body = _decode(request, bytes(frame))
        except MemoryError:
            head, body = {"short_of_memory": True}, memoryview(b"")
        except Exception:  # Decoders raise anything at all on damaged data, and quote header values in it.
            head, body = {"refused": True}, memoryview(b"")
        send(answers, head, body)


def _decode(request: dict[str, Any], frame: bytes) -> tuple[dict[str, Any], memoryview]:
    array = np.ascontiguousarray(decode(request["codec"], frame, request["options"]))
    return {"dtype": array.dtype.str, "shape": list(array.shape)}, array.data.cast("B")
