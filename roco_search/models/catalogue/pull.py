"""``pull``: the one door to the network. A model comes from the hub whole, at one commit, without code or pickles.

The hub's library names the files, their sizes and their hashes, and lends its HTTP session (proxies, token, offline
switch). The files are fetched here, because that library throws an interrupted file away (since its version 2, see its
pull request 4228), while a model of gigabytes over a hospital's line has to go on where it stopped.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roco_search.errors import HubError, InputError, ModelNotFound, UnsupportedModel
from roco_search.hub.download import Progress, RemoteFile, fetch, transport_error
from roco_search.models.catalogue import installed as place
from roco_search.models.catalogue import names as catalog
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.families import FAMILIES
from roco_search.system.files import check_space, sha256

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

SECONDS_TO_ANSWER = 30
_ELSEWHERE = "free some space, or name another folder with ROCO_MODELS"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
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
    """Fetch a model from the hub into `place.models_directory`.

    What is here already stays at its commit, and the network is not touched, unless ``revision`` names another or a
    file has been altered. An interrupted pull leaves nothing that could be taken for a model; the next one goes on
    where it stopped.

    Parameters
    ----------
    name : of the catalogue, or ``org/name`` on the hub.
    revision : a branch, tag, commit or ``refs/pr/N``; the main branch without it.
    endpoint : of the hub, ``HF_ENDPOINT`` without it, ``https://huggingface.co`` without either.
    progress : is told how many bytes there are and how many have come.

    Raises
    ------
    ModelNotFound, UnsupportedModel, HubError, StorageFull, InputError
    """
    from huggingface_hub import HfApi

    name = catalog.canonical(name)
    repository = _repository(name)
    here = place.installed(name)
    manifest = place.read_manifest(here) if here else None
    if here and manifest and revision is None:
        if manifest.revision and place.is_whole(here, manifest):
            return _pulled(manifest, here, already=True)
        revision = manifest.revision
    api = HfApi(endpoint=(endpoint or os.environ.get("HF_ENDPOINT", "")).rstrip("/") or None)
    with _answers(repository, api.endpoint):
        info = api.model_info(repository, revision=revision, files_metadata=True, timeout=SECONDS_TO_ANSWER)
        files = _choose(info, api)
    commit = str(info.sha)
    if not _COMMIT.fullmatch(commit):
        raise HubError(f"{api.endpoint} does not say which commit it has of {repository}; use another endpoint.")
    if here and manifest and manifest.revision == commit and place.is_whole(here, manifest):
        return _pulled(manifest, here, already=True)
    with place.staging(name, commit) as staged, place.speaking_of(repository, staged):
        try:
            with _answers(repository, api.endpoint):
                _fetch_all(api, repository, commit, files, staged, progress)
            checkpoint = Checkpoint.open(name, staged)
        except UnsupportedModel:
            place.clear_staging(name)  # whatever else came of it would be of no use
            raise
        manifest = place.Manifest(
            name=name,
            fingerprint=checkpoint.fingerprint,
            repository=repository,
            revision=commit,
            licence=_licence(info),
            pulled=datetime.now(UTC).strftime("%Y-%m-%d"),
            files={f.name: place.FileFact(f.size, sha256(staged / f.name)) for f in files},
        )
        (staged / place.MANIFEST).write_text(manifest.to_json(), "utf-8")
        directory = place.install(staged, name)
        place.clear_staging(name)
    return _pulled(manifest, directory, already=False)


def _pulled(manifest: place.Manifest, directory: Path, *, already: bool) -> Pulled:
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
    catalog.check_loadable(name)
    if name == catalog.DEFAULT:
        raise InputError(f"{name} is part of roco; there is nothing to pull.")
    entry = catalog.entries().get(name)
    if entry and entry.repository:
        return entry.repository
    if not place.is_name(name) or "/" not in name:
        raise ModelNotFound(
            f"There is no model {name!r} in the catalogue ({', '.join(catalog.entries())}); for another one write "
            "its org/name on the hub."
        )
    return name


def _choose(info: ModelInfo, api: HfApi) -> list[RemoteFile]:
    """Return the files to fetch, the small ones first. Refuses what could not be loaded before a byte of it comes."""
    repository = info.id
    sizes = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    if "config.json" not in sizes:
        kind = "an open_clip checkpoint" if "open_clip_config.json" in sizes else "not in transformers' layout"
        raise UnsupportedModel(f"{repository} is {kind}, which cannot be loaded; {catalog.INSTEAD}.")
    if place.WEIGHTS not in sizes and place.WEIGHTS_INDEX not in sizes:
        if any(name.endswith(_PICKLES) for name in sizes):
            raise UnsupportedModel(
                f"{repository} has its weights only as a pickle, which can run code when it is opened; "
                f"{_converted(repository, api)}."
            )
        raise UnsupportedModel(f"{repository} has no weights in safetensors; {catalog.INSTEAD}.")
    single = place.WEIGHTS in sizes
    files = []
    for name, sibling in sorted(sizes.items()):
        if not place.belongs_to_a_model(name) or (single and (name == place.WEIGHTS_INDEX or place.is_shard(name))):
            continue
        if sibling.size is None:
            raise HubError(f"{api.endpoint} does not say how large {name} of {repository} is; use another endpoint.")
        files.append(RemoteFile(name, sibling.size, sibling.lfs.sha256 if sibling.lfs else None, sibling.blob_id))
    return sorted(files, key=lambda file: (file.size, file.name))


def _converted(repository: str, api: HfApi) -> str:
    """Return the remedy for a repository of pickles: the copy that the hub's converter offers, where there is one."""
    try:
        offers = api.get_repo_discussions(
            repository, author=_CONVERTER, discussion_type="pull_request", discussion_status="open"
        )
        if offer := next((offer for offer in offers if "safetensors" in offer.title), None):
            return f"the hub's own converter offers a safetensors copy, so add --revision refs/pr/{offer.num}"
    except (transport_error(), KeyError, ValueError):
        pass  # a mirror may have no discussions; the other remedy holds
    return "convert it with transformers' save_pretrained on a machine you trust, and give that folder as the model"


