"""Whether a checkpoint belongs to this run: the same model, data and settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from roco_search.errors import TrainingError
from roco_search.pairs.pair import PairSet

if TYPE_CHECKING:
    from .run import Run

# What a run may be resumed with otherwise: it then is the same training, but no longer the same bits.
_INCIDENTAL = {"threads": "the number of threads", "torch": "the version of torch", "precision": "the arithmetic"}
# How often something is written or looked at does not change what is learned.
_FREE = frozenset({"checkpoint_every"})


def identity(run: Run) -> dict[str, Any]:
    """Return what makes a run this run, in numbers and texts."""
    return {
        "base": run.base_fingerprint,
        "train": digest(run.data.train),
        "validation": digest(run.data.validation),
        "settings": run.settings.to_dict(),
        "processes": run.world.size,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__.partition("+")[0],
        "precision": run.encoder.precision,
    }


def digest(pairs: PairSet) -> str:
    """Return a hash of the order, the captions and the file names of a split; 16 hex digits."""
    found = hashlib.sha256()
    for pair in pairs.pairs:
        name = pair.picture.name.replace("\\", "/").rpartition("/")[2]  # a data set may be moved between two runs
        found.update(f"{name}\0{pair.caption}\0{sorted(pair.captions)}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()[:16]


def refuse_other(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return what a person should know of resuming; raise `TrainingError` where it would be another training."""
    for key, name in (("base", "another model"), ("train", "other training pairs"), ("validation", "another split")):
        if there.get(key) != here[key]:
            raise TrainingError(
                f"The checkpoint belongs to a run with {name}; give what that run had, or choose another --output."
            )
    before = there.get("settings", {})
    changed = [k for k, v in here["settings"].items() if k not in _FREE and before.get(k, v) != v]
    if there.get("processes") != here["processes"]:
        changed.append("processes")
    if changed:
        told = ", ".join(f"{name.replace('_', '-')} was {before.get(name, there.get(name))}" for name in changed)
        raise TrainingError(f"The checkpoint belongs to a run in which {told}; set that, or choose another --output.")
    other = [name for key, name in _INCIDENTAL.items() if there.get(key) != here[key]]
    return [f"Note: {', '.join(other)} changed, so the result will not be the same to the bit."] if other else []
