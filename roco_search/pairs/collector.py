"""Python's collector of cycles, set aside while a data set is read."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
