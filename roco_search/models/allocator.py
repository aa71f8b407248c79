"""Ask the C library to keep the memory that is freed, because asking the kernel again costs more than the sums.

glibc serves every large block by ``mmap`` and gives it back at once. A convolutional network allocates and frees
tens of megabytes a layer, so each pass faults all of its pages in again: on two cores a training step of
EfficientNet-Lite0 on 64 images took 4.7 s, and 2.2 s with the memory kept. The same setting exists as
environment variables (``MALLOC_MMAP_MAX_`` and friends), but a user should not have to know them.
"""

from __future__ import annotations

import ctypes
import os
import sys

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
