"""Taking a model off this disk: only what roco itself has put there, and never the one that new libraries take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roco_search.errors import InputError, ModelNotFound
from roco_search.hub.client import cached_snapshot
from roco_search.models.catalogue import installed, registry
from roco_search.system import user_config


@dataclass(frozen=True, slots=True)
class Removed:
    """A model that is gone, the bytes that its files took, and whether new libraries took it until now."""

    name: str
    bytes: int
    was_default: bool


def remove_model(name: str, *, force: bool = False) -> Removed:
    """Delete a pulled or imported model, with whatever an unfinished pull has left of it.

    Raises
    ------
    InputError
        If it is the embedded model, a folder of the person's own, a model of the shared Hugging Face cache, or,
        without ``force``, the model of new libraries.
    ModelNotFound
        If it is not on this disk.
    """
    name = registry.canonical(name)
    if name == registry.DEFAULT:
        raise InputError(f"{name} is part of roco and cannot be removed; 'pip uninstall roco-search' removes both.")
    if not installed.installed(name) and not installed.has_staging(name):
        raise _not_ours(name)
    was_default = registry.canonical(registry.default()) == name
    if was_default and not force:
        raise InputError(
            f"{name} is the model of new libraries; run 'roco model use {registry.DEFAULT}' first, or add --force."
        )
    freed = installed.uninstall(name)
    kept = user_config.read_settings()
    if kept.get("model") == name:
        user_config.write_settings({key: value for key, value in kept.items() if key != "model"})
    return Removed(name, freed, was_default)


def _not_ours(name: str) -> InputError | ModelNotFound:
    entry = registry.entries().get(name)
    repository = entry.repository if entry and entry.repository else name
    if cached_snapshot(repository):
        return InputError(
            f"{name} is in the Hugging Face cache, which other programs share; 'hf cache rm model/{repository}' "
            "removes it there."
        )
    if Path(name).expanduser().is_dir():
        return InputError(f"{name} is a folder of your own; delete it yourself.")
    return ModelNotFound(f"{name} is not among the models that were pulled or imported; see 'roco model list'.")
