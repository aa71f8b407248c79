"""Engines that run an image tower on the processor: OpenVINO, onnxruntime and torch, one core for each call.

A batch is divided into parts of a few images, and each core takes one part after the other: it prepares the images and
embeds them. Nothing waits at a barrier, so that the readers of an index run take what is left of the cores and are not
in the way; the activations of a part fit the caches of one core.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from roco_search.models.compiling.towers import Compiled, beside, options, session
from roco_search.models.families import FAMILIES
from roco_search.system.process import cores, wait_passively

if TYPE_CHECKING:
    from roco_search.models.checkpoint import Checkpoint

Run = Callable[[np.ndarray], np.ndarray]
"""Prepared images, float32 ``(n, 3, height, width)``, to float32 ``(n, dim)`` of unit norm; on many threads at once."""

PART = (
    4  # Images in one call: of 2, 4 and 8, within a tenth of each other on EfficientNet-Lite0; of 32, a third slower.
)


class ImageTower:
    """One engine with a loaded tower, on every core that this process may use."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._cores = cores()
        self._workers = ThreadPoolExecutor(self._cores, "roco-embed")

    def __call__(self, images: Sequence[np.ndarray], prepare: Callable[[Sequence[np.ndarray]], np.ndarray]) -> Any:
        """Embed images as float32 ``(n, dim)`` of unit norm.

        Parameters
        ----------
        images
            At least one; what `prepare` takes.
        prepare
            Makes a `Run`'s input of a part of them, on the thread that embeds it.
        """
        size = max(1, min(PART, -(-len(images) // self._cores)))
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        return np.concatenate(list(self._workers.map(lambda part: self._run(prepare(part)), parts)))


def forms_of(checkpoint: Checkpoint, *, fast: bool) -> dict[str, Callable[[], Run]]:
    """Return the ways in which this machine could run an image tower, by name; each is loaded by calling it.

    Parameters
    ----------
    checkpoint
        The model, compiled.
    fast
        Whether they compute in bf16 and int8, or all in fp32. The names in fp32 are those of the engines.
    """
    flags = processor_flags()
    forms: dict[str, Callable[[], Run]] = {}
    if not fast:
        if find_spec("openvino") is not None:
            forms["openvino"] = lambda: _openvino(checkpoint, "f32")
        forms["onnxruntime"] = lambda: _onnxruntime(checkpoint)
        forms["torch"] = lambda: _torch(checkpoint, "fp32")
        return forms
    if flags & {"avx512_bf16", "amx_bf16"}:
        if find_spec("openvino") is not None:
            forms["openvino-bf16"] = lambda: _openvino(checkpoint, "bf16")
        forms["torch-bf16"] = lambda: _torch(checkpoint, "bf16")
    if flags & {"avx512_vnni", "avx_vnni", "asimddp"}:
        forms["onnxruntime-int8"] = lambda: _int8(checkpoint)
    return forms


def _onnxruntime(checkpoint: Checkpoint) -> Run:
    graph = beside(checkpoint, "image")
    opened = session(graph, options(threads=1)) if graph else _compiled(checkpoint).open(checkpoint.tensors, threads=1)
    return lambda pixels: np.asarray(opened.run(None, {"pixel_values": pixels})[0])


def _int8(checkpoint: Checkpoint) -> Run:
    from roco_search.models.compiling.compiler import small_image

    opened = small_image(checkpoint, threads=1)
    return lambda pixels: np.asarray(opened.run(None, {"pixel_values": pixels})[0])


def _openvino(checkpoint: Checkpoint, precision: str) -> Run:
    """Compile the tower for OpenVINO, which has to be told to stay in fp32: where it finds bf16, that is its default.

    Its threads are not pinned to cores, because readers work on the same cores.
    """
    openvino = openvino_module()
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": cores(),
        "INFERENCE_NUM_THREADS": cores(),
        "ENABLE_CPU_PINNING": False,
    }
    with _with_weights(checkpoint) as graph:
        compiled = core.compile_model(core.read_model(graph), "CPU", settings)
    requests = threading.local()

    def run(pixels: np.ndarray) -> np.ndarray:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        return np.array(requests.own.infer({0: pixels})[0])

    # At its first inference the binding looks numpy up, under a lock for which it gives up the interpreter's: two
    # threads that make theirs at the same moment can wait for each other without end.
    run(np.zeros((1, 3, checkpoint.image_size, checkpoint.image_size), np.float32))
    return run


def openvino_module() -> Any:
    """Return OpenVINO without its telemetry, a package of its own that asks a name server when it is imported.

    OpenVINO has a stand-in for the case that the package is missing, which an entry of None in ``sys.modules`` means.

    Raises
    ------
    ImportError
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@contextmanager
def _with_weights(checkpoint: Checkpoint) -> Iterator[Path]:
    """Give the image tower's graph a folder together with the weights that it refers to, while it is being read.

    OpenVINO accepts neither weights outside the graph's folder nor symbolic links that lead there. Hard links cost
    nothing; where they are impossible, as across two disks, the files are copied.
    """
    if (graph := beside(checkpoint, "image")) is not None:
        yield graph
        return
    found = _compiled(checkpoint)
    graph = found.folder / next(iter(found.hashes))
    files = [*(found.folder / name for name in found.hashes)]
    files += {checkpoint.tensors[name].file for name in found.weights.values()}
    with TemporaryDirectory(dir=found.folder, prefix="linked-") as folder:
        for file in files:
            try:
                os.link(file.resolve(), Path(folder) / file.name)
            except OSError:
                copyfile(file, Path(folder) / file.name)
        yield Path(folder) / graph.name


def _torch(checkpoint: Checkpoint, precision: Literal["fp32", "bf16"]) -> Run:
    wait_passively()
    import torch

    embed: Run
    if FAMILIES[checkpoint.family].embedded:
        from roco_search.models.roco_mini.folded import FoldedTower

        embed = FoldedTower(checkpoint, torch.float32 if precision == "fp32" else torch.bfloat16)
    else:
        from roco_search.models.torch_encoder import TorchEncoder

        encoder = TorchEncoder(checkpoint, "cpu", precision)
        assert encoder.model is not None  # loaded here, once, and not on each of the threads
        embed = encoder.encode_prepared
    alone = threading.local()

    def run(pixels: np.ndarray) -> np.ndarray:
        if not hasattr(alone, "set"):
            torch.set_num_threads(1)
            alone.set = True
        return embed(pixels)

    return run


def _compiled(checkpoint: Checkpoint) -> Compiled:
    found = Compiled.find(checkpoint.fingerprint, "image", "fp32")
    if found is None:
        raise ValueError("the image tower is not compiled")
    return found


def processor_flags() -> frozenset[str]:
    """Return what the processor can do, by Linux's names; empty elsewhere."""
    return frozenset((_cpuinfo("flags") or _cpuinfo("Features")).split())


def processor_name() -> str:
    """Return the processor's name, by Linux; empty elsewhere."""
    return _cpuinfo("model name")


def _cpuinfo(key: str) -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return ""
