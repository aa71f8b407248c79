"""Native decoders that run in processes of their own: GDCM, above all.

GDCM holds Python's lock while it decodes, so that two threads decode no faster than one, and aborts its process on some
damaged pictures. In a worker (`roco_search.imaging.worker`) neither matters: as many decode at once as there are cores,
and one that dies takes its picture along and nothing else. Workers start when they are first needed, wait for the next
picture, and end with this process, however it ends: their input closes.
"""

import atexit
import json
import os
import queue
import struct
import subprocess
import sys
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

ISOLATED = frozenset({"gdcm"})
"""pydicom's names of the decoders that run so."""

LENGTHS = struct.Struct("<IQ")  # Bytes of a message's head, JSON, and of the body behind it.
KINDS = frozenset("uif")
PIPE = 2**20  # Bytes that wait in a pipe: with Linux's 64 KiB, a radiograph is 150 turns of both processes.


class WorkerDied(Exception):
    """The worker ended while it decoded."""


class WorkerFailed(Exception):
    """The decoder refused the picture."""


def send(stream: BinaryIO, head: dict[str, Any], body: bytes | memoryview = b"") -> None:
    """Write a message."""
    text = json.dumps(head).encode()
    stream.write(LENGTHS.pack(len(text), len(body)) + text)
    stream.write(body)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], bytearray]:
    """Read a message. Raises `EOFError` where the other side has gone."""
    head, body = LENGTHS.unpack(_exactly(stream, LENGTHS.size))
    return json.loads(_exactly(stream, head)), _exactly(stream, body)


def _exactly(stream: BinaryIO, count: int) -> bytearray:
    found = bytearray(count)
    view = memoryview(found)
    while view:
        got = stream.readinto(view)  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        view = view[got:]
    return found


class Worker:
    """A process that decodes. Raises `OSError` or `EOFError` where it cannot be started."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "roco_search.imaging.worker"]
        # A decoder that complains does so on stderr, and may quote the header.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        for stream in (self._input, self._output):
            # Elsewhere than on Linux there is no such call, and there is a limit to what one user may have.
            with suppress(ImportError, AttributeError, OSError):
                from fcntl import F_SETPIPE_SZ, fcntl

                fcntl(stream, F_SETPIPE_SZ, PIPE)
        try:
            receive(self._output)
        except (EOFError, OSError, ValueError):
            self.close()
            raise EOFError from None

    @property
    def _input(self) -> BinaryIO:
        assert self._process.stdin is not None
        return self._process.stdin  # type: ignore[return-value]

    @property
    def _output(self) -> BinaryIO:
        assert self._process.stdout is not None
        return self._process.stdout  # type: ignore[return-value]

    def decode(
        self, uid: str, frame: bytes, plugin: str, options: dict[str, Any]
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """See `decode`."""
        try:
            send(self._input, {"uid": uid, "plugin": plugin, "options": options}, frame)
            head, body = receive(self._output)
        except (OSError, EOFError):
            raise WorkerDied from None
        if "dtype" not in head:
            raise WorkerFailed
        kind = np.dtype(head["dtype"])
        if kind.kind not in KINDS:
            raise WorkerFailed
        return np.frombuffer(body, kind).reshape(head["shape"]), {"photometric_interpretation": head["photometric"]}

    def close(self) -> None:
        """End it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()
        self._process.kill()
        self._process.wait()


_idle: "queue.LifoQueue[Worker]" = queue.LifoQueue()


def decode(
    uid: str, frame: bytes, plugin: str, options: dict[str, Any]
) -> tuple[npt.NDArray[Any], dict[str, Any]] | None:
    """Decode one frame in a worker; None where none can be started, and the caller has to do it himself.

    Parameters
    ----------
    uid
        The transfer syntax.
    frame
        The codestream.
    plugin
        pydicom's name of the decoder.
    options
        Of ``Decoder.as_array``; numbers and words.

    Returns
    -------
    array, properties
        As ``Decoder.as_array`` returns them; of the properties, the photometric interpretation.

    Raises
    ------
    WorkerDied, WorkerFailed
    """
    try:
        worker = _idle.get_nowait()
    except queue.Empty:
        try:
            worker = Worker()
        except (OSError, EOFError):
            return None
    try:
        found = worker.decode(uid, frame, plugin, options)
    except WorkerFailed:
        _idle.put(worker)
        raise
    except BaseException:  # died, or this thread was interrupted and an answer is still to come
        worker.close()
        raise
    _idle.put(worker)
    return found


def close() -> None:
    """End the workers that wait."""
    with suppress(queue.Empty):
        while True:
            _idle.get_nowait().close()


def _forget() -> None:
    global _idle  # noqa: PLW0603 - a forked child must not speak to its parent's workers
    _idle = queue.LifoQueue()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
