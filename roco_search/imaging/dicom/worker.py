"""The process behind `roco_search.imaging.dicom.isolation`: reads codestreams, writes pixels, until its input ends."""

import os
import signal
import sys
from typing import Any

import numpy as np

from roco_search.imaging.dicom.codecs import get_decoder, silence
from roco_search.imaging.dicom.isolation import receive, send


def main() -> None:
    """Answer until the other side has gone."""
    # Ctrl-C is for the process that asked; this one ends when that one does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence()
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
    from pydicom.encaps import encapsulate

    array, properties = get_decoder(request["uid"]).as_array(
        encapsulate([frame], has_bot=False), index=0, decoding_plugin=request["plugin"], **request["options"]
    )
    head = {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "photometric": str(properties["photometric_interpretation"]),
    }
    return head, np.ascontiguousarray(array).data.cast("B")
