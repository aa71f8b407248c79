"""How many processors there are for this process."""

import os


def cores() -> int:
    """Return the number of processors that this process may use: on a shared machine not all that it has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
