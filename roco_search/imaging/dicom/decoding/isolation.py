"""Codecs that run in processes of their own, each picture with a limit of time and memory: JPEG-LS, HTJ2K and JPEG XL.

CharLS and OpenJPH each met a damaged codestream on which they ran for more than 25 seconds, and nothing ends a thread
that is in native code; libjxl may be made to draw for as long as the codestream asks for. In a worker they can be
ended, and one that dies takes its picture along and nothing else. All other codecs ended and answered in every mutated
input of ``scripts/fuzz``, so that they run in this process, where they release Python's lock.

Workers start when they are first needed, wait for the next picture, and end with this process, however it ends: their
input closes. What they are given is a codestream and the name of its codec, nothing else of the file.
"""

import atexit
import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from roco_search.imaging.dicom.decoding import codecs
from roco_search.system.process import cores

ISOLATED = frozenset({"jpegls", "htj2k", "jpegxl"})
"""imagecodecs' names of the codecs that run so."""

LENGTHS = struct.Struct("<IQ")  # Bytes of a message's head, JSON, and of the body behind it.
KINDS = frozenset("ui")
ATTEMPTS = 2  # The system may end a process that did nothing wrong; a picture is to blame if the next one dies too.
PATIENCE = 8.0  # Seconds for one picture; a radiograph takes a fifth of one.
MEMORY = 2 * 2**30  # Bytes of address space of a worker: its libraries, and what `MAX_BYTES` allows for a picture.
PIPE = 2**20  # Bytes that wait in a pipe: with Linux's 64 KiB, a radiograph is 150 turns of both processes.
# `-P`: a module in the current folder, such as the one with the scans, must never be imported. Where this
# package is found may be something that only this process knows, so it is said.
PROGRAM = f"import sys; sys.path.append(sys.argv[1]); from {__name__} import main; main()"
ROOT = Path(__file__).parents[4]


class WorkerDied(Exception):
    """The worker ended while it decoded."""


class OutOfPatience(WorkerDied):
    """It was ended, because it took too long."""


class WorkerFailed(Exception):
    """The decoder refused the picture."""


def send(stream: BinaryIO, head: dict[str, Any], body: bytes | memoryview = b"") -> None:
    """Write a message."""
    text = json.dumps(head).encode()
    for part in (LENGTHS.pack(len(text), len(body)) + text, body):
        view = memoryview(part)
        while view:  # a signal, such as Ctrl-C, may cut a write to a pipe short
            view = view[stream.write(view) :]
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
        command = [sys.executable, "-P", "-c", PROGRAM, str(ROOT)]
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

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def decode(self, codec: str, frame: bytes, options: dict[str, Any]) -> npt.NDArray[Any]:
        """See `decode`."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        # One that goes round in circles would hold up all that comes after it.
        patience = threading.Timer(PATIENCE, end)
        patience.daemon = True
        patience.start()
        try:
            send(self._input, {"codec": codec, "options": options}, frame)
            head, body = receive(self._output)
        except (OSError, EOFError):
            raise (OutOfPatience if late.is_set() else WorkerDied) from None
        finally:
            patience.cancel()
        if "short_of_memory" in head:
            raise MemoryError
        if "dtype" not in head:
            raise WorkerFailed
        kind = np.dtype(head["dtype"])
        if kind.kind not in KINDS:
            raise WorkerFailed
        return np.frombuffer(body, kind).reshape(head["shape"])

    def close(self) -> None:
        """End it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()
        self._process.kill()
        self._process.wait()


class Pool:
    """The workers that wait, and how many may be at work: one a core."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: the child of a fork must not speak to its parent's workers."""
        self.idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        self._room = threading.BoundedSemaphore(cores())
        self._usable = True

    def decode(self, codec: str, frame: bytes, options: dict[str, Any]) -> npt.NDArray[Any] | None:
        """See `decode`."""
        with self._room:
            for attempt in range(1, ATTEMPTS + 1):
                worker = self._worker()
                if worker is None:
                    return None
                try:
                    found = worker.decode(codec, frame, options)
                except (WorkerFailed, MemoryError):
                    self.idle.put(worker)
                    raise
                except WorkerDied as died:
                    worker.close()
                    if attempt == ATTEMPTS or isinstance(died, OutOfPatience):
                        raise
                except BaseException:  # this thread was interrupted, and an answer is still to come
                    worker.close()
                    raise
                else:
                    self.idle.put(worker)
                    return found
        raise AssertionError

    def _worker(self) -> Worker | None:
        with suppress(queue.Empty):
            while True:
                worker = self.idle.get_nowait()
                if worker.lives:
                    return worker
                worker.close()
        if self._usable:
            try:
                return Worker()
            except (OSError, EOFError):
                self._usable = False
        return None

    def close(self) -> None:
        """End the workers that wait."""
        with suppress(queue.Empty):
            while True:
                self.idle.get_nowait().close()


pool = Pool()


def decode(codec: str, frame: bytes, options: dict[str, Any]) -> npt.NDArray[Any] | None:
    """Decode a codestream in a worker; None where none can be started, and the caller has to do it himself.

    Parameters
    ----------
    codec
        imagecodecs' name of the codec.
    frame
        The codestream.
    options
        Of the codec; numbers and words.

    Returns
    -------
    numpy.ndarray
        As `codecs.decode` returns it.

    Raises
    ------
    WorkerDied
        If a worker, and another one after it, ended over this picture, or one took longer than `PATIENCE`.
    WorkerFailed
        If the decoder refused it.
    MemoryError
    """
    return pool.decode(codec, frame, options)


atexit.register(pool.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.forget)


def main() -> None:
    """Be a worker: read codestreams, write pixels, until the other side has gone."""
    # Ctrl-C is for the process that asked; this one ends when that one does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    codecs.silence()
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
    array = np.ascontiguousarray(codecs.decode(request["codec"], frame, request["options"]))
    return {"dtype": array.dtype.str, "shape": list(array.shape)}, array.data.cast("B")
