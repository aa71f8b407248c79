"""What is fetched from the hub: a model's files, resumed where they were interrupted, and data sets.

The hub's library names the files, their sizes and hashes, and lends its HTTP session. The files of a model are fetched
here, because that library discards an interrupted file (since its version 2, see its pull request 4228), while a model
of gigabytes over a slow line has to resume where it stopped. A file is accepted only if its hash is right.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roco_search.errors import HubError
from roco_search.hub.client import Request, connect, refusal, refusals, transport_error
from roco_search.system.files import FULL, check_space, sha256, storage_full, sync
from roco_search.system.progress import Progress, following

TRIES = 4  # in a row without a single new byte
PAUSE_S = 1.0  # before the second try; each further one waits twice as long
TIMEOUT_S = 30.0
SECONDS_TO_ANSWER = 30
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository: its size in bytes, the SHA-256 of a large file, the git blob hash of a small one."""

    name: str
    size: int
    sha256: str | None
    blob: str | None

    def matches(self, file: Path) -> bool:
        """Whether a file on this disk is that file."""
        if file.stat().st_size != self.size:
            return False
        if self.sha256:
            return sha256(file) == self.sha256
        if self.blob:
            # Git hashes a header before the content: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
            digest = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
            digest.update(file.read_bytes())
            return digest.hexdigest() == self.blob
        return True


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository holds at one commit.

    Attributes
    ----------
    request
        How it was asked for.
    commit
        The commit, in hexadecimal.
    licence
        As its card states it, or None.
    names
        Every file.
    """

    request: Request
    commit: str
    licence: str | None
    names: tuple[str, ...]
    _files: Mapping[str, RemoteFile | None]

    def file(self, name: str) -> RemoteFile:
        """Return what the hub says of a file. Raises `HubError` if it does not say how large it is."""
        if (found := self._files[name]) is None:
            raise HubError(
                f"{self.request.endpoint} does not say how large {name} of {self.request.repository} is; use another "
                "endpoint."
            )
        return found


def list_model(repository: str, revision: str | None, otherwise: str, endpoint: str | None = None) -> Listing:
    """Ask the hub what a model's repository holds.

    Parameters
    ----------
    repository
        ``org/name``.
    revision
        A branch, tag, commit or ``refs/pr/N``; None for the main branch.
    otherwise
        A sentence with what can be done where the hub cannot be reached.
    endpoint
        See `connect`.

    Raises
    ------
    ModelNotFound, HubError
    """
    api = connect(endpoint)
    request = Request(repository, api.endpoint, otherwise=otherwise)
    with refusals(request):
        info = api.model_info(repository, revision=revision, files_metadata=True, timeout=SECONDS_TO_ANSWER)
    commit = str(info.sha)
    if not _COMMIT.fullmatch(commit):
        raise HubError(f"{api.endpoint} does not say which commit it has of {repository}; use another endpoint.")
    files = {
        entry.rfilename: RemoteFile(entry.rfilename, entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id)
        if entry.size is not None
        else None
        for entry in info.siblings or ()
    }
    return Listing(request, commit, _licence(info.card_data), tuple(sorted(files)), files)


def _licence(card: Any) -> str | None:
    if card is None or not card.get("license"):
        return None
    named = card.get("license_name")
    return str(named if card.get("license") == "other" and named else card.get("license"))


def fetch_files(
    listing: Listing,
    files: Sequence[RemoteFile],
    folder: Path,
    progress: Progress | None = None,
    came: Callable[[RemoteFile], None] = lambda _: None,
) -> None:
    """Fetch files of a repository, in this order, into a folder; those that exist there already are not fetched again.

    Parameters
    ----------
    listing
        The listing of the repository.
    files
        The files to fetch.
    folder
        Where to; files of other names are deleted from it.
    progress
        Counts bytes.
    came
        Is called with each file once it is there; what it raises ends the download.

    Raises
    ------
    HubError, StorageFull
    """
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    # A file by another name may have been left by another version of roco.
    names = {file.name for file in files} | {f"{file.name}.part" for file in files}
    for stray in folder.iterdir():
        if stray.name not in names:
            stray.unlink()
    total = sum(file.size for file in files)
    there = sum(file.stat().st_size for file in folder.iterdir())
    check_space(folder, total - there)
    request = listing.request
    with following(progress, total, min(there, total)) as told, refusals(request):
        for file in files:
            url = hf_hub_url(request.repository, file.name, revision=listing.commit, endpoint=request.endpoint)
            fetch(get_session(), url, build_hf_headers(library_name="roco"), file, folder, told)
            came(file)


def fetch(session: Any, url: str, headers: dict[str, str], file: RemoteFile, folder: Path, progress: Progress) -> None:
    """Bring a file into a folder.

    It grows as ``NAME.part`` and gets its name when it is whole and its hash is right. Lost connections are tried
    again, from the last byte that came.

    Parameters
    ----------
    session
        An ``httpx`` client that follows redirects.
    url, headers
        Of the request; a token in them stays with the host it is meant for.
    file, folder
        What to bring, and where to.
    progress
        Counts bytes.

    Raises
    ------
    HubError
        If what came is not what was announced.
    httpx.HTTPError, huggingface_hub.errors.HfHubHTTPError
        If the server refuses, or cannot be reached again and again.
    """
    from huggingface_hub.errors import HfHubHTTPError

    target, part = folder / file.name, folder / f"{file.name}.part"
    if target.exists():
        return
    part.touch()
    tries = 0
    while (have := part.stat().st_size) < file.size:
        failure: Exception | None = None
        try:
            _append(session, url, headers, file, part, progress)
        except HfHubHTTPError as error:
            if error.response.status_code not in _BUSY:
                raise
            failure = error
        except transport_error() as error:
            failure = error
        if part.stat().st_size > have:
            tries = 0
            continue
        tries += 1
        if tries == TRIES:
            raise failure or HubError(f"The hub stops in the middle of {file.name}; run the same command again.")
        time.sleep(PAUSE_S * 2 ** (tries - 1))
    if not file.matches(part):
        part.unlink()
        raise HubError(
            f"{file.name} is not what the hub's own list says (its hash differs), so it was thrown away; run the same "
            "command again, and if that fails too, try another network."
        )
    part.replace(target)


def _append(session: Any, url: str, headers: dict[str, str], file: RemoteFile, part: Path, progress: Progress) -> None:
    from huggingface_hub import hf_raise_for_status

    have = part.stat().st_size
    # Ranges count the bytes of the file itself, so it must not be compressed on its way.
    asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with session.stream("GET", url, headers=asked, timeout=TIMEOUT_S) as response:
        if response.status_code >= 400:
            response.read()
            hf_raise_for_status(response)
        if have and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            os.truncate(part, 0)  # the server sends the whole file whatever was asked
            progress.advance(-have)
            have = 0
        with part.open("ab") as stream:
            for chunk in response.iter_bytes():
                have += len(chunk)
                if have > file.size:
                    raise HubError(f"The hub sends more of {file.name} than it announced; try again later.")
                stream.write(chunk)
                progress.advance(len(chunk))
    sync(part)


def fetch_data_set(identifier: str) -> Any:
    """Download a data set of the hub into the cache of `datasets`, where it stays, or open it from there.

    Raises
    ------
    HubError
        If there is no network and it is not in the cache, or the hub refuses it.
    StorageFull
        If the disk of the cache is full.
    ImportError
        If `datasets` is not installed.
    """
    import datasets

    otherwise = "Where there is no network, download the data set elsewhere, and give its folder."
    request = Request(identifier, connect().endpoint, "dataset", otherwise=otherwise)
    try:
        return datasets.load_dataset(identifier)
    except datasets.exceptions.DatasetNotFoundError:
        raise HubError(
            f"There is no folder {identifier} here, and the hub offers no data set of that name; check the name, and "
            "if the data set requires consent, give it there and log in with 'hf auth login'."
        ) from None
    except Exception as error:  # of any kind: the HTTP client's, the hub's, pyarrow's
        if isinstance(error, OSError) and error.errno in FULL:
            raise storage_full(f"the cache of data sets, {datasets.config.HF_DATASETS_CACHE},") from None
        kind = type(error).__name__
        raise refusal(error, request) or HubError(
            f"The data set {identifier} of the hub cannot be loaded ({kind}); download it yourself and give its folder."
        ) from None
