"""Names of models, and where on this disk they are. Nothing here opens a network connection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from roco_search.errors import ModelNotFound, UnsupportedModel
from roco_search.models.checkpoint import Checkpoint

DEFAULT = "roco-mini"
EMBEDDED = Path(__file__).parents[1] / "roco_mini"
INSTEAD = "take clip-roco, or medsiglip, which asks for its terms to be accepted"


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A published figure: recall@k in per cent, by k. See ``catalogue.toml``.

    ``pool`` is the number of candidates, None where its publisher does not state it.
    """

    images: str
    direction: str
    recall: Mapping[str, float]
    word: str
    pool: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A published encoder that can be loaded once it is on this disk. What is not known is None.

    All of it is its publisher's statement, except for the embedded model: see ``catalogue.toml``.
    """

    name: str
    good_at: str
    repository: str | None = None
    licence: str | None = None
    download_bytes: int | None = None
    image_size: int | None = None
    dim: int | None = None
    text_length: int | None = None
    layout: str = "transformers"
    gated: bool = False
    baseline: bool = False
    aliases: tuple[str, ...] = ()
    obtain: str | None = None
    weights: str | None = None
    quick_gelu: bool = True
    image_tower: str | None = None
    modalities: tuple[str, ...] = ()
    ct_windows: tuple[tuple[float, float], ...] = ()
    retrieval: tuple[Retrieval, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A published encoder that people ask for and that cannot be loaded."""

    name: str
    because: str
    repository: str | None = None


@cache
def entries() -> Mapping[str, Entry]:
    """Return the catalogue, the embedded model first."""
    models = {}
    for name, facts in _data()["models"].items():
        figures = tuple(Retrieval(**figure) for figure in facts.pop("retrieval", ()))
        models[name] = Entry(name, **{**facts, **_tuples(facts)}, retrieval=figures)
    return MappingProxyType(models)


def _tuples(facts: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(facts.get(key, ())) for key in ("aliases", "modalities")}


@cache
def refused() -> Mapping[str, Refused]:
    """Return the models that are known not to load, by their names and their repositories, in lower case."""
    models = [Refused(name, **facts) for name, facts in _data()["refused"].items()]
    by_repository = {model.repository.lower(): model for model in models if model.repository}
    return MappingProxyType({model.name: model for model in models} | by_repository)


def default() -> str:
    """Return the model of new libraries: ``ROCO_MODEL``, else what `use` has set, else the embedded one."""
    from roco_search.system import user_config

    return os.environ.get("ROCO_MODEL") or str(user_config.read_settings().get("model") or DEFAULT)


def use(name_or_path: str | Path) -> str:
    """Make a model that is on this disk the one of new libraries, and return its name.

    Raises `ModelNotFound` and `UnsupportedModel`, and `InputError` where the settings cannot be written.
    """
    from roco_search.system import user_config

    name = find(name_or_path).name
    kept = {key: value for key, value in user_config.read_settings().items() if key != "model"}
    user_config.write_settings(kept if name == DEFAULT else {**kept, "model": name})
    return name


def canonical(name: str) -> str:
    """Return the catalogue's name for a repository or another name of a model, in any case; else the name."""
    asked = name.lower()
    for entry in entries().values():
        if asked in (entry.name, (entry.repository or "").lower(), *entry.aliases):
            return entry.name
    return name


def find(name_or_path: str | Path) -> Checkpoint:
    """Find a model on this disk.

    A name is looked for among the embedded, the pulled and the imported models, then as a folder, then in the local
    Hugging Face cache. A name of the catalogue is never a folder: write ``./clip`` for a folder that is called so.

    Raises
    ------
    ModelNotFound
        With what there is, and with the command that brings it.
    UnsupportedModel
        Where it cannot be loaded.
    """
    given = str(name_or_path)
    if given == DEFAULT:
        return Checkpoint.open(DEFAULT, EMBEDDED)
    from roco_search.models.catalogue import installed

    name = canonical(given)
    if directory := installed.installed(name):
        return Checkpoint.open(name, directory)
    entry = entries().get(name)
    path = Path(given).expanduser()
    if path.is_dir() and given not in entries():
        return Checkpoint.open(str(path.resolve()), path.resolve())
    from roco_search.hub.client import cached_snapshot

    if directory := cached_snapshot(entry.repository if entry and entry.repository else name):
        return Checkpoint.open(name, directory)
    check_loadable(name)
    if entry and entry.obtain:
        raise ModelNotFound(f"{entry.name} is not on this disk, and cannot be pulled: {how_to_obtain(entry)}")
    if entry:
        meant = f" If you mean the folder, write ./{given}." if path.is_dir() else ""
        raise ModelNotFound(
            f"{name} ({entry.repository}) is not on this disk. Run 'roco model pull {name}' where there is a network; "
            f"'roco model export' and 'import' carry it to where there is none.{meant}"
        )
    pull = f" 'roco model pull {name}' fetches it if the hub has it." if "/" in name and installed.is_name(name) else ""
    if path.is_absolute():
        raise ModelNotFound(
            f"There is no model in {given}. If that folder was moved, name the new one: a library that was made with "
            "the model goes on after `roco library relocate --model FOLDER`."
        )
    raise ModelNotFound(
        f"There is no model {given!r}: not a folder, not a name of the catalogue ({', '.join(entries())}), "
        f"and not in the local hub cache.{pull}"
    )


def how_to_obtain(entry: Entry) -> str:
    """Say why a model cannot be pulled, and how it is brought here otherwise."""
    return f"{entry.obtain}; give what you download to 'roco model import PATH --name {entry.name}'."


def check_loadable(name: str) -> None:
    """Raise `UnsupportedModel` for a model that is known not to load, with what to use."""
    if known := refused().get(name.lower()):
        raise UnsupportedModel(f"{known.name} cannot be loaded, because {known.because}; {INSTEAD}.")


def _data() -> dict[str, dict[str, dict[str, Any]]]:
    import tomllib

    return tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text("utf-8"))
