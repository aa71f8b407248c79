"""Compiled towers: the ONNX graphs of a model's image and text encoders, in the cache or beside the weights.

In the cache each form of each tower is a graph, its data and a manifest, which is written last. Opening compares the
format, the fingerprint of the weights and the seals; `check` compares the hashes. What does not match is never run.
`session` opens a graph with onnxruntime.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from roco_search.models.cache import cache_directory
from roco_search.system.files import sha256
from roco_search.system.seals import Seal, read_record, write_record

if TYPE_CHECKING:
    from roco_search.models.checkpoint import Checkpoint, Tensor


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


FORMAT = 2  # 2: with seals.
Tower = Literal["text", "image"]
Form = Literal["fp32", "int8", "dynamic"]
"""fp32; weights in 8 bits by blocks; weights in 8 bits by channel and activations with one scale a call."""


@dataclass(frozen=True, slots=True)
class Texts:
    """How texts become token ids: see `TextTokenizer`; `masked` if the tower takes an attention mask."""

    max_length: int
    pad_id: int
    pad_to_max: bool
    masked: bool


@dataclass(frozen=True, slots=True)
class Compiled:
    """One form of one tower.

    Attributes
    ----------
    folder
        The folder of its files.
    fingerprint
        Of the checkpoint that it was made from.
    tower, form
        What it is.
    cosine
        The least cosine similarity to torch in fp32 that was found when it was made.
    seals, hashes
        By file name; the graph is the first.
    weights
        By initialiser, the name of the checkpoint's tensor that it is; these are mapped, not copied.
    texts
        Of a text tower, how its texts are prepared.
    """

    folder: Path
    fingerprint: str
    tower: Tower
    form: Form
    cosine: float
    seals: dict[str, Seal]
    hashes: dict[str, str]
    weights: dict[str, str]
    texts: Texts | None

    @classmethod
    def find(cls, fingerprint: str, tower: Tower, form: Form) -> Compiled | None:
        """Return what the cache has, or None if it has nothing, or nothing whole."""
        folder = folder_of(fingerprint)
        content = read_record(folder / f"{tower}-{form}.json")
        if content is None or content.pop("format") != FORMAT:
            return None
        texts, seals = content.pop("texts"), content.pop("seals")
        found = cls(
            folder=folder,
            texts=Texts(**texts) if texts else None,
            seals={name: Seal(**seal) for name, seal in seals.items()},
            **content,
        )
        same = (found.fingerprint, found.tower, found.form) == (fingerprint, tower, form)
        return found if same and all(seal.holds(folder / name) for name, seal in found.seals.items()) else None

    def check(self) -> bool:
        """Whether every file is, byte for byte, what was written."""
        with suppress(OSError):
            return all(sha256(self.folder / name) == digest for name, digest in self.hashes.items())
        return False

    def write(self) -> None:
        """Put the manifest into its place. Raises OSError."""
        content = {key: value for key, value in asdict(self).items() if key != "folder"}
        write_record(self.folder / f"{self.tower}-{self.form}.json", {"format": FORMAT, **content})

    def open(self, tensors: Mapping[str, Tensor], *, threads: int | None = None) -> Any:
        """Return a session.

        Parameters
        ----------
        tensors
            The position of each of the checkpoint's weights.
        threads
            See `session.options`.

        Raises
        ------
        Exception
            Whatever onnxruntime raises; its classes share no public base. KeyError if a weight is not there.
        """
        chosen = options(threads=threads, ready=self.form != "fp32")
        held = give_weights(chosen, self.weights, tensors)
        return session(self.folder / next(iter(self.hashes)), chosen, held)


def folder_of(fingerprint: str) -> Path:
    """Return the folder of a checkpoint's compiled towers."""
    return cache_directory() / "compiled" / fingerprint[:32]


def give_weights(chosen: Any, weights: Mapping[str, str], tensors: Mapping[str, Tensor]) -> list[Any]:
    """Let a session read these initialisers from the checkpoint's mapped files; what is returned has to outlive it."""
    if not weights:
        return []
    onnxruntime = onnxruntime_module()
    kinds = {"F32": np.float32, "F16": np.float16}
    held = [
        onnxruntime.OrtValue.ortvalue_from_numpy(
            np.memmap(tensor.file, kinds[tensor.dtype], "r", offset=tensor.start, shape=tensor.shape)
        )
        for tensor in (tensors[name] for name in weights.values())
    ]
    chosen.add_external_initializers(list(weights), held)
    return held


def beside(checkpoint: Checkpoint, tower: Tower) -> Path | None:
    """Return the graph beside a checkpoint's weights, as the embedded model has; None unless both towers have one."""
    both = [checkpoint.directory / f"{name}.onnx" for name in ("text", "image")]
    return checkpoint.directory / f"{tower}.onnx" if all(graph.is_file() for graph in both) else None


def runnable(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint has a compiled text tower, beside its weights or in the cache."""
    return beside(checkpoint, "text") is not None or available(checkpoint)


def has_image_tower(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint has a compiled image tower, beside its weights or in the cache."""
    return beside(checkpoint, "image") is not None or bool(Compiled.find(checkpoint.fingerprint, "image", "fp32"))


def available(checkpoint: Checkpoint) -> bool:
    """Return whether the cache has a text tower of this checkpoint in fp32."""
    return folder_of(checkpoint.fingerprint).is_dir() and bool(Compiled.find(checkpoint.fingerprint, "text", "fp32"))
