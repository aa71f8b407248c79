"""Autotuning of the image tower: fp32, bf16 or int8, whichever a short benchmark finds fastest on this machine.

The first images of a long run are embedded in fp32. After `AFTER` of them, one batch is embedded in each form that this
machine can run; the fastest form whose embeddings keep a cosine of `FAITHFUL` to fp32 embeds the rest. The choice is
kept in the cache, so that the next long run starts with it.
"""

from __future__ import annotations

import json
import logging
import platform
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from roco_search.models.compiling.cache import private_folder
from roco_search.models.compiling.towers import folder_of
from roco_search.models.families import FAMILIES
from roco_search.system.files import write_file
from roco_search.system.process import wait_passively

if TYPE_CHECKING:
    from roco_search.models.checkpoint import Checkpoint

AFTER = 96  # Images of a run before another form is worth its loading: torch alone takes two seconds.
AT_ONCE = 256  # Images expected from which a recorded form is loaded before the first of them.
FAITHFUL = 0.995  # The least cosine similarity to fp32, over the images that it was measured on.
GAIN = 1.2  # The least speed of a form relative to fp32 with which it is worth using.
ROUNDS = 2
FORMAT = 2

Run = Callable[[np.ndarray], np.ndarray]

logger = logging.getLogger("roco")


class Loading:
    """A form that is being loaded on a daemon thread, which does not delay the end of a program that never needs it."""

    def __init__(self, load: Callable[[], Run]) -> None:
        self._load = load
        self._thread = threading.Thread(target=self._go, name="roco-load", daemon=True)
        self._thread.start()

    def _go(self) -> None:
        self._run = self._load()

    def result(self) -> Run:
        """Wait for it."""
        self._thread.join()
        return self._run


class ImagePlan:
    """Embeds prepared images in the form that was found fastest.

    Parameters
    ----------
    checkpoint
        The model.
    exact
        Its image tower in fp32: float32 ``(n, 3, height, width)`` to float32 ``(n, dim)`` of unit norm.
    """

    def __init__(self, checkpoint: Checkpoint, exact: Run) -> None:
        self._checkpoint, self._exact = checkpoint, exact
        self._seen = 0
        self._run: Run | None = None
        self._loading: Loading | None = None

    def expect(self, images: int) -> None:
        """Announce how many images are about to come: a recorded form is then loaded while the first are read."""
        if images >= AT_ONCE and not self._seen and (form := self.recorded()):
            self._loading = Loading(lambda: self._load(form))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Embed float32 ``(n, 3, height, width)`` as float32 ``(n, dim)`` of unit norm."""
        if self._loading is not None:
            self._run, self._loading = self._loading.result(), None
        self._seen += len(pixels)
        if self._run is None and self._seen > AFTER:
            self._run = self._load(self.recorded() or self.measure(pixels))
        run = self._run or self._exact
        return run(pixels)

    def _load(self, form: str) -> Run:
        try:
            return self.forms[form]()
        except Exception as error:  # of torch or onnxruntime
            logger.warning("%s cannot be run here (%s); fp32 is used.", form, type(error).__name__)
            return self._exact

    @cached_property
    def forms(self) -> dict[str, Callable[[], Run]]:
        """What this machine may run, by name; each is loaded by calling it."""
        forms: dict[str, Callable[[], Run]] = {"fp32": lambda: self._exact}
        if "avx512_bf16" in processor_flags() or "amx_bf16" in processor_flags():
            forms["bf16"] = self._bfloat16
        if processor_flags() & {"avx512_vnni", "avx_vnni", "asimddp"}:
            forms["int8"] = self._int8
        return forms

    def _bfloat16(self) -> Run:
        wait_passively()
        if FAMILIES[self._checkpoint.family].embedded:
            from roco_search.models.roco_mini.bfloat16 import Bfloat16Tower

            return Bfloat16Tower(self._checkpoint)
        from roco_search.models.torch_encoder import TorchEncoder

        return TorchEncoder(self._checkpoint, "cpu", "bf16").encode_prepared

    def _int8(self) -> Run:
        from roco_search.models.compiling.compiler import small_image

        opened = small_image(self._checkpoint)
        return lambda pixels: np.asarray(opened.run(None, {"pixel_values": pixels})[0])

    def recorded(self) -> str | None:
        """Return the form that was chosen earlier, on this machine and with these versions, or None."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            record = json.loads(self._place.read_bytes())
            if record["format"] == FORMAT and record["machine"] == machine() and record["chosen"] in self.forms:
                return str(record["chosen"])
        return None

    def measure(self, pixels: np.ndarray) -> str:
        """Run every form in turn on prepared images, record what was found, and return the form to use."""
        exact = self._exact(pixels)
        rates: dict[str, float] = {}
        cosines: dict[str, float] = {}
        runs: dict[str, Run] = {}
        for name, load in self.forms.items():
            try:
                runs[name] = load()
                cosines[name] = float((runs[name](pixels) * exact).sum(axis=1).min())
            except Exception as error:  # of torch or onnxruntime: what cannot be run is not taken
                logger.debug("%s cannot be run here (%s)", name, type(error).__name__)
                runs.pop(name, None)
        for _ in range(ROUNDS):
            for name, run in runs.items():
                started = time.perf_counter()
                run(pixels)
                rate = len(pixels) / max(time.perf_counter() - started, 1e-9)
                rates[name] = max(rates.get(name, 0), rate)
        chosen = choose(rates, cosines)
        record = {"format": FORMAT, "machine": machine(), "chosen": chosen, "rates": rates, "cosines": cosines}
        with suppress(OSError):
            private_folder(self._place.parent)
            write_file(self._place, json.dumps(record, indent=1))
        return chosen

    @property
    def _place(self) -> Any:
        return folder_of(self._checkpoint.fingerprint) / "image-plan.json"


def choose(rates: dict[str, float], cosines: dict[str, float]) -> str:
    """Return the fastest form that is faithful, or "fp32" where none is faster by `GAIN`.

    Parameters
    ----------
    rates
        Images a second, by form; "fp32" is among them.
    cosines
        The least cosine similarity to fp32, by form.
    """
    faithful = {name: rate for name, rate in rates.items() if cosines[name] >= FAITHFUL}
    best = max(faithful, key=lambda name: faithful[name], default="fp32")
    return best if faithful.get(best, 0) >= GAIN * rates["fp32"] else "fp32"


def machine() -> dict[str, str]:
    """Return what a measurement belongs to."""
    from importlib.metadata import version

    return {
        "processor": platform.machine(),
        "flags": " ".join(sorted(processor_flags() & _TELLING)),
        **{name: version(name) for name in ("torch", "onnxruntime")},
    }


_TELLING = {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8", "asimddp", "bf16"}


def processor_flags() -> frozenset[str]:
    """Return what the processor can do, by Linux's names; empty elsewhere."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(("flags", "Features")):
                return frozenset(line.partition(":")[2].split())
    return frozenset()
