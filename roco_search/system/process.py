"""The process: its processors, how it keeps memory and waits, how it is interrupted, and which others are alive.

`prepare` and `Interrupt` change the whole process, so programs call them, and libraries do not.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

Made = TypeVar("Made")

# malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER = 2**31 - 1
_GROW_BY = 64 * 2**20
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"
_NUMPY_DOCSTRINGS = ("numpy._core._add_newdocs", "numpy._core._add_newdocs_scalars")


def cores() -> int:
    """Return the number of processors that this process may use, which on a shared machine need not be all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_alive(process: int) -> bool:
    """Whether a process of this number exists on this machine, whoever owns it."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it exists, and belongs to someone else
        return True
    try:  # Linux: one that has ended, and nobody asked how, does nothing any more
        with open(f"/proc/{process}/stat", "rb") as file:  # noqa: PTH123 - pathlib is slow to import
            return file.read().rpartition(b")")[2].split()[0] not in {b"Z", b"X"}
    except (OSError, IndexError):
        return True


def prepare() -> None:
    """Set this process up for long work on images: it keeps freed memory, and its threads wait without spinning.

    A command calls it before anything else, because the second only works before torch is imported.
    """
    keep_freed_memory()
    wait_passively()


def keep_freed_memory() -> bool:
    """Set the allocator to keep what is freed; True where the C library accepted that.

    Pictures and activations of several megabytes come and go, and by default glibc returns each to the system, which
    has to clear its pages when it hands them out again. Anywhere else than on glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _GROW_BY))
    return all(mallopt(key, value) for key, value in settings)


def return_freed_memory() -> bool:
    """Return to the system what is freed and kept; True if anything was. Only glibc keeps it for each thread."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError):
        return False


def wait_passively() -> bool:
    """Let OpenMP's threads sleep while they wait; True if that takes effect: torch must not have been imported yet.

    GNU OpenMP threads spin at every barrier until the slowest one arrives. With another busy process on two cores,
    two spinning threads of torch were 4 to 10 times slower than one, because the core that one of them waited for was
    busy with the other's waiting. A value that the user has set is kept.
    """
    if "torch" in sys.modules:
        return False
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when the OpenMP library is loaded
    return True


def open_streams() -> None:
    """Make the standard streams able to take any text.

    A closed one takes it nowhere, and one that lacks characters, such as a terminal in Latin-1, gets escapes for them.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for good
        elif (stream.encoding or "").lower().replace("_", "-") not in {"utf-8", "utf8"}:
            stream.reconfigure(errors="backslashreplace")


def unwritable(stream: TextIO) -> str | None:
    """Return why what is still buffered cannot be written; None if it was, or if its reader has seen enough.

    A stream that cannot be written takes no more text afterwards.
    """
    try:
        stream.flush()
    except BrokenPipeError:
        reason = None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is closed"
    else:
        return None
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return reason


def leave(code: int) -> NoReturn:
    """End the process without taking the interpreter and its native libraries apart, a tenth of a cold query.

    What is registered with `atexit` still happens. A thread that is loading an engine in the background is not waited
    for: destroying such a library's threads while it starts them aborts the process, after everything went well.
    What is still buffered is written; where that fails, an exit code of 0 becomes 1. A reader that has seen enough,
    such as ``head``, is no failure.
    """
    atexit._run_exitfuncs()
    if reason := unwritable(sys.stdout):
        code = code or 1
        with suppress(OSError, ValueError):
            sys.stderr.write(f"Error: The output could not be written ({reason}).\n")
    unwritable(sys.stderr)
    os._exit(code)


def in_background(work: Callable[[], Made], name: str) -> Future[Made]:
    """Begin work on a daemon thread, which does not delay the end of a program that never asks for its result."""
    from concurrent.futures import Future

    future: Future[Made] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def import_numpy_alone() -> bool:
    """Import numpy with one thread of OpenBLAS instead of one a core, and without writing docstrings; True if it did.

    Starting the threads takes 25 ms of processor time on two cores and more on many, a tenth of a cold query, whose one
    product of a matrix and a vector saves less with them. Processes that are started later have all threads, and a
    value that the user has set is kept. Two modules of numpy do nothing but write the docstrings of what is in C, which
    takes 5 ms and which nobody reads while a query runs.
    """
    if "numpy" in sys.modules or _BLAS_THREADS in os.environ:
        return False
    os.environ[_BLAS_THREADS] = "1"  # read once, when the library is loaded
    sys.modules.update({name: ModuleType(name) for name in _NUMPY_DOCSTRINGS})
    try:
        import numpy  # noqa: F401
    finally:
        del os.environ[_BLAS_THREADS]
        for name in _NUMPY_DOCSTRINGS:
            sys.modules.pop(name, None)
    return True


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let numpy's products and solutions run on one thread while the block works on many small matrices.

    A matrix of a hundred rows gives several threads nothing to do but to wait for each other, and OpenBLAS's spin while
    they wait: beside other busy processes, 2,500 such solutions took 50 s of two processors where one takes 3.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector while the block makes many objects that all stay.

    It would walk through them again and again and find nothing: with ROCO's 65,000 rows that is half of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def collect_rarely() -> None:
    """Let the garbage collector begin at 50,000 new objects instead of 700.

    What a query imports is 60,000 objects that all stay; the collector walked through them 95 times and found nothing.
    """
    gc.set_threshold(50_000)


class Interrupt:
    """While the block runs, SIGINT and SIGTERM set ``asked``; a second one does what it always did.

    Outside the main thread, where Python receives no signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
