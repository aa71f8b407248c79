"""How many processors there are for this process."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


def cores() -> int:
    """Return the number of processors that this process may use: on a shared machine not all that it has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER = 2**31 - 1
_GROW_BY = 64 * 2**20


def keep_freed_memory() -> bool:
    """Set the allocator of this process to keep what it has; True where the C library took the setting.

    For programs only, not for libraries: it changes the whole process. Elsewhere than on glibc it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _GROW_BY))
    return all(mallopt(key, value) for key, value in settings)


def wait_without_spinning() -> None:
    """Let OpenMP's threads sleep while they wait; to be called before torch is imported.

    GNU OpenMP spins by default. With another busy process on two cores, two spinning threads of torch were 4 to
    10 times slower than one: the core that one of them waited on was burnt by the waiting. Who has set it is not
    overruled.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def wait_asleep() -> bool:
    """Set it for this process; whether it will be heard. It has to be before torch is imported.

    For programs only, not for libraries: it changes the whole process. What the user has set goes before.
    """
    if "torch" in sys.modules:
        return False
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read once, when the OpenMP library is loaded
    return True


@contextmanager
def set_aside() -> Iterator[None]:
    """Make many objects that all stay.

    The collector would walk through them again and again and find nothing: with ROCO's 65,000 rows that is half of
    the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Interrupt:
    """While the block runs, SIGINT and SIGTERM set ``asked``; a second one does what it always did.

    Outside the main thread, where Python hears no signal, nothing is changed.
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
