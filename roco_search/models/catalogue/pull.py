"""Fetch a model from the hub: whole, at one commit, without code; what was published as a pickle is converted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from roco_search.errors import InputError, ModelNotFound, UnsupportedModel
from roco_search.hub.download import Listing, RemoteFile, fetch_files, list_model
from roco_search.models.catalogue import installed, registry
from roco_search.models.catalogue.conversion import PICKLED, Published, check_open_clip, convert
from roco_search.models.checkpoint import PREPROCESSOR_FILES, TOKENIZER_FILES, Checkpoint, read_json
from roco_search.models.families import FAMILIES
from roco_search.models.open_clip import layout
from roco_search.system.files import sha256
from roco_search.system.progress import Progress

_OTHERWISE = (
    "What has come so far is kept. Where there is no network, use 'roco model export' on a machine that has one and "
    "'roco model import' here."
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")


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

    Weights in safetensors are taken where there are any. A pickle, and a checkpoint of open_clip, is converted, and not
    kept; a tokenizer that open_clip takes from another repository is fetched too, and the card says so.

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
    described = registry.entries().get(name)
    files, commit = _choose(listing, described), listing.commit
    if here and manifest and manifest.revision == commit and installed.is_whole(here, manifest):
        return _pulled(manifest, here, already=True)
    with installed.staging(name, commit) as staged, installed.speaking_of(repository, staged):
        try:
            if weights := next((file for file in files if _has_to_be_converted(file.name)), None):
                made = staged / "model"
                checkpoint = _fetch_and_convert(name, listing, files, weights, staged, progress, endpoint)
            else:
                made = staged
                came = lambda file: _check_family(repository, staged) if file.name == "config.json" else None  # noqa: E731
                fetch_files(listing, files, staged, progress, came)
                _state_ct_windows(name, staged)
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
            files={f.name: installed.FileFact(f.stat().st_size, sha256(f)) for f in sorted(made.iterdir())},
        )
        (made / installed.MANIFEST).write_text(manifest.to_json(), "utf-8")
        directory = installed.install(made, name)
        installed.clear_staging(name)
    return _pulled(manifest, directory, already=False)


def _has_to_be_converted(file: str) -> bool:
    """Whether a file has weights that transformers cannot load, in another layout or as a pickle."""
    return file in layout.WEIGHTS or file.endswith(_PICKLES)


def _fetch_and_convert(
    name: str,
    listing: Listing,
    files: list[RemoteFile],
    weights: RemoteFile,
    staged: Path,
    progress: Progress | None,
    endpoint: str | None,
) -> Checkpoint:
    """Fetch a checkpoint that has to be converted, and its tokenizer where another repository has it."""
    repository = listing.request.repository
    source, lent = staged / "source", staged / "tokenizer"
    shutil.rmtree(staged / "model", ignore_errors=True)  # of a conversion that was interrupted
    for folder in (source, lent):
        folder.mkdir(exist_ok=True)

    def came(file: RemoteFile) -> None:
        if file.name == layout.CONFIG:
            check_open_clip(repository, source / file.name)
        elif file.name == "config.json":
            _check_family(repository, source)

    fetch_files(listing, files, source, progress, came)
    if entry := _undescribed(files, registry.entries().get(name)):
        (source / layout.CONFIG).write_text(json.dumps({"quick_gelu": entry.quick_gelu}), "utf-8")
    published = Published(name, source / weights.name, source)
    if published.is_open_clip:
        other, tower = layout.text_source(read_json(source / layout.CONFIG))
        if tower or published.own_tokenizer() is None:
            origin = _fetch_tokenizer(repository, other, lent, endpoint)
            published = replace(published, tokenizer=lent, origin=origin)
    return convert(published, staged / "model")


def _fetch_tokenizer(repository: str, other: str, folder: Path, endpoint: str | None) -> str:
    """Fetch the tokenizer and the ``config.json`` of a text tower; return its repository and commit."""
    if not installed.is_name(other) or "/" not in other:
        shown = other[:80].encode("unicode_escape").decode("ascii")
        raise UnsupportedModel(f"{repository} takes its tokenizer from {shown}, which is no repository of the hub.")
    listing = list_model(other, None, _OTHERWISE, endpoint)
    fetch_files(listing, [listing.file(n) for n in listing.names if n in ("config.json", *TOKENIZER_FILES)], folder)
    return f"{other} at commit {listing.commit}"


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
    if entry and entry.obtain:
        raise ModelNotFound(f"{name} cannot be pulled: {registry.how_to_obtain(entry)}")
    if entry and entry.repository:
        return entry.repository
    if not installed.is_name(name) or "/" not in name:
        raise ModelNotFound(
            f"There is no model {name!r} in the catalogue ({', '.join(registry.entries())}); for another one write "
            "its org/name on the hub."
        )
    return name


def _undescribed(files: Iterable[RemoteFile], entry: registry.Entry | None) -> registry.Entry | None:
    """Return the entry of the catalogue where it has to take the place of a configuration that is not published."""
    names = {file.name for file in files}
    return entry if entry and entry.weights in names and layout.CONFIG not in names else None


def _choose(listing: Listing, entry: registry.Entry | None) -> list[RemoteFile]:
    """Return the files to fetch, the small ones first. Refuses what could not be loaded before a byte of it comes."""
    repository, names = listing.request.repository, listing.names
    whole = "config.json" in names and (installed.WEIGHTS in names or installed.WEIGHTS_INDEX in names)
    if not whole and layout.CONFIG in names:
        return _choose_published(listing, layout.CONFIG, layout.WEIGHTS)
    if not whole and entry and entry.weights in names:
        return _choose_published(listing, None, (entry.weights,))
    if not whole and {"config.json", PICKLED} <= set(names):
        return _choose_published(listing, "config.json", (PICKLED,))
    if not whole:
        if "config.json" not in names:
            raise UnsupportedModel(
                f"{repository} is not in transformers' layout, nor in open_clip's, so it cannot be loaded; "
                f"{registry.INSTEAD}."
            )
        if any(name.endswith(_PICKLES) for name in names):
            raise UnsupportedModel(
                f"{repository} has its weights only as pickles in several parts or of another program; convert it with "
                "transformers' save_pretrained on a machine you trust, and give that folder as the model."
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


def _choose_published(listing: Listing, config: str | None, weights: tuple[str, ...]) -> list[RemoteFile]:
    """Return the files of a checkpoint that has to be converted: one of weights, and all small ones."""
    found = next((name for name in weights if name in listing.names), None)
    if found is None:
        raise UnsupportedModel(
            f"{listing.request.repository} has a {config}, and no {' or '.join(weights)}; {registry.INSTEAD}."
        )
    small = [n for n in listing.names if installed.belongs_to_a_model(n) and not n.endswith(".safetensors")]
    kept = {n for n in (config, *small) if n and (n == config or n not in ("config.json", installed.WEIGHTS_INDEX))}
    files = [listing.file(name) for name in sorted(kept | {found})]
    return sorted(files, key=lambda file: (file.name == found, file.name != config, file.size, file.name))


def _state_ct_windows(name: str, folder: Path) -> None:
    """Add the catalogue's word on how a model takes CT to its ``preprocessor_config.json``, where nothing is said."""
    entry, file = registry.entries().get(name), folder / PREPROCESSOR_FILES[0]
    if entry and entry.ct_windows and file.is_file():
        stated = read_json(file)
        stated.setdefault("ct_windows", entry.ct_windows)
        file.write_text(json.dumps(stated, indent=2) + "\n", "utf-8")


def _check_family(repository: str, staged: Path) -> None:
    """Refuse a model of another kind before its weights come."""
    family = Checkpoint(repository, staged).family
    if family not in FAMILIES:
        raise UnsupportedModel(
            f"{repository} is a {family or 'nameless'!r} model, which cannot be loaded; the families that can: "
            f"{', '.join(FAMILIES)}."
        )
