"""Fetch a model from the hub: whole, at one commit, without code or pickles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from roco_search.errors import InputError, ModelNotFound, UnsupportedModel
from roco_search.hub.download import Listing, RemoteFile, fetch_files, list_model, open_offer
from roco_search.models.catalogue import installed, registry
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.families import FAMILIES
from roco_search.system.files import sha256
from roco_search.system.progress import Progress

_OTHERWISE = (
    "What has come so far is kept. Where there is no network, use 'roco model export' on a machine that has one and "
    "'roco model import' here."
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_CONVERTER = "SFconvertbot"  # the hub's own, which offers a safetensors copy as a pull request


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought. ``revision`` is the commit; ``already`` where nothing had to be fetched."""

    name: str
    repository: str
    revision: str
    directory: Path
    bytes: int
    licence: str | None
    fingerprint: str
    already: bool


def pull(
    name: str, revision: str | None = None, *, endpoint: str | None = None, progress: Progress | None = None
) -> Pulled:
    """Fetch a model from the hub into `installed.models_directory`.

    What is here already stays at its commit, and the network is not touched, unless ``revision`` names another or a
    file has been altered. An interrupted pull leaves nothing that could be taken for a model; the next one continues
    where it stopped.

    Parameters
    ----------
    name : of the catalogue, or ``org/name`` on the hub.
    revision : a branch, tag, commit or ``refs/pr/N``; the main branch without it.
    endpoint : of the hub, ``HF_ENDPOINT`` without it, ``https://huggingface.co`` without either.
    progress : is given the total number of bytes and the number received.

    Raises
    ------
    ModelNotFound, UnsupportedModel, HubError, StorageFull, InputError
    """
    name = registry.canonical(name)
    repository = _repository(name)
    here = installed.installed(name)
    manifest = installed.read_manifest(here) if here else None
    if here and manifest and revision is None:
        if manifest.revision and installed.is_whole(here, manifest):
            return _pulled(manifest, here, already=True)
        revision = manifest.revision
    listing = list_model(repository, revision, _OTHERWISE, endpoint)
    files, commit = _choose(listing), listing.commit
    if here and manifest and manifest.revision == commit and installed.is_whole(here, manifest):
        return _pulled(manifest, here, already=True)
    with installed.staging(name, commit) as staged, installed.speaking_of(repository, staged):
        try:
            came = lambda file: _check_family(repository, staged) if file.name == "config.json" else None  # noqa: E731
            fetch_files(listing, files, staged, progress, came)
            checkpoint = Checkpoint.open(name, staged)
        except UnsupportedModel:
            installed.clear_staging(name)  # whatever else came of it would be of no use
            raise
        manifest = installed.Manifest(
            name=name,
            fingerprint=checkpoint.fingerprint,
            repository=repository,
            revision=commit,
            licence=listing.licence,
            pulled=datetime.now(UTC).strftime("%Y-%m-%d"),
            files={f.name: installed.FileFact(f.size, sha256(staged / f.name)) for f in files},
        )
        (staged / installed.MANIFEST).write_text(manifest.to_json(), "utf-8")
        directory = installed.install(staged, name)
        installed.clear_staging(name)
    return _pulled(manifest, directory, already=False)


def _pulled(manifest: installed.Manifest, directory: Path, *, already: bool) -> Pulled:
    return Pulled(
        manifest.name,
        manifest.repository or "",
        manifest.revision or "",
        directory,
        sum(fact.size for fact in manifest.files.values()),
        manifest.licence,
        manifest.fingerprint,
        already,
    )


def _repository(name: str) -> str:
    registry.check_loadable(name)
    if name == registry.DEFAULT:
        raise InputError(f"{name} is part of roco; there is nothing to pull.")
    entry = registry.entries().get(name)
    if entry and entry.repository:
        return entry.repository
    if not installed.is_name(name) or "/" not in name:
        raise ModelNotFound(
            f"There is no model {name!r} in the catalogue ({', '.join(registry.entries())}); for another one write "
            "its org/name on the hub."
        )
    return name


def _choose(listing: Listing) -> list[RemoteFile]:
    """Return the files to fetch, the small ones first. Refuses what could not be loaded before a byte of it comes."""
    repository, names = listing.request.repository, listing.names
    if "config.json" not in names:
        kind = "an open_clip checkpoint" if "open_clip_config.json" in names else "not in transformers' layout"
        raise UnsupportedModel(f"{repository} is {kind}, which cannot be loaded; {registry.INSTEAD}.")
    if installed.WEIGHTS not in names and installed.WEIGHTS_INDEX not in names:
        if any(name.endswith(_PICKLES) for name in names):
            raise UnsupportedModel(
                f"{repository} has its weights only as a pickle, which can run code when it is opened; "
                f"{_converted(listing)}."
            )
        raise UnsupportedModel(f"{repository} has no weights in safetensors; {registry.INSTEAD}.")
    single = installed.WEIGHTS in names
    files = [
        listing.file(name)
        for name in names
        if installed.belongs_to_a_model(name)
        and not (single and (name == installed.WEIGHTS_INDEX or installed.is_shard(name)))
    ]
    return sorted(files, key=lambda file: (file.size, file.name))


def _converted(listing: Listing) -> str:
    """Return the remedy for a repository of pickles: the copy that the hub's converter offers, where there is one."""
    if (offer := open_offer(listing, _CONVERTER, "safetensors")) is not None:
        return f"the hub's own converter offers a safetensors copy, so add --revision refs/pr/{offer}"
    return "convert it with transformers' save_pretrained on a machine you trust, and give that folder as the model"


def _check_family(repository: str, staged: Path) -> None:
    """Refuse a model of another kind before its weights come."""
    family = Checkpoint(repository, staged).family
    if family not in FAMILIES:
        raise UnsupportedModel(
            f"{repository} is a {family or 'nameless'!r} model, which cannot be loaded; the families that can: "
            f"{', '.join(FAMILIES)}."
        )
