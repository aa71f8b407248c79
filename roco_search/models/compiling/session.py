"""How onnxruntime is asked to run a graph."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_SILENT = 4  # onnxruntime's level for fatal errors only; what matters is raised


def options(*, threads: int | None = None, ready: bool = False) -> Any:
    """Return the options of a session.

    Threads that wait do not spin: a core on which another program runs is then not burnt by waiting. With a second
    busy process on two cores, spinning made a batch of images several times slower.

    Parameters
    ----------
    threads
        Threads of one operation; None for onnxruntime's choice, a thread a core.
    ready
        The graph was optimised when it was written: nothing is left to do.
    """
    onnxruntime = onnxruntime_module()
    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level = _SILENT
    if threads is not None:
        chosen.intra_op_num_threads = threads
    if ready:
        chosen.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return chosen


def session(graph: Path, chosen: Any, weights: object = None) -> Any:
    """Return a session on the processor, which holds `weights` for as long as it exists: it reads them in place.

    Raises
    ------
    Exception
        Whatever onnxruntime raises; its classes share no public base.
    """
    opened: Any = onnxruntime_module().InferenceSession(str(graph), chosen, providers=["CPUExecutionProvider"])
    opened.roco_weights = weights
    return opened


def onnxruntime_module() -> Any:
    """Return the module, with its telemetry off; its types say little about what it holds.

    Since its version 1.29 it reports to its maker over the network from the moment it is imported; calling its
    ``disable_telemetry_events()`` comes too late.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime
