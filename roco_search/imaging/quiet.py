"""Keeping header values off the console and out of the logs.

pydicom quotes values in its warnings and log records, and a value can name a patient. GDCM writes its
complaints straight to the process's stderr. `silence` stops them for the whole process:
``warnings.catch_warnings`` changes global state and is not thread-safe, and `open_image` runs in several
threads.
"""

import contextlib
import logging
import warnings
from functools import cache
from importlib import import_module


def silence() -> None:
    """Silence pydicom, Pillow and GDCM for this process. Cheap, and called before every file is read."""
    # Each time, because a `catch_warnings` block of the host program takes the filters with it when it ends.
    for module in (r"pydicom(\.|$)", r"PIL(\.|$)"):
        warnings.filterwarnings("ignore", module=module)
    _silence_logs()


@cache
def _silence_logs() -> None:
    for logger in ("pydicom", "PIL", "pylibjpeg"):
        # Child loggers take their level from here; a filter would not reach their records.
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    with contextlib.suppress(ImportError):
        trace = import_module("gdcm").Trace
        trace.WarningOff()
        trace.ErrorOff()
        trace.DebugOff()