def _fetch_all(
    api: HfApi, repository: str, commit: str, files: list[RemoteFile], staged: Path, progress: Progress | None
) -> None:
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented, not re-exported

    # A file by another name may have been left by another version of roco.
    names = {file.name for file in files} | {f"{file.name}.part" for file in files}
    for stray in staged.iterdir():
        if stray.name not in names:
            stray.unlink()
    total = sum(file.size for file in files)
    there = place.size_of(staged)
    check_space(staged, total - there, _ELSEWHERE)
    if progress:
        progress.start(total, min(there, total))
    try:
        for file in files:
            url = hf_hub_url(repository, file.name, revision=commit, endpoint=api.endpoint)
            fetch(get_session(), url, build_hf_headers(library_name="roco"), file, staged, progress)
            if file.name == "config.json":
                _check_family(repository, staged)
    finally:
        if progress:
            progress.stop()


def _check_family(repository: str, staged: Path) -> None:
    """Refuse a model of another kind before its weights come."""
    family = Checkpoint(repository, staged).family
    if family not in FAMILIES:
        raise UnsupportedModel(
            f"{repository} is a {family or 'nameless'!r} model, which cannot be loaded; the families that can: "
            f"{', '.join(FAMILIES)}."
        )


def _licence(info: ModelInfo) -> str | None:
    card: Any = info.card_data
    if card is None or not card.get("license"):
        return None
    named = card.get("license_name")
    return str(named if card.get("license") == "other" and named else card.get("license"))


@contextmanager
def _answers(repository: str, endpoint: str) -> Iterator[None]:
    """Turn what the hub or the network refuses into one sentence with the remedy."""
    from huggingface_hub import errors

    page = f"{endpoint}/{repository}"
    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise HubError("HF_HUB_OFFLINE forbids the network; unset it for this command.") from None
    except errors.GatedRepoError:
        raise HubError(
            f"{repository} is gated: accept its terms on {page}, make a token with read access on "
            f"{endpoint}/settings/tokens, then set HF_TOKEN or run 'hf auth login', and run this command again."
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelNotFound(f"{repository} has no such revision; see {page}/commits/main for those it has.") from None
    except errors.RepositoryNotFoundError:
        raise ModelNotFound(
            f"The hub has no {repository}, or it is private; check the name, or set HF_TOKEN to a token that may read "
            "it."
        ) from None
    except errors.EntryNotFoundError:
        raise HubError(f"{repository} lacks a file that the hub lists; try again later.") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        remedy = "check HF_TOKEN" if status in {401, 403} else "try again later; what has come so far is kept"
        raise HubError(f"The hub answered {status} when asked for {repository}; {remedy}.") from None
    except errors.HFValidationError:
        raise ModelNotFound(f"{repository!r} is not a name that the hub can have; write org/name.") from None
    except json.JSONDecodeError:
        raise HubError(
            f"What answers at {endpoint} is not a model hub; check HF_ENDPOINT, the proxy, or whether the network "
            "wants you to log in first."
        ) from None
    except transport_error() as error:
        raise HubError(
            f"The hub at {endpoint} cannot be reached ({type(error).__name__}). Check the network and HTTPS_PROXY and "
            "run the same command again: what has come so far is kept. Where there is no network, use 'roco model "
            "export' on a machine that has one and 'roco model import' here."
        ) from None


__all__ = ["Progress", "Pulled", "pull"]
