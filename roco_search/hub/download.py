"""One file over HTTP: taken up where it was interrupted, and believed only when its hash is right."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from roco_search.errors import HubError
from roco_search.system.files import sha256, sync

TRIES = 4  # in a row without a single new byte
PAUSE_S = 1.0  # before the second try; each further one waits twice as long
TIMEOUT_S = 30.0
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


class Progress(Protocol):
    """Who is told how a download goes; counts bytes."""

    def start(self, total: int, done: int) -> None:
        """Begin; ``done`` of ``total`` are here from an earlier attempt."""

    def advance(self, count: int) -> None:
        """So many more have come; less than zero where some have to come again."""

    def stop(self) -> None:
        """The end, good or bad."""


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


def fetch(
    session: Any, url: str, headers: dict[str, str], file: RemoteFile, folder: Path, progress: Progress | None
) -> None:
    """Bring a file into a folder.

    It grows as ``NAME.part`` and gets its name when it is whole and its hash is right. Lost connections are tried
    again, from the last byte that came.

    Parameters
    ----------
    session : an ``httpx`` client that follows redirects.
    headers : of the request; a token in them stays with the host it is meant for.

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


def transport_error() -> type[Exception]:
    """Return the base of what the hub's HTTP client raises: of ``httpx`` in its versions 1, of ``httpx2`` in 2."""
    from huggingface_hub import errors

    return errors.HTTPError  # type: ignore[attr-defined]


def _append(
    session: Any, url: str, headers: dict[str, str], file: RemoteFile, part: Path, progress: Progress | None
) -> None:
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
            _tell(progress, -have)
            have = 0
        with part.open("ab") as stream:
            for chunk in response.iter_bytes():
                have += len(chunk)
                if have > file.size:
                    raise HubError(f"The hub sends more of {file.name} than it announced; try again later.")
                stream.write(chunk)
                _tell(progress, len(chunk))
    sync(part)


def _tell(progress: Progress | None, count: int) -> None:
    if progress:
        progress.advance(count)
