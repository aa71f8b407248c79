"""Autotuning of the image tower: the engine that a short measurement finds fastest on this machine.

Before the first image of a run is embedded, every engine (`engines`) embeds a few prepared images. The fastest of those
whose embeddings equal onnxruntime's in fp32 within `EQUAL` embeds all images; lower precision is taken only where it is
asked for. What was found is kept in the cache, by machine and model, so that later runs start with it.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roco_search.errors import UnsupportedModel
from roco_search.models.cache import private_folder
from roco_search.models.compiling.engines import ImageTower, Run, forms_of, processor_flags, processor_name
from roco_search.models.compiling.towers import folder_of
from roco_search.system.process import cores
from roco_search.system.seals import read_record, write_record

if TYPE_CHECKING:
    from roco_search.models.checkpoint import Checkpoint

EQUAL = 1e-5
"""The greatest difference to fp32 in any element of an embedding with which an engine counts as exact."""
FAITHFUL = 0.995
"""The least cosine similarity to fp32 with which a form of lower precision is taken."""
ROUNDS = 2
FORMAT = 3

logger = logging.getLogger("roco")


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found of one form: images a second, greatest difference to fp32, and least cosine similarity to it."""

    rate: float
    difference: float
    cosine: float


class Autotune:
    """Chooses how the images of one model are embedded on this machine.

    Parameters
    ----------
    checkpoint
        The model, compiled.
    exact
        Its image tower in onnxruntime and fp32, against which the others are compared.
    """

    def __init__(self, checkpoint: Checkpoint, exact: Run) -> None:
        self._checkpoint, self._exact = checkpoint, exact

    def engine(self, wanted: str = "auto") -> str:
        """Return the engine that embeds images in fp32: the one that is wanted, or the fastest.

        Raises
        ------
        UnsupportedModel
            If the wanted engine is not installed, does not run the model, or does not equal fp32.
        """
        if wanted == "auto":
            return choose_exact(self.measured(fast=False, every=False))
        found = self.measured(fast=False, only=wanted).get(wanted)
        if found is None:
            raise UnsupportedModel(f"{wanted} is not installed here or cannot run {self._checkpoint.name}; {_REMEDY}.")
        if found.difference > EQUAL:
            raise UnsupportedModel(
                f"{wanted} embeds the images of {self._checkpoint.name} differently from fp32 here (by "
                f"{found.difference:.1e}); {_REMEDY}."
            )
        return wanted

    def fast_form(self) -> str:
        """Return the fastest form of lower precision that is faithful, or "fp32" where fp32 is as fast."""
        exact = self.measured(fast=False, every=False)
        return choose_fast(self.measured(fast=True), exact[choose_exact(exact)].rate)

    def measured(self, *, fast: bool, only: str | None = None, every: bool = True) -> dict[str, Measured]:
        """Return what is recorded of each form; what is not yet is measured now.

        Parameters
        ----------
        fast
            Whether the forms in bf16 and int8 are meant, or those in fp32.
        only
            One form; None for all.
        every
            Without it torch is left out where OpenVINO is installed: importing it takes two seconds, and it was at no
            time the faster of the two.
        """
        known = _read(self._checkpoint)
        forms = forms_of(self._checkpoint, fast=fast)
        if only is not None:
            forms = {name: load for name, load in forms.items() if name == only}
        elif not every and "openvino" in forms:
            forms.pop("torch", None)
        missing = {name: load for name, load in forms.items() if name not in known}
        if missing:
            known |= self._measure(missing)
            self._write(known)
        return {name: found for name in forms if (found := known.get(name)) is not None}

    def _measure(self, forms: dict[str, Callable[[], Run]]) -> dict[str, Measured | None]:
        """Run forms in turn on prepared images; None stands for one that cannot be run."""
        pixels = self._pixels()
        exact = self._exact(np.stack(pixels))
        towers: dict[str, ImageTower] = {}
        found: dict[str, tuple[float, float]] = {}
        for name, load in forms.items():
            try:
                tower = ImageTower(load())
                embedded = tower(pixels, np.stack)
                found[name] = float(np.abs(embedded - exact).max()), float((embedded * exact).sum(axis=1).min())
                towers[name] = tower
            except Exception as error:  # of torch, onnxruntime or OpenVINO: what cannot be run is not taken
                logger.debug("%s cannot be run here (%s)", name, type(error).__name__)
        rates = dict.fromkeys(towers, 0.0)
        for _ in range(ROUNDS):
            for name, tower in towers.items():
                started = time.perf_counter()
                tower(pixels, np.stack)
                rates[name] = max(rates[name], len(pixels) / max(time.perf_counter() - started, 1e-9))
        return {name: Measured(rates[name], *found[name]) if name in towers else None for name in forms}

    def _pixels(self) -> list[np.ndarray]:
        """Return noise in the shape of prepared images: speed does not depend on what they show."""
        size = self._checkpoint.image_size
        return list(np.random.default_rng(0).normal(size=(4 * min(cores(), 8), 3, size, size)).astype(np.float32))

    def _write(self, known: dict[str, Measured | None]) -> None:
        measured = {name: asdict(found) if found else None for name, found in known.items()}
        place = _place(self._checkpoint)
        with suppress(OSError):  # A full or read-only disk only costs the time of measuring again.
            private_folder(place.parent)
            write_record(place, {"format": FORMAT, "machine": machine(), "measured": measured})


def recorded(checkpoint: Checkpoint) -> dict[str, Measured]:
    """Return what this machine has measured of a model's image tower; nothing is measured now."""
    return {name: found for name, found in _read(checkpoint).items() if found is not None}


def _read(checkpoint: Checkpoint) -> dict[str, Measured | None]:
    record = read_record(_place(checkpoint))
    if record is None or record["format"] != FORMAT or record["machine"] != machine():
        return {}
    return {name: Measured(**found) if found else None for name, found in record["measured"].items()}


def _place(checkpoint: Checkpoint) -> Path:
    return folder_of(checkpoint.fingerprint) / "image-engines.json"


_REMEDY = "leave `engine` out for the fastest that does"


def choose_exact(measured: dict[str, Measured]) -> str:
    """Return the fastest engine whose embeddings equal fp32; "onnxruntime" where none could be measured."""
    equal = {name: found for name, found in measured.items() if found.difference <= EQUAL}
    return max(equal, key=lambda name: equal[name].rate, default="onnxruntime")


def choose_fast(measured: dict[str, Measured], exact: float) -> str:
    """Return the fastest form that is faithful, or "fp32" where none is faster than the best `exact` rate."""
    faithful = {name: found for name, found in measured.items() if found.cosine >= FAITHFUL}
    best = max(faithful, key=lambda name: faithful[name].rate, default="fp32")
    return best if best in faithful and faithful[best].rate > exact else "fp32"


def machine() -> dict[str, str | int]:
    """Return what a measurement belongs to: processor, cores and versions."""
    return {
        "processor": processor_name() or platform.machine(),
        "flags": " ".join(sorted(processor_flags() & _TELLING)),
        "cores": cores(),
        **versions(("torch", "onnxruntime", "openvino")),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


_TELLING = {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8", "asimddp", "bf16"}
